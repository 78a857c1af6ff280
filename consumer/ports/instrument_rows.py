"""Instruments that were brought over HTTP, kept in the database for every process of the service."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class InstrumentRows(Protocol):
    """A row never changes and never goes: a run that used it can be computed again. Raises StoreUnavailable."""

    async def others_than(self, symbols: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """The blocks by symbol, of all but these: keys and values of an instruments file's table."""
        ...

    async def add(self, symbol: str, block: Mapping[str, Any]) -> bool:
        """Keep a block; False where a symbol of that name, in any case, is there already. Durable when it returns."""
        ...
