"""Searches: steps of them that slots take, and every write that their leases fence.

A search is a row of `optimization_runs` that is worked on in shards: ranges of its combinations, and the steps before
(survey), between (ask, of tpe) and after them (gather). Who holds a shard's lease may write its result, once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from consumer.ports.engine import StopSignal
from consumer.ports.events import OutgoingEvent
from consumer.ports.intake import CancelToRecord, IntakeResult, StrategyRow
from consumer.ports.outcomes import Cancelled, Completed, Failed, Stopped
from consumer.ports.queue import BeatResult
from consumer.ports.records import Record
from consumer.ports.strategies import StrategyCheck
from schemas.optimization_requested import OptimizationRequested
from schemas.problems import FieldProblem

ShardKind = Literal["survey", "range", "ask", "gather"]


@dataclass(frozen=True, slots=True)
class SearchRow:
    """The configuration columns of an `optimization_runs` row, JSON as text, and its state."""

    id: int
    status: str
    has_search: bool
    """A request for this row was accepted before."""
    columns: Mapping[str, Any]
    """By name: rules.columns.SEARCH_COLUMNS. A date is None that is infinite, or in a year Python does not have."""


@dataclass(frozen=True, slots=True)
class SearchToRecord:
    """One decoded request for a search with its identity; as RequestToRecord."""

    request_id: str
    content_hash: bytes
    record: Record
    source: str
    data: str
    given: Mapping[str, Any]
    request: OptimizationRequested
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchAdmitted:
    """A search that may run. Without an optimization_id in the request, `columns` make the new row."""

    specification: dict[str, Any]
    """JSON object: strategy_id, `engine` (what each combination is run as) and `search`."""
    columns: dict[str, Any]
    """Configuration columns of optimization_runs."""


@dataclass(frozen=True, slots=True)
class SearchRefused:
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class SearchUnchecked:
    """Its strategy's code has to be asked first."""

    check: StrategyCheck


SearchDecision = SearchAdmitted | SearchRefused | SearchUnchecked

AdmitSearch = Callable[
    [OptimizationRequested, StrategyRow | None, SearchRow | None, tuple[FieldProblem, ...]], SearchDecision
]
"""Decide a request for a search against the rows it names; as `Admit`."""


class SearchJournal(Protocol):
    """The durable memory of requests for searches; they share their table, and their ids, with those for runs."""

    async def record_searches(self, searches: Sequence[SearchToRecord], admit: AdmitSearch) -> IntakeResult:
        """Record requests in one transaction; as RequestJournal.record_batch, with the same answers to repeats.

        A new one becomes a search (row `pending`, queued) or a rejection, and a cancel that is kept already wins.
        """
        ...

    async def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> IntakeResult:
        """Remember cancels of searches, the first of a target; end queued ones that they name, here and now."""
        ...

    async def record_waiting(self, admit: AdmitSearch) -> IntakeResult:
        """As RequestJournal.record_waiting."""
        ...


@dataclass(frozen=True, slots=True)
class SearchFacts:
    """What every event of a search says of it."""

    optimization_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str


@dataclass(frozen=True, slots=True)
class ShardClaim:
    """The right to take one step of a search, until a higher epoch of its shard exists."""

    facts: SearchFacts
    number: int
    kind: ShardKind
    first: int
    last: int
    epoch: int
    deaths: int
    specification: Mapping[str, Any]
    """As admitted: `engine` and `search`."""
    plan: Mapping[str, Any]
    """What steps before found out; empty before the first."""
    results: tuple[Mapping[str, Any], ...] = ()
    """Of an ask or a gather: every range's `first`, `last`, and `file` or `error`, in order."""
    started_at: datetime | None = None
    """Of the search."""
    events: tuple[OutgoingEvent, ...] = ()
    """The search's unsent ones, where this claim wrote one: this worker relays them now."""

    @property
    def key(self) -> "ShardKey":
        return (self.facts.optimization_id, self.number)


ShardKey = tuple[int, int]
"""Search and number."""


@dataclass(frozen=True, slots=True)
class LapsedShard:
    """One lease as it was seen after it had run out. Renewed, it is another one."""

    key: ShardKey
    epoch: int
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class EndedSearch:
    """A search that ended, for the log."""

    facts: SearchFacts
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SearchChange:
    """What a write to the store brought about: events to relay, and searches that it ended."""

    claims: tuple[ShardClaim, ...] = ()
    events: tuple[OutgoingEvent, ...] = ()
    ended: tuple[EndedSearch, ...] = ()


@dataclass(frozen=True, slots=True)
class Surveying:
    """A part of a large survey: it goes on in another step, with this plan."""

    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """total: combinations, times folds; released: how many of them may be given out. plan: what later steps need."""

    total: int
    released: int
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RangeDone:
    """file: the range's results. seconds: of simulation. best_value, best_params: of the range, as for progress."""

    file: str
    failed: int
    seconds: float
    best_value: float | None = None
    best_params: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The next batch of tpe: total, released and plan as from now on. total falls where no more is found."""

    total: int
    released: int
    plan: Mapping[str, Any]


StepResult = Surveying | Surveyed | RangeDone | Asked


@dataclass(frozen=True, slots=True)
class StepDied:
    """The child died under a step, or was ended for its time or memory.

    at: the combination it was at; None: none, it was preparing. failure: what a combination alone would fail with; None
    for a death, which is tried again. is_final: it would not help to try alone (its time is over).
    """

    description: str
    at: int | None = None
    failure: Failed | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    columns: Mapping[str, Any]
    """Of optimization_runs, by name: best_params, best_value, robust_params, results, statistics, results_file_path as
    JSON values, failed_combinations and the like left out.
    """
    result_digest: str
    engine_version: str
    warnings: tuple[str, ...]
    duration_seconds: float
    """From the first claim to the result."""
    best_run: "BestRun | None" = None


@dataclass(frozen=True, slots=True)
class BestRun:
    """The best combination, run as an ordinary run: a row of backtest_runs without request and events."""

    run_id: int
    columns: Mapping[str, Any]
    """Configuration columns of backtest_runs."""
    outcome: Completed


SearchOutcome = Found | Failed | Cancelled
"""How a search can end."""


class SearchQueue(Protocol):
    """Leases over shards, on the store's clock. Every write is fenced by (search, shard, epoch, state running), and by
    the search's being open: of one that ended nothing is written any more.
    """

    async def open_searches(self) -> int:
        """How many searches have a step that could be taken now; read only and cheap."""
        ...

    async def claim(self, count: int, *, lapsed: Collection[LapsedShard] = ()) -> SearchChange:
        """Take up to `count` steps: of lapsed leases first, then of the searches with the fewest slots at work.

        A step not yet there is cut off what is left, as large as the measured pace makes a second of work. A lapsed
        lease that is taken counts as a death. Two workers never get the same step. The first claim of a search writes
        its started event and shows it running. A search that is found cancelled ends instead.
        """
        ...

    async def lapsed(self) -> frozenset[LapsedShard]:
        """Leases that have run out, of open searches; changes nothing."""
        ...

    async def beat(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        """Extend leases, and say which must stop."""
        ...

    async def cancels_wanted(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        """Which of these must stop; read only, cheap, called several times a second."""
        ...

    async def finish(self, claim: ShardClaim, result: StepResult) -> SearchChange | None:
        """Count a step's result, once, and make the step that comes next, if one does. None: fenced.

        Idempotent for the same epoch: told again, nothing changes. Writes a progress event now and then.
        """
        ...

    async def died(self, claim: ShardClaim, death: StepDied) -> SearchChange | None:
        """Count a death, and see to it that the combination at fault stops no other: it is tried alone, and is a
        result with an error when that fails too. None: fenced.
        """
        ...

    async def give_back(self, claim: ShardClaim) -> bool:
        """Let any worker take the step again; no death. False: fenced."""
        ...

    async def end(self, claim: ShardClaim, outcome: SearchOutcome) -> SearchChange | None:
        """End the search in one transaction: row, best run, terminal event. A cancel that came meanwhile wins.

        Idempotent for the same epoch. None: fenced.
        """
        ...

    async def sweep(self) -> SearchChange:
        """End open searches that are cancelled or whose row is gone, without any slot; claims nothing."""
        ...

    async def forget_unknown(self, known: Collection[ShardKey]) -> int:
        """Give back shards that this worker owns by the table but does not know of."""
        ...

    async def best_run_id(self, claim: ShardClaim) -> int | None:
        """The search's number for its best run, from the sequence of backtest_runs, which nobody else gets: the same
        whoever asks how often. None: fenced.
        """
        ...

    async def trials_before(self, claim: ShardClaim) -> int:
        """Combinations and runs that were tried before this search: completed_combinations of all searches before it of
        the same strategy and symbol whose range overlaps, and completed single runs alike, best runs aside.
        """
        ...


@dataclass(frozen=True, slots=True)
class StepTask:
    """What an engine child needs to take one step."""

    optimization_id: int
    number: int
    epoch: int
    specification: Mapping[str, Any]
    """Of the engine."""
    step: Mapping[str, Any]
    """kind, first, last, search, plan, results, trials_before: as in the claim."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """What the child found; JSON, as its step's kind has it."""

    answer: Mapping[str, Any] = field(default_factory=dict)


StepOutcome = StepDone | StepDied | Failed | Stopped
"""What an engine child can answer to a step."""


class StepPool(Protocol):
    """The engine processes, which take steps of searches as they take runs (ports.EnginePool)."""

    async def take_step(self, task: StepTask, stop: StopSignal) -> StepOutcome:
        """Take one step on a free child, waiting for one. Never raises for what the child does.

        RUN_TIMEOUT_SECONDS holds for each combination.
        """
        ...
