"""From a record to something durable: decode, decide, record in one transaction, and only then let its offset be
committed.

Every record ends in one RecordOutcome, and no record stops its partition: what cannot be decoded, and what the store
refuses for itself, goes to the dead-letter topic byte for byte.

A request whose strategy's code has to be asked first is left out of its batch's transaction and recorded in another one
when there is a verdict. Later batches are recorded meanwhile; their offsets are let go in the batches' order.
"""

import asyncio
from collections import ChainMap, Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from consumer.decoding import Decoded, decode_all
from consumer.errors import StoreTooSlow, StoreUnavailable
from consumer.outbox_relay import OutboxRelay
from consumer.ports import (
    Admit,
    Batch,
    Clock,
    Decision,
    EventWriter,
    IntakeResult,
    Record,
    RecordSource,
    RequestJournal,
    RunRow,
    StrategyCheck,
    StrategyChecker,
    StrategyRow,
    Undecided,
    Verdict,
)
from consumer.ports.searches import AdmitSearch, SearchDecision, SearchJournal, SearchRow
from consumer.preparation.known_instruments import nothing_to_learn
from consumer.retries import retry_while_unavailable
from consumer.telemetry import Telemetry
from schemas.dead_letter import DeadLetterReason
from schemas.optimization_requested import OptimizationRequested
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested

log = structlog.get_logger(__name__)

DEFECT_PAUSE_SECONDS = 1.0
"""Before a batch that met a defect here is tried again."""
SPARED_CALLS = 15
"""One look at the queue's length in so many, where nobody depends on it."""
LARGEST_PART = 10_000
"""Records that are written at once, where the store allows the time: more than one poll brings."""
MAX_WAITING = 5_000
"""Records that wait for verdicts, beyond which no more are read: they are held in memory."""
REMEMBERED_SECONDS = 5.0
MAX_REMEMBERED = 10_000
"""Parameters that strategies' code took lately."""
MAX_REMEMBERED_CHARACTERS = 1_000
"""Of one of them; longer ones are asked about anew."""
PORTIONS = 4
"""A batch that is as large as it may be is recorded in so many transactions: what is read of a record, and what is
written, takes many times its bytes.
"""

Verdicts = Mapping[StrategyCheck, Verdict]
NO_VERDICTS: Final[Verdicts] = MappingProxyType({})
Unchecked = tuple[str, Record, StrategyCheck]
"""A request's id, its record, and what its strategy's code has to be asked."""
Waiting = defaultdict[StrategyCheck, list[Record]]
Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Judge(Protocol):
    """Decide as `Admit` does, by these verdicts of strategies' code. Pure."""

    def __call__(
        self,
        request: BacktestRequested,
        strategy: StrategyRow | None,
        run: RunRow | None,
        problems: tuple[FieldProblem, ...],
        verdicts: Verdicts,
    ) -> Decision: ...


class SearchJudge(Protocol):
    """Decide as `AdmitSearch` does, by these verdicts of strategies' code. Pure."""

    def __call__(
        self,
        request: OptimizationRequested,
        strategy: StrategyRow | None,
        row: SearchRow | None,
        problems: tuple[FieldProblem, ...],
        verdicts: Verdicts,
    ) -> SearchDecision: ...


@dataclass(slots=True)
class Intake:
    """Reads the input topics for as long as the source yields batches."""

    source: RecordSource
    journal: RequestJournal
    searches: SearchJournal
    relay: OutboxRelay
    writer: EventWriter
    judge: Judge
    judge_search: SearchJudge
    checker: StrategyChecker
    telemetry: Telemetry
    work_arrived: asyncio.Event
    """Set when runs were queued: the dispatcher claims at once."""
    max_queued: int
    clock: Clock
    learn: Callable[[], Awaitable[None]] = nothing_to_learn
    """Takes up what the judges go by and others may have changed; raises StoreUnavailable."""
    max_bytes: int = 8 * 1_048_576
    """Of a batch, and of records that are held here because they wait for verdicts."""
    held: bool = field(default=False, init=False)
    passed: dict[StrategyCheck, Verdict] = field(default_factory=dict, init=False)
    """What strategies' code found nothing wrong with just now: most requests repeat it. What it refused is asked anew
    each time, for somebody may have mended it.
    """
    passed_since: float = field(default=0.0, init=False)
    under_way: deque[tuple[Batch, "asyncio.Task[None] | None"]] = field(default_factory=deque, init=False)
    """Batches that are not durable yet or stand behind one that is not, oldest first, and who records the rest."""
    waiting: int = field(default=0, init=False)
    """Records of theirs that wait for verdicts."""
    recording: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Held while records that waited are written: one verdict lets go of several batches at once, and what is written
    is bounded one batch at a time.
    """
    waiting_bytes: int = field(default=0, init=False)
    ids_waiting: dict[Place, tuple[str, StrategyCheck]] = field(default_factory=dict, init=False)
    """Of each record that waits, in the order in which they were read."""
    written: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set when some that waited are durable, and replaced by a new one then."""
    calls_spared: int = field(default=SPARED_CALLS, init=False)
    part_size: int = field(default=LARGEST_PART, init=False)
    """Records that are written at once."""

    async def run(self) -> None:
        try:
            async for batch in self.source.batches():
                await self.take(batch)
                while self.waiting > MAX_WAITING or self.waiting_bytes > self.max_bytes:
                    await asyncio.wait(self.checks_under_way(), return_when=asyncio.FIRST_COMPLETED)
            await self.settle()
        finally:
            for task in self.checks_under_way():
                task.cancel()

    async def take(self, batch: Batch) -> None:
        """Record what can be decided at once, and see to the rest beside the batches that come next."""
        unchecked: list[Unchecked] = []
        for records in portions(batch.records, self.max_bytes // PORTIONS):
            result = await self.record_at_last(records)
            self.announce(result, len(records))
            unchecked += records_of(result.unchecked)
        task = None
        if unchecked:
            task = asyncio.create_task(self.record_when_checked(unchecked), name="requests to be checked")
            task.add_done_callback(lambda _: self.let_go())
        self.under_way.append((replace(batch, records=()), task))
        self.let_go()

    def let_go(self) -> None:
        """Let the offsets of durable batches be committed, in order: a position says that all before it is durable."""
        while self.under_way and _is_over(self.under_way[0][1]):
            self.source.mark_durable(self.under_way.popleft()[0])

    def checks_under_way(self) -> "list[asyncio.Task[None]]":
        return [task for _, task in self.under_way if task is not None and not task.done()]

    async def settle(self) -> None:
        """Wait until everything that was read is durable."""
        while checks := self.checks_under_way():
            await asyncio.wait(checks)

    async def record_when_checked(self, unchecked: Sequence[Unchecked]) -> None:
        """Ask strategies' code, and record each request when its verdict is there: none waits for a slower one."""
        waiting: Waiting = defaultdict(list)
        self.keep_waiting(unchecked, waiting)
        while waiting:
            try:
                async for verdicts in self.checker.check(list(waiting)):
                    await self.record_checked(verdicts, waiting)
            except Exception:
                log.exception("strategies_not_checked", checks=len(waiting))
                await asyncio.sleep(DEFECT_PAUSE_SECONDS)

    def keep_waiting(self, unchecked: Sequence[Unchecked], waiting: Waiting) -> None:
        for request_id, record, check in unchecked:
            waiting[check].append(record)
            self.ids_waiting[place_of(record)] = request_id, check
            self.waiting_bytes += size_of(record)
        self.waiting += len(unchecked)

    async def record_checked(self, verdicts: Verdicts, waiting: Waiting) -> None:
        """Record the waiting that have a verdict. One whose rows call for another check by now goes on waiting."""
        checked = [record for check in verdicts for record in waiting.pop(check, ())]
        await self.its_turn(checked)
        for records in portions(checked, self.max_bytes // PORTIONS):
            async with self.recording:
                result = await self.record_at_last(records, verdicts)
            self.announce(result, len(records))
            self.waiting -= len(records)
            self.waiting_bytes -= sum(map(size_of, records))
            for record in records:
                self.ids_waiting.pop(place_of(record), None)
            written, self.written = self.written, asyncio.Event()
            written.set()
            self.keep_waiting(records_of(result.unchecked), waiting)
        self.passed.update(
            (check, verdict)
            for check, verdict in verdicts.items()
            if not verdict and len(check.params) <= MAX_REMEMBERED_CHARACTERS
        )

    async def its_turn(self, records: Sequence[Record]) -> None:
        """Wait until those are written whose ids they have and that were read before them: which verdict comes first
        must not matter.
        """
        places = set(map(place_of, records))
        while True:
            firsts = self.first_waiting()
            ids = {self.ids_waiting[place][0] for place in places if place in self.ids_waiting}
            if all(firsts[request_id] in places for request_id in ids):
                return
            await self.written.wait()

    def first_waiting(self) -> dict[str, Place]:
        """Of each id that waits, where the record stands that was read first."""
        firsts: dict[str, Place] = {}
        for place, (request_id, _) in self.ids_waiting.items():
            firsts.setdefault(request_id, place)
        return firsts

    async def record_at_last(self, records: Sequence[Record], verdicts: Verdicts = NO_VERDICTS) -> IntakeResult:
        """Record a batch, whatever it takes: to go on without it would let a later batch commit past its records."""
        while True:
            try:
                return await self.record(records, verdicts)
            except Exception:
                log.exception("batch_not_recorded", records=len(records))
                await asyncio.sleep(DEFECT_PAUSE_SECONDS)

    async def record(self, records: Sequence[Record], verdicts: Verdicts) -> IntakeResult:
        """Make a batch durable, but for what is unchecked, however long Postgres is away.

        In parts as large as it takes in the time that its role has for a statement: they shrink until one passes, and
        grow again.
        """
        results = []
        rest = records
        while rest:
            part = rest[: self.part_size]
            try:
                results.append(await self.record_part(part, verdicts))
            except _GivenUp as error:
                self.part_size = max(1, len(part) // 2)
                log.warning("part_given_up", records=len(part), error=str(error))
                continue
            rest = rest[len(part) :]
            self.part_size = min(LARGEST_PART, self.part_size + 1 + self.part_size // 4)
        return merge(results)

    async def record_part(self, records: Sequence[Record], verdicts: Verdicts) -> IntakeResult:
        """Raises _GivenUp for more than one record that the store gave up for the time they took."""
        decoded = decode_all(records, self.writer)

        async def attempt() -> IntakeResult:
            try:
                return await self.record_decoded(decoded, verdicts)
            except StoreTooSlow as error:
                if len(records) > 1:
                    raise _GivenUp(str(error)) from error
                raise

        try:
            return await retry_while_unavailable(attempt, StoreUnavailable)
        except _GivenUp:
            raise
        except Exception as error:
            # One of them holds what the store refuses: find it by halves, and let the others through.
            log.exception("batch_refused", records=len(records))
            if len(records) == 1:
                return await self.set_aside(records[0], error)
            middle = len(records) // 2
            return merge([await self.record(half, verdicts) for half in (records[:middle], records[middle:])])

    async def record_decoded(self, decoded: Decoded, verdicts: Verdicts) -> IntakeResult:
        """Runs first: a search may be cancelled, or its id taken, by what stands in the same batch."""
        decoded, behind = (decoded, ()) if verdicts else self.stand_back(decoded)
        if decoded.requests or decoded.searches:
            await self.learn()
        runs = self.journal.record_batch(
            decoded.requests, decoded.cancels, decoded.dead_letters, self.admit_by(verdicts)
        )
        results = [await runs]
        if decoded.search_cancels:
            results.append(await self.searches.keep_cancels(decoded.search_cancels))
        if decoded.searches:
            results.append(await self.searches.record_searches(decoded.searches, self.admit_searches_by(verdicts)))
        result = results[0] if len(results) == 1 else merge(results)
        return replace(result, unchecked=(*result.unchecked, *behind)) if behind else result

    def stand_back(self, decoded: Decoded) -> tuple[Decoded, tuple[tuple[Undecided, StrategyCheck], ...]]:
        """Without those whose id an earlier one has that waits for a verdict. They wait for it too, whatever is known
        of their own strategies: of two with one id the one that was emitted first has to win.
        """
        checks = {request_id: self.ids_waiting[place][1] for request_id, place in self.first_waiting().items()}
        if not checks:
            return decoded, ()
        requests = [request for request in decoded.requests if request.request_id not in checks]
        searches = [search for search in decoded.searches if search.request_id not in checks]
        behind: list[Undecided] = [each for each in decoded.requests if each.request_id in checks]
        behind += [each for each in decoded.searches if each.request_id in checks]
        rest = replace(decoded, requests=requests, searches=searches)
        return rest, tuple((each, checks[each.request_id]) for each in behind)

    def admit_searches_by(self, verdicts: Verdicts) -> AdmitSearch:
        """As `admit_by`; what was asked about a space is asked anew each time."""

        def admit(
            request: OptimizationRequested,
            strategy: StrategyRow | None,
            row: SearchRow | None,
            problems: tuple[FieldProblem, ...],
        ) -> SearchDecision:
            return self.judge_search(request, strategy, row, problems, verdicts)

        return admit

    def admit_by(self, verdicts: Verdicts) -> Admit:
        """Decide by these verdicts and what is remembered."""
        now = self.clock.monotonic()
        if now - self.passed_since > REMEMBERED_SECONDS or len(self.passed) > MAX_REMEMBERED:
            self.passed.clear()
            self.passed_since = now
        known = ChainMap(dict(verdicts), self.passed)

        def admit(
            request: BacktestRequested,
            strategy: StrategyRow | None,
            run: RunRow | None,
            problems: tuple[FieldProblem, ...],
        ) -> Decision:
            return self.judge(request, strategy, run, problems, known)

        return admit

    async def set_aside(self, record: Record, error: Exception) -> IntakeResult:
        """Dead-letter a record that decodes and yet cannot be stored: a defect here, but never a stopped partition."""
        message = f"the record cannot be stored: {type(error).__name__}: {error}"
        letter = self.writer.dead_letter(record, DeadLetterReason.UNDECODABLE, message)

        async def attempt() -> IntakeResult:
            return await self.journal.record_batch([], [], [letter], self.admit_by(NO_VERDICTS))

        return await retry_while_unavailable(attempt, StoreUnavailable)

    def announce(self, result: IntakeResult, records: int) -> None:
        self.telemetry.records_recorded(result.outcomes)
        log.info("batch_recorded", records=records, unchecked=len(result.unchecked), **result.outcomes)
        self.relay.add(result.events)
        if result.new_runs:
            self.work_arrived.set()

    async def record_waiting(self) -> None:
        """Decide requests that had to wait for a client's lock, whoever read them. Called every second or so."""
        if not self.source.reads_requests:
            return
        unchecked = await self.decide_waiting(NO_VERDICTS)
        if unchecked:
            async for verdicts in self.checker.check(unchecked):
                await self.decide_waiting(verdicts)

    async def decide_waiting(self, verdicts: Verdicts) -> list[StrategyCheck]:
        """Those that can be decided by these verdicts; the checks that the others call for."""
        await self.learn()
        runs = await self.journal.record_waiting(self.admit_by(verdicts))
        self.announce_decided(runs)
        searches = await self.searches.record_waiting(self.admit_searches_by(verdicts))
        self.announce_decided(searches)
        return [check for _, check in (*runs.unchecked, *searches.unchecked)]

    def announce_decided(self, result: IntakeResult) -> None:
        if result.outcomes:
            self.announce(result, sum(result.outcomes.values()))

    async def watch_queue(self) -> None:
        """Hold request partitions while the queue is full; cancels keep coming. Called every second or so; a worker
        that reads no requests counts at few of the calls, for its metric alone.
        """
        self.calls_spared += 1
        if not self.source.reads_requests and self.calls_spared < SPARED_CALLS:
            return
        self.calls_spared = 0
        queued = await self.journal.queued_count()
        self.telemetry.queue_length(queued)
        if (queued >= self.max_queued) != self.held:
            self.held = not self.held
            log.warning("requests_held" if self.held else "requests_resumed", queued=queued, max_queued=self.max_queued)
            self.source.hold_requests(self.held)


class _GivenUp(Exception):
    """The store gave up several records for the time they took together."""


def records_of(unchecked: Iterable[tuple[Undecided, StrategyCheck]]) -> list[Unchecked]:
    """Without what was read of them: it is read again when there is a verdict."""
    return [(request.request_id, request.record, check) for request, check in unchecked]


def place_of(record: Record) -> Place:
    return record.topic, record.partition, record.offset


def size_of(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + sum(len(value or b"") for _, value in record.headers)


def portions(records: Sequence[Record], max_bytes: int) -> Iterator[Sequence[Record]]:
    """The records in order, in parts of at most so many bytes, or of one record."""
    first, size = 0, 0
    for place, record in enumerate(records):
        size += size_of(record)
        if size > max_bytes and place > first:
            yield records[first:place]
            first, size = place, size_of(record)
    if records:
        yield records[first:]


def merge(results: Sequence[IntakeResult]) -> IntakeResult:
    outcomes: Counter[str] = Counter()
    for result in results:
        outcomes.update(result.outcomes)
    return IntakeResult(
        outcomes,
        tuple(event for result in results for event in result.events),
        tuple(run_id for result in results for run_id in result.new_runs),
        tuple(unchecked for result in results for unchecked in result.unchecked),
    )


def _is_over(task: "asyncio.Task[None] | None") -> bool:
    """Whether everything is durable that the task was to record: it returns for no other reason."""
    return task is None or (task.done() and not task.cancelled() and task.exception() is None)
