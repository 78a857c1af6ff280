"""The read side of searches: what the tables say of them and of the requests behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which searches. A field that is None, and no words, leaves none out; as RunFilter."""

    words: str = ""
    strategy_id: int | None = None
    symbol: str | None = None
    timeframe: str | None = None
    status: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class SearchPlace:
    """A place in the order of created_at and id, to go on behind."""

    created_at: datetime
    optimization_id: int


EVERY_SEARCH: Final = SearchFilter()


class SearchHistory(Protocol):
    """Only reads. Raises StoreUnavailable where trying again may help, StartFailed where the tables are not there."""

    async def searches(
        self,
        wanted: SearchFilter = EVERY_SEARCH,
        *,
        limit: int,
        after: SearchPlace | None = None,
        descending: bool = True,
    ) -> Sequence[Row]:
        """The newest searches, or the oldest, those behind `after` only; as `search` has them but for results,
        statistics and what they vary.
        """
        ...

    async def search(self, optimization_id: int) -> Row | None:
        """All columns of optimization_runs, JSON ones parsed, with strategy_name, strategy_key, and request_id,
        result_digest, engine_version and request, its data (null where no request was accepted).
        """
        ...

    async def accepted_searches(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        """request_id, optimization_id, source and data of accepted requests, the oldest first."""
        ...

    async def tries(self, strategy_id: int, symbol: str, start: datetime, end: datetime) -> int:
        """How many combinations of searches and completed single runs of that strategy (rules: of that row), on that
        symbol, over ranges that overlap, there are; the best runs of searches not counted.
        """
        ...
