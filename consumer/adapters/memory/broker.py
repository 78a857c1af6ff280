"""A broker in memory with a source and a publisher on it: topics are logs, groups have offsets and rebalances.

Implements `RecordSource` and `Publisher`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from zlib import crc32

from consumer.clock import SystemClock
from consumer.ports import Batch, Clock, Delivery, Record, SendResult
from schemas.topics import EXPECTED_TYPE, REQUEST_TOPICS, Topic

Partition = tuple[str, int]


class Trouble(Enum):
    """What happens to one delivery."""

    NONE = "none"
    LOST = "lost"
    """It never arrives, and nobody answers."""
    UNANSWERED = "unanswered"
    """It arrives, but the acknowledgement is lost."""
    REFUSED = "refused"
    """The broker answers that it does not take it."""


@dataclass(slots=True)
class MemoryBroker:
    """Logs by topic and partition, committed offsets by group, and the members that read them."""

    partitions: int = 1
    max_message_bytes: int = 1_048_576
    """Of every topic but the dead letters', which take eight times as much."""
    limits: dict[str, int] = field(default_factory=dict)
    """The same for single topics, where it is another one."""
    absent: set[str] = field(default_factory=set)
    """Topics that somebody deleted."""
    away: bool = False
    trouble: list[Trouble] = field(default_factory=list)
    """What comes over the next deliveries, first to last; none: nothing."""
    logs: dict[Partition, list[Record]] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    times: dict[Partition, list[datetime]] = field(default_factory=dict)
    """When the records of each log were written."""
    committed: dict[tuple[str, Partition], int] = field(default_factory=dict)
    members: dict[str, list["MemorySource"]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, delivery: Delivery) -> Record:
        """Write one record, to the partition of its key."""
        partition = crc32(delivery.key or b"") % self.partitions
        log = self.logs.setdefault((delivery.topic, partition), [])
        now = self.clock.now_utc()
        timestamp_ms = int(now.timestamp() * 1000)
        record = Record(
            delivery.topic, partition, len(log), delivery.key, delivery.value, delivery.headers, timestamp_ms
        )
        log.append(record)
        self.times.setdefault((delivery.topic, partition), []).append(now)
        self.arrived.set()
        return record

    def records(self, topic: str) -> list[Record]:
        """All records of a topic; those of one key in the order of their arrival."""
        return [record for (name, _), log in sorted(self.logs.items()) if name == topic for record in log]

    def fits(self, delivery: Delivery) -> bool:
        headers = sum(len(name.encode("utf-8", "replace")) + len(value or b"") for name, value in delivery.headers)
        size = len(delivery.key or b"") + len(delivery.value or b"") + headers
        usual = self.max_message_bytes * (8 if delivery.topic == Topic.DEAD_LETTER else 1)
        return size <= self.limits.get(delivery.topic, usual)

    def rebalance(self, group: str) -> None:
        """Share the partitions anew: everybody forgets what was polled and starts at what is committed."""
        members = self.members.get(group, [])
        inputs = [(str(topic), number) for topic in EXPECTED_TYPE for number in range(self.partitions)]
        for index, member in enumerate(members):
            member.assign(inputs[index :: len(members)])
        self.arrived.set()


@dataclass(slots=True)
class MemoryPublisher:
    """Implements `Publisher`."""

    broker: MemoryBroker

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[SendResult]:
        await asyncio.sleep(0)
        results = [self._send(delivery) for delivery in deliveries]
        await asyncio.sleep(0)
        return results

    async def is_reachable(self) -> bool:
        await asyncio.sleep(0)
        return not self.broker.away

    def _send(self, delivery: Delivery) -> SendResult:
        if self.broker.away:
            return SendResult.UNKNOWN
        if delivery.topic in self.broker.absent:
            return SendResult.NO_TOPIC
        if not self.broker.fits(delivery):
            return SendResult.TOO_LARGE
        trouble = self.broker.trouble.pop(0) if self.broker.trouble else Trouble.NONE
        if trouble is Trouble.REFUSED:
            return SendResult.REFUSED
        if trouble is not Trouble.LOST:
            self.broker.append(delivery)
        return SendResult.ACKNOWLEDGED if trouble is Trouble.NONE else SendResult.UNKNOWN


@dataclass(slots=True, eq=False)
class MemorySource:
    """Implements `RecordSource`: one member of a group."""

    broker: MemoryBroker
    group: str = "group"
    records_a_poll: int = 100
    positions: dict[Partition, int] = field(default_factory=dict, init=False)
    """Next offset to poll, of the partitions that are assigned."""
    assignment: int = field(default=0, init=False)
    hold: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.broker.members.setdefault(self.group, []).append(self)
        self.broker.rebalance(self.group)

    async def batches(self) -> AsyncIterator[Batch]:
        while not self.stopping:
            batch = self.poll()
            if batch is not None:
                yield batch
            else:
                self.broker.arrived.clear()
                await self.broker.arrived.wait()

    def poll(self) -> Batch | None:
        """What is unread, at most `records_a_poll` of each partition; None: nothing."""
        polled: list[Record] = []
        moved: dict[Partition, int] = {}
        for partition, position in self.positions.items():
            if self.hold and partition[0] in REQUEST_TOPICS:
                continue
            found = self.broker.logs.get(partition, [])[position : position + self.records_a_poll]
            if found:
                polled += found
                moved[partition] = position + len(found)
        self.positions.update(moved)
        return Batch(tuple(polled), moved, self.assignment) if polled else None

    def mark_durable(self, batch: Batch) -> None:
        if batch.assignment == self.assignment:
            self._commit(batch.positions)

    @property
    def reads_requests(self) -> bool:
        return any(topic in REQUEST_TOPICS for topic, _ in self.positions)

    def hold_requests(self, hold: bool) -> None:
        self.hold = hold
        self.broker.arrived.set()

    async def stop(self) -> None:
        await asyncio.sleep(0)
        self.stopping = True
        self.positions.clear()
        self.assignment += 1
        members = self.broker.members[self.group]
        if self in members:
            members.remove(self)
            self.broker.rebalance(self.group)
        self.broker.arrived.set()

    def assign(self, partitions: Sequence[Partition]) -> None:
        """Take these partitions, from their committed offsets on."""
        self.assignment += 1
        self.positions = {each: self.broker.committed.get((self.group, each), 0) for each in partitions}

    def _commit(self, positions: Mapping[Partition, int]) -> None:
        for partition, position in positions.items():
            self.broker.committed[self.group, partition] = position
