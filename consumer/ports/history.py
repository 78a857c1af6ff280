"""The read side: what the tables say of runs, of the requests behind them and of strategies.

One port for the commands, the HTTP API and reports, so that they are faces of one thing. Rows are mappings by column
name, since that is what all of them show; their times are UTC, and null where Python has no such date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. A field that is None, and no words, leaves none out."""

    words: str = ""
    """Each of them stands in the strategy's name or the symbol, in any case, or is the run's id."""
    strategy_id: int | None = None
    symbol: str | None = None
    """In any case."""
    timeframe: str | None = None
    status: str | None = None
    """As the row says it."""
    created_after: datetime | None = None
    """This moment included."""
    created_before: datetime | None = None
    """And this one not."""
    min_trades: int | None = None


@dataclass(frozen=True, slots=True)
class RunOrder:
    """By created_at or a metric (SORT_COLUMNS of rules.columns): nulls last in either direction, equal values by id in
    the same direction.
    """

    column: str = "created_at"
    descending: bool = True

    def place_of(self, run: Row) -> "RunPlace":
        """Where a run of a list stands in this order."""
        return RunPlace(run[self.column], run["id"])


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A place in an order, to go on behind. It stays good when the run that stood there is gone."""

    value: datetime | float | None
    run_id: int


EVERY_RUN: Final = RunFilter()
NEWEST_FIRST: Final = RunOrder()


class History(Protocol):
    """What was asked, and what became of it. Only reads; each method sees one moment.

    Raises StoreUnavailable where trying again may help, StartFailed where the tables are not there.
    """

    async def runs(
        self,
        wanted: RunFilter = EVERY_RUN,
        order: RunOrder = NEWEST_FIRST,
        *,
        limit: int = 50,
        after: RunPlace | None = None,
    ) -> Sequence[Row]:
        """The first runs in that order, those behind `after` only.

        A run: the columns of its row, strategy_name and strategy_key, and of its execution (EXECUTION_COLUMNS of
        rules.columns) what is null where nobody has asked for it yet. Raises ValueError for another order.
        """
        ...

    async def run(self, run_id: int) -> Row | None:
        """One run, as `runs` gives it."""
        ...

    async def result_of(self, run_id: int) -> Row | None:
        """What a completed run printed: metrics (as `backtest run --json`), artifacts (name -> path or URL) and
        duration_seconds. None for any other run, and for one that completed before there was a table for it.
        """
        ...

    async def warnings_of(self, run_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """The warnings of those of the runs that completed with any, by run."""
        ...

    async def trades(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        """The run's trades in the order they were booked, those with an id above `after` only."""
        ...

    async def llm_calls(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        """The run's calls to language models by number, those above `after` only: LLM_CALL_COLUMNS of rules.columns."""
        ...

    async def request_of(self, run_id: int) -> Row | None:
        """The content of the accepted request behind a run."""
        ...

    async def request_of_best(self, run_id: int) -> Row | None:
        """What a run like this one is asked for as, where it is what a search left as its best: that has no request of
        its own. None for any other run, and where the search is gone.
        """
        ...

    async def specification_of(self, run_id: int) -> Row | None:
        """What a run executes, as it was admitted; None where no request for it was accepted."""
        ...

    async def run_of_specification(self, strategy_id: int, specification: Row) -> Row | None:
        """The newest completed run of the strategy that executed exactly this, as `runs` gives it."""
        ...

    async def accepted_requests(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        """Accepted requests received in since <= time < until, the oldest first: request_id, run_id, source, data.

        data: the content, as an object. state: of the execution now: queued, running, completed, failed, cancelled.
        """
        ...

    async def known_requests(self, request_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Content hash by request id, of those among the ids that were ever taken, accepted or rejected."""
        ...

    async def rejected_requests(self, *, limit: int) -> Sequence[Row]:
        """The newest rejections first: request_id, received_at, source, data as sent, problems as on the wire."""
        ...

    async def strategies(self) -> Sequence[Row]:
        """Every row of `strategies`, by id, with all columns that this release knows."""
        ...

    async def strategy(self, strategy_id: int) -> Row | None:
        """One of them."""
        ...
