"""What RecordSource promises, asked of the real one and of the one in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.adapters.memory.broker import MemoryBroker, MemorySource
from consumer.ports import Batch, Delivery, Record, RecordSource
from schemas.topics import Topic
from tests.support.waiting import eventually

TIMEOUT_SECONDS = 30.0
Headers = tuple[tuple[str, bytes | None], ...]


class Side(Protocol):
    """A group of this test alone."""

    name: str

    def member(self) -> RecordSource: ...

    async def produce(self, topic: Topic, key: bytes, value: bytes | None, headers: Headers = ()) -> None: ...


@dataclass(slots=True)
class MemorySide:
    name: str
    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker(partitions=2))

    def member(self) -> RecordSource:
        return MemorySource(self.broker)

    async def produce(self, topic: Topic, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        self.broker.append(Delivery(topic, key, value, headers))


@dataclass(slots=True)
class KafkaSide:
    name: str
    servers: str
    producer: AIOKafkaProducer

    def member(self) -> RecordSource:
        return KafkaSource(KafkaConnection(self.servers), self.name)

    async def produce(self, topic: Topic, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        await self.producer.send_and_wait(topic.value, key=key, value=value, headers=list(headers))


@pytest.fixture(params=["memory", "kafka"])
async def side(request: pytest.FixtureRequest, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Side]:
    if request.param == "memory":
        yield MemorySide(topic_prefix)
        return
    await create_topics(KafkaConnection(kafka_bootstrap_servers), TopicSettings(2))
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, enable_idempotence=True)
    await producer.start()
    yield KafkaSide(topic_prefix, kafka_bootstrap_servers, producer)
    await producer.stop()


@dataclass(slots=True)
class Reader:
    """One member and what of this test's records it got; others use the same topics."""

    source: RecordSource
    side: Side
    durable: Callable[[Batch], bool] = lambda _: True
    got: list[Record] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        async for batch in self.source.batches():
            self.got += [record for record in batch.records if (record.key or b"").startswith(self.side.name.encode())]
            if self.durable(batch):
                self.source.mark_durable(batch)
            self.more.set()

    async def until(self, condition: Callable[[list[Record]], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition(self.got):
                self.more.clear()
                await self.more.wait()

    def values(self, topic: Topic) -> list[bytes | None]:
        return [record.value for record in self.got if record.topic == topic.value]


async def with_reader(
    side: Side, body: Callable[[Reader], Awaitable[None]], durable: Callable[[Batch], bool] = lambda _: True
) -> Reader:
    """Run `body` beside a member that reads, then stop the member."""
    reader = Reader(side.member(), side, durable)
    reading = asyncio.create_task(reader.read())
    try:
        await body(reader)
    finally:
        await reader.source.stop()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await reading
    return reader


async def test_records_of_both_topics_arrive_as_they_are_and_in_the_order_of_their_partition(side: Side) -> None:
    key = f"{side.name}key".encode()
    for number in range(20):
        await side.produce(Topic.REQUESTED, key, str(number).encode(), (("h", b"\xff"), ("n", None)))
    await side.produce(Topic.CANCEL_REQUESTED, key, None)

    async def body(reader: Reader) -> None:
        await reader.until(lambda got: len(got) >= 21)

    reader = await with_reader(side, body)

    assert reader.values(Topic.REQUESTED) == [str(number).encode() for number in range(20)]
    assert reader.values(Topic.CANCEL_REQUESTED) == [None]
    requests = [record for record in reader.got if record.topic == Topic.REQUESTED.value]
    assert {record.headers for record in requests} == {(("h", b"\xff"), ("n", None))}
    offsets = [record.offset for record in requests]
    assert offsets == sorted(offsets)
    timestamps = [record.timestamp_ms for record in requests]
    assert timestamps == sorted(timestamps)
    assert timestamps[0] > 1_600_000_000_000


async def test_what_was_durable_is_not_delivered_to_the_next_member_and_what_was_not_is(side: Side) -> None:
    key = f"{side.name}key".encode()
    await side.produce(Topic.REQUESTED, key, b"durable")

    async def first(reader: Reader) -> None:
        await reader.until(lambda got: len(got) >= 1)
        reader.durable = lambda _: False
        await side.produce(Topic.REQUESTED, key, b"polled only")
        await reader.until(lambda got: len(got) >= 2)

    async def second(reader: Reader) -> None:
        await reader.until(lambda got: len(got) >= 1)

    await with_reader(side, first)
    reader = await with_reader(side, second)

    assert reader.values(Topic.REQUESTED) == [b"polled only"]


async def test_requests_are_held_while_cancels_keep_coming_and_go_on_afterwards(side: Side) -> None:
    key = f"{side.name}key".encode()

    async def body(reader: Reader) -> None:
        await side.produce(Topic.REQUESTED, key, b"before")
        await reader.until(lambda got: len(got) >= 1)
        reader.source.hold_requests(True)
        # What is on its way may still come; after a cancel made it through, nothing is.
        await side.produce(Topic.CANCEL_REQUESTED, key, b"first cancel")
        await reader.until(lambda got: len(got) >= 2)
        await side.produce(Topic.REQUESTED, key, b"held")
        for number in range(3):
            await side.produce(Topic.CANCEL_REQUESTED, key, f"cancel {number}".encode())
            count = number + 2
            await reader.until(lambda _, count=count: len(reader.values(Topic.CANCEL_REQUESTED)) >= count)  # type: ignore[misc]  # a default binds it
        assert reader.values(Topic.REQUESTED) == [b"before"]

        reader.source.hold_requests(False)
        await reader.until(lambda _: b"held" in reader.values(Topic.REQUESTED))

    await with_reader(side, body)


async def test_two_members_share_the_partitions_and_together_get_every_record(side: Side) -> None:
    keys = [f"{side.name}{number}".encode() for number in range(30)]

    async def first(one: Reader) -> None:
        async def second(other: Reader) -> None:
            for key in keys:
                await side.produce(Topic.REQUESTED, key, key)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while {record.key for record in (*one.got, *other.got)} != set(keys):
                    waiting = [asyncio.create_task(reader.more.wait()) for reader in (one, other)]
                    await asyncio.wait(waiting, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                    for task in waiting:
                        task.cancel()
                    one.more.clear()
                    other.more.clear()

        await with_reader(side, second)

    await with_reader(side, first)


async def test_a_member_knows_whether_it_reads_requests(side: Side) -> None:
    async def body(reader: Reader) -> None:
        await side.produce(Topic.REQUESTED, f"{side.name}key".encode(), b"any")
        await reader.until(lambda got: len(got) >= 1)
        assert reader.source.reads_requests

    reader = await with_reader(side, body)

    assert not reader.source.reads_requests, "it left the group"


async def test_the_tail_of_aborted_transactions_is_committed(kafka_bootstrap_servers: str, topic_prefix: str) -> None:
    connection = KafkaConnection(kafka_bootstrap_servers)
    await create_topics(connection, TopicSettings(2))
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, transactional_id=topic_prefix)
    await producer.start()
    try:
        await producer.begin_transaction()
        at = await producer.send_and_wait(Topic.REQUESTED.value, key=b"aborted", value=b"aborted")
        await producer.abort_transaction()
    finally:
        await producer.stop()
    place = TopicPartition(Topic.REQUESTED.value, at.partition)
    looker = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap_servers, group_id=topic_prefix)
    await looker.start()
    try:
        [end] = (await looker.end_offsets([place])).values()

        async def is_committed() -> bool:
            return bool(await looker.committed(place) == end)

        async def body(_: Reader) -> None:
            await eventually(is_committed, "the end of the partition to be committed", seconds=TIMEOUT_SECONDS)

        await with_reader(KafkaSide(topic_prefix, kafka_bootstrap_servers, producer), body)
    finally:
        await looker.stop()


async def test_records_that_retention_removed_before_they_were_read_are_counted(
    kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    connection = KafkaConnection(kafka_bootstrap_servers)
    await create_topics(connection, TopicSettings(2))
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, enable_idempotence=True)
    await producer.start()
    side = KafkaSide(topic_prefix, kafka_bootstrap_servers, producer)
    key = f"{topic_prefix}key".encode()
    removed: list[int] = []
    try:
        at = await producer.send_and_wait(Topic.REQUESTED.value, key=key, value=b"read")

        async def first(reader: Reader) -> None:
            await reader.until(lambda got: len(got) >= 1)

        await with_reader(side, first)
        for value in (b"gone", b"gone too", b"there"):
            await side.produce(Topic.REQUESTED, key, value)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
        await admin.start()
        place = TopicPartition(Topic.REQUESTED.value, at.partition)
        await admin.delete_records({place: RecordsToDelete(before_offset=at.offset + 3)})
        await admin.close()
        reader = Reader(KafkaSource(connection, topic_prefix, removed.append), side)
        reading = asyncio.create_task(reader.read())
        await reader.until(lambda got: len(got) >= 1)
        await reader.source.stop()
        await reading
    finally:
        await producer.stop()

    assert reader.values(Topic.REQUESTED) == [b"there"]
    assert removed == [2]


async def test_stopping_ends_the_batches_also_when_nothing_was_ever_read(side: Side) -> None:
    async def body(_: Reader) -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(TIMEOUT_SECONDS):
        await with_reader(side, body)
