"""An API process's loops: what it accepted goes to Kafka, whenever that is there, as a worker's events do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from consumer.broadcaster import LOOK_SECONDS, TICK_SECONDS, Broadcaster
from consumer.clock import StoreClock
from consumer.loops import bounded, every, keep_going
from consumer.outbox_relay import OutboxRelay
from consumer.submission import Submission

CLOCK_SECONDS = 10.0
"""Between two looks at the store's clock."""
TOPICS_SECONDS = 5.0
RELAY_GRACE_SECONDS = 1.5
"""To publish what waits, before others have to adopt it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """read_time: the store's."""

    submission: Submission
    relay: OutboxRelay
    broadcaster: Broadcaster
    clock: StoreClock
    lease_seconds: float
    look_at_topics: Callable[[], Awaitable[None]]
    read_time: Callable[[], Awaitable[datetime]]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops until the block ends; then publish what waits, for a moment, and leave the rest to others."""
        tasks = [
            asyncio.create_task(keep_going(loop), name=loop.__qualname__)
            for loop in (self.submission.run, self.relay.run, self.broadcaster.read)
        ]
        tasks += [
            asyncio.create_task(every(seconds, step), name=step.__qualname__)
            for seconds, step in (
                (self.lease_seconds / 3, self.relay.keep),
                (LOOK_SECONDS, self.broadcaster.look),
                (TICK_SECONDS, self.broadcaster.tick),
                (CLOCK_SECONDS, self.adjust_clock),
                (TOPICS_SECONDS, self.look_at_topics),
            )
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            deadline = self.clock.monotonic() + RELAY_GRACE_SECONDS
            await bounded(self.relay.drain(deadline), RELAY_GRACE_SECONDS + 0.5)

    async def adjust_clock(self) -> None:
        await self.clock.adjust(self.read_time)
