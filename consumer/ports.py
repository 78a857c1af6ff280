"""The service's borders: Protocols, each with the guarantees that its implementations are tested for (tests/ports)."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from consumer.outcomes import EngineOutcome, TerminalOutcome
from schemas.dead_letter import DeadLetterReason
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested

# --- records in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, byte for byte."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Records polled together, and the positions that may be committed once all of them are durable."""

    records: tuple[Record, ...]
    positions: Mapping[tuple[str, int], int]
    """(topic, partition) -> next offset to read, as the consumer reported it (gaps included; never last + 1)."""
    assignment: int = 0
    """Number of the assignment the batch was polled under."""


class RecordSource(Protocol):
    """The input topics, read in one group.

    Polls at least every second whatever its reader does, so that a slow reader never costs group membership.
    Each record is delivered at least once; a partition's records in order.
    """

    def batches(self) -> AsyncIterator[Batch]:
        """Yield batches until `stop`; while one is being handled no further ones pile up (partitions are paused)."""
        ...

    def mark_durable(self, batch: Batch) -> None:
        """Let the batch's positions be committed, soon. Positions of partitions revoked meanwhile are dropped."""
        ...

    def hold_requests(self, hold: bool) -> None:
        """Pause (or resume) the request topic only: cancels keep coming, membership stays."""
        ...

    async def stop(self) -> None:
        """Commit what is durable (bounded in time), leave the group and end `batches`."""
        ...


# --- events out ---------------------------------------------------------------------------------------------------


class EventKind(StrEnum):
    """What an outbox row carries, and so which topics it goes to."""

    STARTED = "started"
    PROGRESS = "progress"
    TERMINAL = "terminal"
    REJECTED = "rejected"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One event or dead letter as the outbox keeps it until the broker has it."""

    event_id: str
    kind: EventKind
    run_id: int | None
    sequence: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    row_id: int = 0
    """Outbox row; 0 before it is stored."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class SendResult(StrEnum):
    """What the broker said to one delivery."""

    ACKNOWLEDGED = "acknowledged"
    TOO_LARGE = "too_large"
    """The broker or the client will never take it as it is."""
    UNKNOWN = "unknown"
    """No answer in time: it may or may not have arrived; send it again."""


class Publisher(Protocol):
    """An idempotent, acks=all producer."""

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[SendResult]:
        """Send all, wait for the answers (bounded in time), and return one result a delivery, in order.

        Order among deliveries of one call is not promised, so the caller puts at most one of each run into a call.
        Never raises for a broker that is away: results are UNKNOWN, and the next call uses a new producer.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every event of a run says of it."""

    run_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str


class EventWriter(Protocol):
    """Renders events; pure but for the time it stamps. Rendered once: every delivery of an event has the same bytes."""

    def started(self, facts: RunFacts, sequence: int, attempt: int) -> OutgoingEvent: ...

    def progress(
        self, facts: RunFacts, sequence: int, attempt: int, at: "EngineProgress", eta_seconds: float | None
    ) -> OutgoingEvent: ...

    def terminal(
        self, facts: RunFacts, sequence: int, attempt: int, progress_pct: int, outcome: TerminalOutcome
    ) -> OutgoingEvent: ...

    def rejected(self, request: "RequestToRecord", problems: Sequence[FieldProblem]) -> OutgoingEvent: ...

    def dead_letter(self, record: Record, reason: DeadLetterReason, message: str) -> OutgoingEvent: ...


# --- intake -------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class RunRow:
    """The configuration columns of a `backtest_runs` row, and its state."""

    id: int
    strategy_id: int
    symbol: str
    timeframe: str
    start_date: datetime
    end_date: datetime
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
    request: BacktestRequested | None
    """None when the data break the schema: `problems` says how."""
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelToRecord:
    """One decoded cancel; exactly one of run_id and request_id."""

    record: Record
    run_id: int | None
    request_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run. Without a run_id in the request, `columns` make the new row."""

    specification: dict[str, Any]
    """JSON object: everything the run executes, a snapshot (consumer.translate reads it back)."""
    columns: dict[str, Any]
    """Configuration columns of backtest_runs."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is rejected: every field at fault, each with its code."""

    problems: tuple[FieldProblem, ...]


Admit = Callable[[BacktestRequested, StrategyRow | None, RunRow | None], Admitted | Refused]
"""Decide a valid request against the rows it names (None: there is no such row). Pure."""


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What `record_batch` made durable, in counts by outcome, and the events it wrote, for the relay."""

    outcomes: Mapping[str, int]
    events: tuple[OutgoingEvent, ...] = ()
    new_runs: tuple[int, ...] = ()
    """Runs now queued: a reason to claim at once."""


class RequestLedger(Protocol):
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
        Raises StoreUnavailable; then the whole batch may be recorded again.
        """
        ...

    async def queued_count(self) -> int:
        """Number of queued runs of this database."""
        ...


# --- the queue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one run, until a higher epoch exists."""

    facts: RunFacts
    epoch: int
    attempt: int
    """From 1; rises with every claim."""
    deaths: int
    sequence: int
    """Of the last event written (the started event)."""
    specification: dict[str, Any]
    """As admitted (consumer.translate reads it)."""
    events: tuple[OutgoingEvent, ...] = ()
    """The run's unsent events, the new `started` one included, sequence rising: this worker relays them now."""

    @property
    def run_id(self) -> int:
        return self.facts.run_id


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Runs to execute, and events of runs that ended instead (cancelled meanwhile, crash_loop)."""

    claims: tuple[Claim, ...]
    events: tuple[OutgoingEvent, ...] = ()
    ended: tuple["EndedRun", ...] = ()


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended without being executed by this call, for the log."""

    run_id: int
    request_id: str
    epoch: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One run's heartbeat; with `progress`, its newest progress too."""

    claim: Claim
    progress_pct: int | None = None
    event: OutgoingEvent | None = None


class BeatAnswer(StrEnum):
    """What a heartbeat learnt."""

    ALIVE = "alive"
    FENCED = "fenced"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class BeatResult:
    """answer; for CANCEL its reason; the stored progress event, for the relay."""

    answer: BeatAnswer
    reason: str = ""
    event: OutgoingEvent | None = None


@dataclass(frozen=True, slots=True)
class FinishResult:
    """How the run really ended (a cancel may have won), with its unsent events; None: fenced, nothing was written."""

    outcome: TerminalOutcome
    events: tuple[OutgoingEvent, ...]


class RunQueue(Protocol):
    """Leases over runs, on the store's clock. Every write is fenced by (run_id, epoch, state running)."""

    async def claim(self, count: int, *, expired: bool, held: Collection[int] = ()) -> ClaimResult:
        """Claim up to `count` of the oldest queued runs by turn; with `expired`, lapsed leases first.

        A lapsed lease counts as a death; at MAX_ATTEMPTS deaths the run ends failed (crash_loop) instead. Of `held`,
        the runs that this worker is executing, none is claimed: their next heartbeat renews them.
        Never waits for a lock; two workers never get the same run. One transaction with the started events.
        """
        ...

    async def beat(self, beats: Sequence[Beat]) -> Mapping[int, BeatResult]:
        """Extend leases, store progress, and ask for cancels, for all runs of this worker in one statement."""
        ...

    async def cancels_wanted(self, claims: Sequence[Claim]) -> Mapping[int, BeatResult]:
        """Which of these runs must stop (CANCEL or FENCED); read only, cheap, called several times a second."""
        ...

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        """End the run in one transaction: row, trades, terminal event, unsent progress dropped.

        A row that says cancelled or is gone, and a noted cancel, turn the outcome into Cancelled and drop results; a
        row whose configuration is not the one that was executed turns Completed into Failed (run_disagrees).
        Idempotent for the same epoch: finishing again returns the first outcome's events. None: fenced.
        """
        ...

    async def give_back(self, claim: Claim, *, died: bool) -> bool:
        """Put a claimed run back at its old place in the queue; `died` counts a death. False: fenced."""
        ...

    async def sweep(self) -> ClaimResult:
        """End queued (and lapsed) runs that are cancelled or whose row is gone, without any slot; claims nothing."""
        ...

    async def forget_unknown(self, known: Sequence[int]) -> int:
        """Give back runs that this worker owns by the table but does not know of (a claim whose answer was lost)."""
        ...


class Outbox(Protocol):
    """Events that are durable here until the broker has them.

    Whoever writes an event for a run takes over all of the run's unsent ones in the same transaction, so that each
    relay alone knows every lower sequence of what it sends; order then needs no lock.
    """

    async def delete(self, events: Sequence[OutgoingEvent]) -> None:
        """Forget acknowledged events. An event replaced meanwhile (higher sequence in its row) stays."""
        ...

    async def renew(self, events: Sequence[OutgoingEvent]) -> None:
        """Keep these from being adopted by other workers while they wait here."""
        ...

    async def adopt(self, limit: int) -> Sequence[OutgoingEvent]:
        """Take over unsent events whose owner let them lapse, run by run, sequence rising."""
        ...

    async def release(self, events: Sequence[OutgoingEvent]) -> None:
        """Let others adopt these at once (this worker is stopping)."""
        ...


# --- the engine ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineTask:
    """What an engine child needs to run one claim, and nothing it could not be sent by pipe."""

    run_id: int
    epoch: int
    specification: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """Between two chunks: bars done of total, simulated time, equity, trades so far."""

    bars_done: int
    bars_total: int
    simulated_time: datetime
    equity: float
    trades: int


@dataclass(slots=True)
class StopSignal:
    """Tells an engine run to stop. Setting it twice is the same as once."""

    callbacks: list[Callable[[], None]] = field(default_factory=list)
    is_set: bool = False

    def set(self) -> None:
        if not self.is_set:
            self.is_set = True
            for callback in self.callbacks:
                callback()


class EnginePool(Protocol):
    """Engine processes: spawned, warm, one run at a time each, with a memory limit and a deadline.

    A dying child never takes the worker down. A run that is told to stop uses no CPU half a second later,
    whatever its strategy does. Children end within 2 s of the worker's death, however it died.
    """

    async def run(
        self, task: EngineTask, on_progress: Callable[[EngineProgress], None], stop: StopSignal
    ) -> EngineOutcome:
        """Execute one task on a free child, waiting for one. Never raises for what the child does.

        Stopped where no child can be started: that is the worker's trouble, and no death of the run.
        """
        ...

    @property
    def is_ready(self) -> bool:
        """Whether a child is up. False: a claim would only wait, and another worker may have a free slot."""
        ...

    async def close(self) -> None:
        """Stop all children, at once."""
        ...


class Clock(Protocol):
    """Wall time for events and monotonic time for intervals; passed in, so that tests own it."""

    def now_utc(self) -> datetime: ...

    def monotonic(self) -> float: ...
