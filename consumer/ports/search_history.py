"""The read side of searches: what the tables say of them and of the requests behind them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

Row = Mapping[str, Any]


class SearchHistory(Protocol):
    """Only reads. Raises StoreUnavailable where trying again may help, StartFailed where the tables are not there."""

    async def searches(self, status: str | None = None, *, limit: int) -> Sequence[Row]:
        """The newest searches, as `search` has them but for results, statistics and what they vary."""
        ...

    async def search(self, optimization_id: int) -> Row | None:
        """All columns of optimization_runs, JSON ones parsed, with strategy_name, request_id, result_digest and
        engine_version (null where no request was accepted).
        """
        ...

    async def accepted_searches(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        """request_id, optimization_id, source and data of accepted requests, the oldest first."""
        ...
