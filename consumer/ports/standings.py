"""Where runs and searches stand, for who follows them, and how they ended."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]


class Standings(Protocol):
    """Only reads. Raises StoreUnavailable.

    A row of a run has run_id, request_id, strategy_id, symbol, timeframe, status, progress_pct, sequence (of its last
    event; 0 before the first), attempt, and of its end cancel_reason, error_message and what a completed one left. One
    of a search has optimization_id in place of run_id.
    """

    async def run(self, run_id: int) -> Row | None: ...

    async def search(self, optimization_id: int) -> Row | None: ...

    async def active_runs(self, after: int, limit: int) -> Sequence[Row]:
        """Those that have not ended, by id, behind this id."""
        ...

    async def active_searches(self, after: int, limit: int) -> Sequence[Row]: ...

    async def ended(self, run_ids: Collection[int], optimization_ids: Collection[int]) -> tuple[set[int], set[int]]:
        """Those of the runs and of the searches that have ended, or are gone."""
        ...
