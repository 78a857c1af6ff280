"""Rows that people delete. What is at work is never deleted under its worker, and requests stay remembered."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Removed:
    """It is gone, with all that hangs on it."""


@dataclass(frozen=True, slots=True)
class StillActive:
    """It is pending or running; nothing was changed."""

    status: str


@dataclass(frozen=True, slots=True)
class NeedsConfirmation:
    """So many runs and searches would go with it; nothing was changed."""

    runs: int
    searches: int


class RowRemoval(Protocol):
    """None: there was no such row. Raises StoreUnavailable, also where a client keeps a row locked for too long."""

    async def remove_run(self, run_id: int) -> Removed | StillActive | None:
        """Delete an ended run and its trades."""
        ...

    async def remove_search(self, optimization_id: int) -> Removed | StillActive | None:
        """Delete an ended search; its best run stays."""
        ...

    async def remove_strategy(self, strategy_id: int, confirmed: int) -> Removed | NeedsConfirmation | None:
        """Delete a strategy where exactly `confirmed` runs and searches go with it; those at work are cancelled so."""
        ...
