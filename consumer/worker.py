"""A worker's loops: what repeats, how often, and how all of it ends. What it is made of, `wiring.worker` opens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from consumer.dispatch import Dispatcher
from consumer.intake import Intake
from consumer.loops import bounded, every, keep_going
from consumer.outbox_relay import OutboxRelay
from consumer.ports import Clock, RecordSource
from consumer.search_dispatch import SearchDispatcher
from consumer.settings import Settings

log = structlog.get_logger(__name__)

IDLE_CLAIM_SECONDS = 0.25
"""An idle worker looks for runs that others queued this often; its own intake wakes it at once."""
CANCEL_POLL_SECONDS = 0.2
"""With the engine's grace this keeps a cancel under its second."""
SEARCH_LOOK_SECONDS = 0.25
"""Between two looks whether a search has a step to take."""
QUEUE_WATCH_SECONDS = 1.0
WAITING_SECONDS = 1.0
"""Between two looks at requests that wait for a client's lock."""
CLOCK_SECONDS = 10.0
"""Between two looks at the store's clock."""
TOPICS_SECONDS = 5.0
DRAIN_GRACE_SECONDS = 2.0
"""To stop children and give their runs back."""
RELAY_GRACE_SECONDS = 1.5
"""To publish what waits."""


@dataclass(slots=True)
class Worker:
    """All of one worker's parts, joined."""

    owner: str
    """As leases name it."""
    settings: Settings
    source: RecordSource
    relay: OutboxRelay
    intake: Intake
    dispatcher: Dispatcher
    searches: SearchDispatcher
    clock: Clock
    adjust_clock: Callable[[], Awaitable[None]]
    """Reads the store's time anew."""
    look_at_topics: Callable[[], Awaitable[None]]
    """Notices what others have done to them, and mends what it may."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then drain: nothing new, runs given back, events out, offsets committed."""
        self.tasks = [
            asyncio.create_task(keep_going(loop), name=loop.__qualname__)
            for loop in (self._read, self.relay.run, self._claim, self._sweep)
        ] + [
            asyncio.create_task(every(seconds, step), name=step.__qualname__)
            for seconds, step in (
                (self.settings.heartbeat_seconds, self.dispatcher.beat_once),
                (CANCEL_POLL_SECONDS, self.dispatcher.look_for_cancels),
                (SEARCH_LOOK_SECONDS, self.searches.look),
                (self.settings.heartbeat_seconds, self.searches.beat_once),
                (CANCEL_POLL_SECONDS, self.searches.look_for_cancels),
                (self.sweep_seconds, self.relay.keep),
                (QUEUE_WATCH_SECONDS, self.intake.watch_queue),
                (CLOCK_SECONDS, self.adjust_clock),
                (TOPICS_SECONDS, self.look_at_topics),
                (WAITING_SECONDS, self.intake.record_waiting),
            )
        ]
        log.info("worker_started", owner=self.owner, slots=self.settings.slots)
        try:
            await stopping.wait()
        finally:
            await self._drain()

    def liveness(self) -> dict[str, str | None]:
        """Each of the worker's loops, and what ended it: none ever should."""
        return {task.get_name(): "ended" if task.done() else None for task in self.tasks}

    @property
    def sweep_seconds(self) -> float:
        return self.settings.lease_seconds / 3

    async def _sweep(self) -> None:
        """Sweep and pause in full, however long the sweep took: between two looks at leases their owners must have had
        the time to renew them, and a store that stood still answers all who waited at the same moment.
        """
        await self.dispatcher.sweep()
        await self.searches.sweep()
        await asyncio.sleep(self.sweep_seconds)

    async def _read(self) -> None:
        await self.intake.run()
        await asyncio.Event().wait()  # the source was stopped: nothing is left to read

    async def _claim(self) -> None:
        """Claim while there is room and work; otherwise wait for a sign of work, but not for long."""
        may_be_more = await self.dispatcher.claim_once()
        await self.searches.claim_once()
        if not may_be_more:
            self.dispatcher.work_arrived.clear()
            await _wait(self.dispatcher.work_arrived, IDLE_CLAIM_SECONDS)

    async def _drain(self) -> None:
        """Bounded in time, whatever server is away: DRAIN_SECONDS and 10 more at most."""
        log.info("worker_draining", active=len(self.dispatcher.active), drain_seconds=self.settings.drain_seconds)
        stopping_source = asyncio.create_task(bounded(self.source.stop(), DRAIN_GRACE_SECONDS))
        await asyncio.gather(
            self.dispatcher.drain(self.settings.drain_seconds, DRAIN_GRACE_SECONDS),
            self.searches.drain(self.settings.drain_seconds, DRAIN_GRACE_SECONDS),
        )
        await stopping_source
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        deadline = self.clock.monotonic() + RELAY_GRACE_SECONDS
        await bounded(self.relay.drain(deadline), RELAY_GRACE_SECONDS + 0.5)
        log.info("worker_stopped")


async def _wait(event: asyncio.Event, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        pass
