"""Our topics in memory for an emitter and a subscriber: what `kafka.client` does, over a MemoryBroker."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from consumer.adapters.memory.broker import MemoryBroker
from consumer.errors import BrokerUnavailable
from consumer.ports import Delivery, Record
from consumer.ports.requests import Place, TopicReader


@dataclass(frozen=True, slots=True)
class MemoryTopics:
    """Implements `Topics`. Every topic is there from the start."""

    broker: MemoryBroker

    async def prepare(self) -> None:
        self._ask()

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[int, int]]:
        self._ask()
        records = [self.broker.append(delivery) for delivery in deliveries]
        return [(record.partition, record.offset) for record in records]

    def reading(self, topics: Sequence[str], *, from_beginning: bool) -> AbstractAsyncContextManager[TopicReader]:
        return self._open(topics, from_beginning=from_beginning)

    @asynccontextmanager
    async def _open(self, topics: Sequence[str], *, from_beginning: bool) -> AsyncIterator["MemoryReader"]:
        self._ask()
        places = [(str(topic), partition) for topic in topics for partition in range(self.broker.partitions)]
        ends = {place: len(self.broker.logs.get(place, ())) for place in places}
        beginnings = dict.fromkeys(places, 0)
        yield MemoryReader(self.broker, beginnings, ends, dict(beginnings if from_beginning else ends))

    def _ask(self) -> None:
        if self.broker.away:
            raise BrokerUnavailable("Kafka in memory: no answer")


@dataclass(frozen=True, slots=True)
class MemoryReader:
    """Implements `TopicReader`."""

    broker: MemoryBroker
    beginnings: Mapping[Place, int]
    ends: Mapping[Place, int]
    positions: dict[Place, int]
    """Next offset to read."""

    async def read(self, timeout_seconds: float) -> Sequence[Record]:
        found = self._unread()
        if not found:
            self.broker.arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self.broker.arrived.wait()
            except TimeoutError:
                pass
            found = self._unread()
        return found

    async def offsets_at(self, moment: datetime) -> Mapping[Place, int]:
        return {
            place: next((number for number, at in enumerate(self.broker.times.get(place, ())) if at >= moment), end)
            for place, end in self.ends.items()
        }

    async def has_caught_up(self) -> bool:
        return all(self.positions[place] >= end for place, end in self.ends.items())

    def _unread(self) -> list[Record]:
        found: list[Record] = []
        for place, position in self.positions.items():
            log = self.broker.logs.get(place, [])
            found += log[position:]
            self.positions[place] = len(log)
        return found
