"""Intake: the durable memory of requests and cancels, and what admission is shown and answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from consumer.ports.events import OutgoingEvent
from consumer.ports.records import Record
from consumer.ports.strategies import StrategyCheck
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """What admission needs of a `strategies` row; JSON columns as text, checked by admission."""

    id: int
    name: str
    execution_mode: str
    strategy_key: str | None
    strategy_params: str
    primary_tf: str
    context_tfs: str
    symbols: str
    lot_size: float | None
    risk_pct: float | None
    sl_pips: float | None
    tp_pips: float | None
    on_opposite: str
    stop_to_entry: bool
    skip_hours: str | None
    skip_weekdays: str | None
    skip_hours_timezone: str | None
    is_active: bool
    custom_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """The configuration columns of a `backtest_runs` row, and its state."""

    id: int
    strategy_id: int
    symbol: str
    timeframe: str
    start_date: datetime | None
    end_date: datetime | None
    """None: infinite, or in a year that Python does not have."""
    initial_balance: float
    spread_pips: float
    execution_mode: str
    primary_tf: str
    context_tfs: str
    max_llm_calls: int
    commission_per_lot: float
    tp_partial_close_ratio: float
    status: str
    has_execution: bool
    """A request for this row was accepted before."""


@dataclass(frozen=True, slots=True)
class RequestToRecord:
    """One decoded request with its identity."""

    request_id: str
    content_hash: bytes
    record: Record
    source: str
    """The CloudEvents source; '' for plain JSON."""
    data: str
    """JSON text, ASCII: the content where valid, as sent where the data break the schema."""
    given: Mapping[str, Any]
    """The data as sent, for what a rejection repeats of them."""
    request: BacktestRequested
    """Of data that break the schema, what is right in itself."""
    problems: tuple[FieldProblem, ...] = ()
    """How the data break the schema; none when they are valid."""


class Undecided(Protocol):
    """A request of either kind, of which its id and its record are all that is kept while its strategy's code is
    asked.
    """

    @property
    def request_id(self) -> str: ...

    @property
    def record(self) -> Record: ...


@dataclass(frozen=True, slots=True)
class CancelToRecord:
    """One decoded cancel; exactly one of run_id, request_id and optimization_id."""

    record: Record
    run_id: int | None
    request_id: str | None
    reason: str | None
    optimization_id: int | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run. Without a run_id in the request, `columns` make the new row."""

    specification: dict[str, Any]
    """JSON object: everything the run executes, a snapshot (consumer.preparation.snapshot reads it back)."""
    columns: dict[str, Any]
    """Configuration columns of backtest_runs."""
    llm_replay: bool = False
    """Of the request: no part of what is executed, whose result it does not change."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is rejected: every field at fault, each with its code."""

    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A request that nobody can decide yet: its strategy's code has to be asked first, outside any transaction."""

    check: StrategyCheck


Decision = Admitted | Refused | Unchecked

Admit = Callable[[BacktestRequested, StrategyRow | None, RunRow | None, tuple[FieldProblem, ...]], Decision]
"""Decide a request against the rows it names (None: there is no such row). Pure. One whose data break the schema comes
with those problems and what is right in itself: it is refused, for these and all else that is wrong.
"""


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What `record_batch` made durable, in counts by outcome, and the events it wrote, for the relay."""

    outcomes: Mapping[str, int]
    events: tuple[OutgoingEvent, ...] = ()
    new_runs: tuple[int, ...] = ()
    """Runs now queued: a reason to claim at once."""
    unchecked: tuple[tuple["Undecided", StrategyCheck], ...] = ()
    """Requests that were left out, since their strategy's code was not asked yet: nothing of them is durable."""


class RequestJournal(Protocol):
    """The durable memory of requests and cancels."""

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        """Record a batch in one transaction; when it returns, all of it is durable.

        Idempotent: a request id seen with the same content is a duplicate (nothing is written), with other content
        a conflict (its record is dead-lettered). The first made durable wins, also among concurrent workers and
        within the batch. A new request becomes a run (row `pending`, execution queued) or a rejection, and a
        cancel that came earlier wins. Cancels of queued runs end them here; of running ones they are noted.
        Where `admit` says Unchecked nothing is written for the request, nor for what repeats it in the batch, and the
        result names them.
        Never waits for a lock that a client outside holds on a row of strategies or backtest_runs: a request that needs
        a new row for such a strategy is kept (`waiting`), and `record_waiting` decides it later.
        Raises StoreUnavailable; then the whole batch may be recorded again.
        """
        ...

    async def record_waiting(self, admit: Admit) -> IntakeResult:
        """Decide kept requests whose strategy is free again, or gone, the oldest first, some hundreds at most.

        In one transaction; any number of workers may do so at once. Where `admit` says Unchecked the request goes on
        waiting, and the result names it. Raises StoreUnavailable.
        """
        ...

    async def queued_count(self) -> int:
        """Number of queued runs of this database."""
        ...
