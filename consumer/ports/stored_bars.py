"""Market data at rest, as whoever looks after it sees them: what is stored, files that come in, what goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of bars that came over the network. name: as messages call it; path: where it lies."""

    symbol: str
    timeframe: str
    path: Path
    name: str
    timezone: str = "UTC"
    format: str | None = None
    date_order: str | None = None
    replace: bool = False
    instrument_class: str | None = None
    quote: str = "USD"


class UploadRefused(Exception):
    """The file, or what was said of it. code: bad_bars, differs, too_large, unknown_symbol, ...; row: of the file, from
    1, where one is at fault; sides: of differs, both in words.
    """

    def __init__(self, code: str, message: str, row: int | None = None, sides: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.row, self.sides = code, message, row, dict(sides or {})


class StoredBars(Protocol):
    """Raises an Unavailable while the place does not answer. registry: instruments by symbol."""

    @property
    def formats(self) -> Sequence[str]:
        """Names of the formats that files may be in."""
        ...

    async def places(self) -> Sequence[tuple[str, str]]:
        """Symbol and timeframe of all that is stored, by symbol, shortest timeframe first."""
        ...

    async def told(self, symbol: str, timeframe_name: str, registry: Mapping[str, Any]) -> dict[str, Any] | None:
        """symbol, timeframe, first, last (open times), bars, zone, gaps, missing_bars, passport; of bars that cannot be
        read symbol, timeframe and `fault`. None: nothing is stored there.
        """
        ...

    async def spelled(self, symbol: str, registry: Mapping[str, Any]) -> str | None:
        """The symbol as the store spells it; None where it has none of it."""
        ...

    async def put(self, upload: Upload, registry: Mapping[str, Any]) -> dict[str, Any]:
        """Check a file as a whole and store it; return what `told` tells of it now, with added, removed, format, notes.

        One at a time a symbol. Raises UploadRefused, and then nothing is stored.
        """
        ...

    async def remove(self, symbol: str, timeframe_name: str) -> bool:
        """Remove all bars of a timeframe; False where there are none."""
        ...
