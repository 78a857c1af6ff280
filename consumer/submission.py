"""Takes requests whose senders wait for the answer: checked by the rules of the topics' intake, durable when answered.

Many senders share a transaction: while one is under way the next requests gather, and go together in the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, assert_never

import structlog

from consumer.decoding import OVER_HTTP
from consumer.errors import StoreUnavailable, Unavailable
from consumer.intake import Judge, SearchJudge
from consumer.outbox_relay import OutboxRelay
from consumer.ports import (
    CancelToRecord,
    Decision,
    Refused,
    RequestJournal,
    RequestToRecord,
    RunRow,
    StrategyCheck,
    StrategyChecker,
    StrategyRow,
    Unchecked,
    Verdict,
)
from consumer.ports.posting import Conflict, Held, PostAnswer, PostJournal, PostResult, SearchPostJournal, Taken
from consumer.ports.searches import SearchDecision, SearchJournal, SearchRow, SearchToRecord
from consumer.preparation.known_instruments import nothing_to_learn
from schemas.optimization_requested import OptimizationRequested
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested

log = structlog.get_logger(__name__)

LARGEST_GROUP: Final = 200
ANSWER_SECONDS: Final = 10.0
"""For Postgres; then the sender is told to ask again, and the same id makes sure that nothing is done twice."""
HELD_SECONDS: Final = 2.0
"""For a client of the database to let go of a strategy's row."""
HELD_PAUSE_SECONDS: Final = 0.1
MOST_REMEMBERED: Final = 1_000
MOST_REMEMBERED_CHARACTERS: Final = 1_000
REMEMBERED_SECONDS: Final = 5.0

AnyRequest = TypeVar("AnyRequest", RequestToRecord, SearchToRecord)
Answer = Taken | Refused | Conflict
Verdicts = Mapping[StrategyCheck, Verdict]


@dataclass(slots=True)
class Submission:
    """One for a process; `run` has to run beside it."""

    posts: PostJournal
    search_posts: SearchPostJournal
    journal: RequestJournal
    searches: SearchJournal
    judge: Judge
    judge_search: SearchJudge
    checker: StrategyChecker
    relay: OutboxRelay
    monotonic: Callable[[], float]
    learn: Callable[[], Awaitable[None]] = nothing_to_learn
    """As of Intake."""
    passed: dict[StrategyCheck, Verdict] = field(default_factory=dict, init=False)
    """What strategies' code found nothing wrong with just now. What it refused is asked anew each time."""
    passed_since: float = field(default=float("-inf"), init=False)
    runs_group: "Group[RequestToRecord]" = field(init=False)
    searches_group: "Group[SearchToRecord]" = field(init=False)

    def __post_init__(self) -> None:
        self.runs_group = Group(self._take_runs)
        self.searches_group = Group(self._take_searches)

    async def run(self) -> None:
        """Write what is submitted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runs_group.run())
            group.create_task(self.searches_group.run())

    async def submit(self, request: RequestToRecord) -> Answer:
        """Make a request for a run durable, or say why not. Raises StoreUnavailable: then submit the same again."""
        return await self._decided(request, self.runs_group)

    async def submit_search(self, request: SearchToRecord) -> Answer:
        """As `submit`, for a search."""
        return await self._decided(request, self.searches_group)

    async def cancel_run(self, run_id: int, reason: str | None) -> None:
        """Ask for the end of a run. Durable when it returns; a queued one has ended then. Raises StoreUnavailable."""
        cancel = CancelToRecord(OVER_HTTP, run_id, None, reason)
        result = await answered(self.journal.record_batch([], [cancel], [], self._admit(self.passed)))
        self.relay.add(result.events)

    async def cancel_search(self, optimization_id: int, reason: str | None) -> None:
        """As `cancel_run`, for a search."""
        cancel = CancelToRecord(OVER_HTTP, None, None, reason, optimization_id)
        result = await answered(self.searches.keep_cancels([cancel]))
        self.relay.add(result.events)

    async def _decided(self, request: AnyRequest, group: "Group[AnyRequest]") -> Answer:
        """Ask strategies' code where that is called for; wait a little for a row that a client holds."""
        verdicts: dict[StrategyCheck, Verdict] = {}
        patience = self.monotonic() + HELD_SECONDS
        while True:
            answer = await group.take(request, verdicts)
            match answer:
                case Taken() | Refused() | Conflict():
                    return answer
                case Held():
                    if self.monotonic() >= patience:
                        raise StoreUnavailable("a client of the database keeps the strategy's row locked")
                    await asyncio.sleep(HELD_PAUSE_SECONDS)
                case Unchecked(check):
                    async for found in self.checker.check([check]):
                        verdicts.update(found)
                        self._remember(found)
                case _:
                    assert_never(answer)

    def _remember(self, verdicts: Verdicts) -> None:
        self.passed.update(
            (check, verdict)
            for check, verdict in verdicts.items()
            if not verdict and len(check.params) + len(check.space) <= MOST_REMEMBERED_CHARACTERS
        )

    def _known(self, verdicts: Verdicts) -> dict[StrategyCheck, Verdict]:
        now = self.monotonic()
        if now - self.passed_since > REMEMBERED_SECONDS or len(self.passed) > MOST_REMEMBERED:
            self.passed.clear()
            self.passed_since = now
        return {**self.passed, **verdicts}

    async def _take_runs(self, requests: Sequence[RequestToRecord], verdicts: Verdicts) -> PostResult:
        await self.learn()
        result = await self.posts.take(requests, self._admit(self._known(verdicts)))
        self.relay.add(result.events)
        return result

    async def _take_searches(self, requests: Sequence[SearchToRecord], verdicts: Verdicts) -> PostResult:
        known = self._known(verdicts)
        await self.learn()

        def admit(
            request: OptimizationRequested,
            strategy: StrategyRow | None,
            row: SearchRow | None,
            problems: tuple[FieldProblem, ...],
        ) -> SearchDecision:
            return self.judge_search(request, strategy, row, problems, known)

        result = await self.search_posts.take(requests, admit)
        self.relay.add(result.events)
        return result

    def _admit(
        self, verdicts: Verdicts
    ) -> Callable[[BacktestRequested, StrategyRow | None, RunRow | None, tuple[FieldProblem, ...]], Decision]:
        def admit(
            request: BacktestRequested,
            strategy: StrategyRow | None,
            run: RunRow | None,
            problems: tuple[FieldProblem, ...],
        ) -> Decision:
            return self.judge(request, strategy, run, problems, verdicts)

        return admit


@dataclass(slots=True, eq=False)
class _Waiting(Generic[AnyRequest]):
    request: AnyRequest
    verdicts: Verdicts
    answer: "asyncio.Future[PostAnswer]"


@dataclass(slots=True)
class Group(Generic[AnyRequest]):
    """Requests of one kind, on their way into the store together. take: writes some, no two of one id."""

    take_all: Callable[[Sequence[AnyRequest], Verdicts], Awaitable[PostResult]]
    waiting: list[_Waiting[AnyRequest]] = field(default_factory=list, init=False)
    arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def take(self, request: AnyRequest, verdicts: Verdicts) -> PostAnswer:
        """Raises StoreUnavailable, also when there is no answer in time; it may have been taken all the same then."""
        waiting = _Waiting(request, dict(verdicts), asyncio.get_running_loop().create_future())
        self.waiting.append(waiting)
        self.arrived.set()
        return await answered(waiting.answer)

    async def run(self) -> None:
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            while chosen := self._next_ones():
                await self._write(chosen)

    def _next_ones(self) -> list[_Waiting[AnyRequest]]:
        """The oldest, each id once: of two with one id the second one is answered by what became of the first."""
        chosen: dict[str, _Waiting[AnyRequest]] = {}
        later: list[_Waiting[AnyRequest]] = []
        for each in self.waiting:
            if each.answer.done():  # its sender has given up
                continue
            if each.request.request_id in chosen or len(chosen) >= LARGEST_GROUP:
                later.append(each)
            else:
                chosen[each.request.request_id] = each
        self.waiting = later
        return list(chosen.values())

    async def _write(self, chosen: Sequence[_Waiting[AnyRequest]]) -> None:
        verdicts: dict[StrategyCheck, Verdict] = {}
        for each in chosen:
            verdicts.update(each.verdicts)
        try:
            result = await answered(self.take_all([each.request for each in chosen], verdicts))
        except Unavailable as error:
            _fail(chosen, error)
        except asyncio.CancelledError:
            _fail(chosen, StoreUnavailable("this process is stopping"))
            raise
        except Exception as error:
            log.exception("requests_not_taken", request_ids=[each.request.request_id for each in chosen])
            if len(chosen) == 1:
                _fail(chosen, error)
                return
            for each in chosen:  # one of them holds what the store refuses: the others must not fail for it
                await self._write([each])
        else:
            for each, answer in zip(chosen, result.answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)


def _fail(waiting: Sequence[_Waiting[AnyRequest]], error: Exception) -> None:
    """An exception each: a traceback grows with each raise."""
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(StoreUnavailable(str(error)) if isinstance(error, Unavailable) else error)


Result = TypeVar("Result")


async def answered(step: Awaitable[Result]) -> Result:
    """What the store says, if it does in time. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await step
    except TimeoutError as error:
        raise StoreUnavailable(f"Postgres: no answer within {ANSWER_SECONDS:g} s") from error
