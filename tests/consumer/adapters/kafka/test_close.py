"""Closing an aiokafka consumer never ends the task that closes it."""

import asyncio
from dataclasses import dataclass, field

from consumer.adapters.kafka.connection import close_consumer


@dataclass(slots=True)
class Client:
    closed: bool = False

    async def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class Consumer:
    """Stops as aiokafka's does: it cancels a fetch of its own and awaits it, or waits for a broker that is away."""

    hangs: bool = False
    _client: Client = field(default_factory=Client)

    async def stop(self) -> None:
        fetch = asyncio.ensure_future(asyncio.Event().wait())
        if not self.hangs:
            fetch.cancel()
        await fetch
        await self._client.close()


async def test_a_consumer_that_cancels_its_own_fetch_while_it_stops_does_not_end_the_worker() -> None:
    consumer = Consumer()
    await close_consumer(consumer, 1.0)
    assert consumer._client.closed


async def test_a_consumer_that_does_not_stop_is_left_within_bounds() -> None:
    consumer = Consumer(hangs=True)
    await close_consumer(consumer, 0.01)
    assert consumer._client.closed


async def test_who_closes_a_consumer_can_be_cancelled() -> None:
    closing = asyncio.create_task(close_consumer(Consumer(hangs=True), 60.0))
    await asyncio.wait({closing}, timeout=0.01)
    closing.cancel()
    assert (await asyncio.wait({closing}, timeout=5.0))[0] == {closing}
    assert closing.cancelled()
