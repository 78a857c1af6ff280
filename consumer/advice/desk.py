"""All calls to language models of one worker: so many at a time, so many a minute, and one a question.

A call is a task of its own, which outlives the run that wanted it: once it is begun it is paid for, so that its answer
is kept whatever becomes of the run meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import structlog

from consumer.errors import ArtifactsUnavailable, StoreUnavailable
from consumer.ports import Clock
from consumer.ports.advice import (
    Call,
    CallFailed,
    CallLedger,
    CallOutcome,
    CallRefused,
    CallSettings,
    KnownAnswer,
    Messages,
    MessageStore,
    ModelCaller,
    Reply,
)
from consumer.retries import retry_while_unavailable
from consumer.rules.budget import question_document

log = structlog.get_logger(__name__)

MINUTE_SECONDS: Final = 60.0
CLOSING_SECONDS: Final = 1.0
"""For answers of calls that are out when the worker stops."""


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """What one worker may ask for, and for how long it tries."""

    concurrency: int
    requests_per_minute: int
    timeout_seconds: float
    """Of one call, to the end of its answer."""
    patience_seconds: float
    """From a question's first failure to the end of its run."""
    shares_answers: bool = True
    """Between runs; between the attempts of a run always."""
    cutoff: date | None = None
    """Until when the models have read the news."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that a run wants. run_id: of those that share no answers, else None."""

    key: str
    run_id: int | None
    model: str
    settings: CallSettings
    messages: Messages
    begin: Callable[[], Awaitable[Call | None]]
    """Makes the call durable; None: the run is another worker's, or has ended."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The call is begun, and nothing of it has left this machine: it may be sent again under its number."""

    call: Call
    failure: CallFailed


class Fenced:
    """The run is not this worker's any more."""


class Abandoned:
    """Who wanted the call went away before it began."""


FlightEnd = KnownAnswer | CallFailed | CallRefused | NotSent | Fenced | Abandoned


@dataclass(slots=True, eq=False)
class _Flight:
    task: "asyncio.Task[FlightEnd]"
    is_begun: bool = False


@dataclass(slots=True)
class AdviceDesk:
    """Makes the calls that runs may have."""

    caller: ModelCaller
    ledger: CallLedger
    messages: MessageStore
    clock: Clock
    limits: DeskLimits
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    told: Callable[[str, CallOutcome, float], None] = lambda model, outcome, seconds: None
    """Hears of each call that was sent, once it has ended: its model, what came of it, and its seconds."""
    flights: dict[tuple[str, int | None], _Flight] = field(default_factory=dict, init=False)
    places: asyncio.Semaphore = field(init=False)
    sent_at: deque[float] = field(default_factory=deque, init=False)
    """Monotonic, of the calls of the last minute."""
    hold_until: dict[str, float] = field(default_factory=dict, init=False)
    """Model -> monotonic: its provider asked for so long a pause."""

    def __post_init__(self) -> None:
        self.places = asyncio.Semaphore(self.limits.concurrency)

    async def call(self, wanted: Wanted) -> FlightEnd:
        """Have the call made, or wait for the one with its key that is under way. Cancelled, it leaves that alone,
        but for one that is not begun yet and is its own.
        """
        place = (wanted.key, wanted.run_id)
        flight = self.flights.get(place)
        is_own = flight is None
        if flight is None:
            flight = self.flights[place] = self._start(wanted, place)
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.task.cancelled():
                current = asyncio.current_task()
                if current is None or not current.cancelling():
                    return Abandoned()
            elif is_own and not flight.is_begun:
                flight.task.cancel()
            raise

    def _start(self, wanted: Wanted, place: tuple[str, int | None]) -> _Flight:
        flight: _Flight

        async def fly() -> FlightEnd:
            try:
                return await self._fly(wanted, flight)
            finally:
                self.flights.pop(place, None)

        flight = _Flight(asyncio.create_task(fly(), name=f"call {wanted.key[:12]}"))
        # One that is cancelled before its first step never comes to its own end.
        flight.task.add_done_callback(lambda _: self.flights.get(place) is flight and self.flights.pop(place))
        return flight

    async def _fly(self, wanted: Wanted, flight: _Flight) -> FlightEnd:
        async with self.places:
            await self._wait_for_turn(wanted.model)
            known = await self.known(wanted.key, wanted.run_id)
            if known is not None:
                return known
            failure = await self._keep_messages(wanted)
            if failure is not None:
                return failure
            # From here on it is not cancelled with its run: there is no moment between the row and the sending of it.
            flight.is_begun = True
            call = await wanted.begin()
            if call is None:
                return Fenced()
            return await self._send(wanted, call)

    async def _wait_for_turn(self, model: str) -> None:
        """Come back once a call to the model may be sent, and count it."""
        while (seconds := self._seconds_to_turn(model)) > 0:
            await self.sleep(seconds)
        self.sent_at.append(self.clock.monotonic())

    def _seconds_to_turn(self, model: str) -> float:
        now = self.clock.monotonic()
        while self.sent_at and self.sent_at[0] <= now - MINUTE_SECONDS:
            self.sent_at.popleft()
        is_full = len(self.sent_at) >= self.limits.requests_per_minute
        full_for = self.sent_at[0] + MINUTE_SECONDS - now if is_full else 0.0
        return max(full_for, self.hold_until.get(model, now) - now)

    async def _keep_messages(self, wanted: Wanted) -> CallFailed | None:
        document = question_document(wanted.model, wanted.settings, wanted.messages)
        try:
            await asyncio.to_thread(self.messages.save_messages, wanted.key, document)
        except ArtifactsUnavailable as error:
            return CallFailed(f"the question cannot be kept: {error}", was_sent=False)
        return None

    async def known(self, key: str, run_id: int | None) -> KnownAnswer | None:
        async def look() -> KnownAnswer | None:
            return (await self.ledger.answers([key], run_id)).get(key)

        return await retry_while_unavailable(look, StoreUnavailable)

    async def _send(self, wanted: Wanted, call: Call) -> FlightEnd:
        began = self.clock.monotonic()
        outcome = await self._outcome(wanted, call)
        seconds = self.clock.monotonic() - began
        self.told(wanted.model, outcome, seconds)
        if isinstance(outcome, CallFailed):
            pause = outcome.retry_after_seconds
            if pause is not None and pause <= self.limits.patience_seconds:
                until = self.clock.monotonic() + pause
                self.hold_until[wanted.model] = max(until, self.hold_until.get(wanted.model, until))
            if not outcome.was_sent:
                return NotSent(call, outcome)
        known = await self.settle(call, outcome, round(seconds * 1000), wanted.run_id)
        if isinstance(outcome, Reply):
            assert known is not None
            return known
        return known or outcome

    async def _outcome(self, wanted: Wanted, call: Call) -> CallOutcome:
        try:
            async with asyncio.timeout(self.limits.timeout_seconds):
                return await self.caller.call(wanted.model, wanted.messages, wanted.settings)
        except TimeoutError:
            return CallFailed(f"no answer within BACKTEST_LLM_TIMEOUT_SECONDS, {self.limits.timeout_seconds:g} s")
        except Exception as error:
            # A defect on our side, whose words may show anything: its kind is enough.
            kind = type(error).__name__
            log.warning("model_call_failed", run_id=call.run_id, number=call.number, error=kind)
            return CallRefused(f"a defect of this program: {kind}")

    async def settle(self, call: Call, outcome: CallOutcome, latency_ms: int, run_id: int | None) -> KnownAnswer | None:
        """Keep what came of a call, however long the store is away."""

        async def attempt() -> KnownAnswer | None:
            return await self.ledger.settle(call, outcome, latency_ms, shared=run_id is None)

        return await retry_while_unavailable(attempt, StoreUnavailable)

    async def close(self) -> None:
        """Wait a moment for the answers of calls that are out; the others are lost, and stay counted."""
        tasks = [flight.task for flight in self.flights.values()]
        for flight in self.flights.values():
            if not flight.is_begun:
                flight.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.caller.close()
