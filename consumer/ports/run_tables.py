"""The tables that a run left, read in parts: a run of minutes over ten years must not be built whole in memory."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import polars as pl


class BarsFile(Protocol):
    """The bars of one run, oldest first, on disk. Not for several threads at once."""

    def extent_us(self) -> tuple[int, int] | None:
        """First and last open time, microseconds since 1970; None without a bar."""
        ...

    def parts(
        self, since_us: int | None = None, until_us: int | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Bars with since <= open time < until (None: no bound) in parts of some ten thousand rows, none empty.

        columns: of time (Datetime us UTC), open, high, low, close and volume (Float64); None: all of them.
        """
        ...


class RunTables(Protocol):
    """What attempts left. Raises FilesGone for what is not there (any more), ArtifactsUnavailable while it is away."""

    def table(self, run_id: int, epoch: int, name: str) -> AbstractContextManager[pl.LazyFrame]:
        """The table of an attempt: trades, equity or indicators. It can be read while the block is open."""
        ...

    def has_table(self, run_id: int, epoch: int, name: str) -> bool:
        """Whether it is there: not every run leaves every table."""
        ...

    def ledger(self, run_id: int, epoch: int) -> pl.DataFrame:
        """Every booked item: time, position_id, kind, amount, balance."""
        ...

    def bars(self, place: str) -> AbstractContextManager[BarsFile]:
        """The bars that a row's `data_file_path` names."""
        ...
