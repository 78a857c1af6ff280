"""What Publisher promises, asked of the real one and of the one in memory."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.topics import present_topics
from consumer.adapters.memory.broker import MemoryBroker, MemoryPublisher
from consumer.clock import SystemClock
from consumer.ports import Delivery, Publisher, SendResult

LIMITS = {"max.message.bytes": "1048588"}
"""A broker's own default."""
Message = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


class Side(Protocol):
    """A publisher, a topic of this test alone, and what arrived there."""

    @property
    def publisher(self) -> Publisher: ...

    @property
    def topic(self) -> str: ...

    async def arrived(self, count: int) -> list[Message]: ...


@dataclass(slots=True)
class MemorySide:
    publisher: MemoryPublisher
    topic: str

    async def arrived(self, count: int) -> list[Message]:
        return [(each.key, each.value, each.headers) for each in self.publisher.broker.records(self.topic)]


@dataclass(slots=True)
class KafkaSide:
    publisher: KafkaPublisher
    topic: str
    servers: str

    async def arrived(self, count: int) -> list[Message]:
        """All records, once there are `count`."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self.topic, 0)])
            records: list[Any] = []
            async with asyncio.timeout(20):
                while len(records) < count:
                    records.append(await consumer.getone())
            return [(each.key, each.value, tuple(each.headers)) for each in records]
        finally:
            await consumer.stop()


@pytest.fixture(params=["memory", "kafka"])
async def side(request: pytest.FixtureRequest, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Side]:
    topic = f"{topic_prefix}events"
    if request.param == "memory":
        yield MemorySide(MemoryPublisher(MemoryBroker()), topic)
        return
    await make_topic(kafka_bootstrap_servers, topic, LIMITS)
    publisher = KafkaPublisher(KafkaConnection(kafka_bootstrap_servers), f"{topic_prefix}publisher", SystemClock())
    yield KafkaSide(publisher, topic, kafka_bootstrap_servers)
    await publisher.close()


async def make_topic(servers: str, topic: str, configs: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, topic_configs=configs)])
    await admin.close()


async def test_each_delivery_is_answered_in_order_and_arrives_as_it_was(side: Side) -> None:
    messages: list[Message] = [
        (b"1", b"one", (("content-type", b"application/json"),)),
        (None, b"\x00\xff", (("a", b""), ("a", None), ("\u00fc", b"\x00"))),
        (b"2", None, ()),
    ]

    results = await side.publisher.send([Delivery(side.topic, *message) for message in messages])

    assert list(results) == [SendResult.ACKNOWLEDGED] * 3
    assert sorted(await side.arrived(3), key=repr) == sorted(messages, key=repr)


async def test_a_record_with_neither_key_nor_value_can_be_sent_too(side: Side) -> None:
    """A dead letter is what came, and that may be a keyless tombstone."""
    nothing: Message = (None, None, (("dlq-reason", b"undecodable"),))

    results = await side.publisher.send([Delivery(side.topic, *nothing), Delivery(side.topic, b"k", b"v")])

    assert list(results) == [SendResult.ACKNOWLEDGED] * 2
    assert sorted(await side.arrived(2), key=repr) == sorted([nothing, (b"k", b"v", ())], key=repr)


async def test_what_the_topic_will_never_take_is_told_apart_and_the_others_go(side: Side) -> None:
    results = await side.publisher.send(
        [Delivery(side.topic, b"big", b"x" * 1_500_000), Delivery(side.topic, b"k", b"v")]
    )

    assert list(results) == [SendResult.TOO_LARGE, SendResult.ACKNOWLEDGED]
    assert list(await side.publisher.send([Delivery(side.topic, b"k", b"w")] * 2)) == [SendResult.ACKNOWLEDGED] * 2
    assert await side.arrived(3) == [(b"k", b"v", ()), (b"k", b"w", ()), (b"k", b"w", ())]


async def test_what_is_refused_only_together_goes_alone(side: Side) -> None:
    """A broker refuses whole batches: small records were refused with a large one of the same partition, or for what
    they came to together.
    """
    small = [Delivery(side.topic, b"k", b"%d" % number) for number in range(20)]
    huge = Delivery(side.topic, b"k", b"x" * 1_500_000)

    for _ in range(2):
        results = await side.publisher.send([*small[:10], huge, *small[10:]])
        assert list(results) == [SendResult.ACKNOWLEDGED] * 10 + [SendResult.TOO_LARGE] + [SendResult.ACKNOWLEDGED] * 10

    assert len(await side.arrived(40)) == 40


@pytest.mark.integration
async def test_a_topic_that_takes_small_records_alone_takes_each(
    kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}narrow"
    await make_topic(kafka_bootstrap_servers, topic, {"max.message.bytes": "400"})
    publisher = KafkaPublisher(KafkaConnection(kafka_bootstrap_servers), f"{topic_prefix}publisher", SystemClock())

    results = await publisher.send([Delivery(topic, b"k", b"v" * 200)] * 10 + [Delivery(topic, b"k", b"v" * 500)])

    assert list(results) == [SendResult.ACKNOWLEDGED] * 10 + [SendResult.TOO_LARGE]
    await publisher.close()


@pytest.mark.integration
async def test_a_record_that_the_broker_finds_wrong_is_refused_and_another_topic_is_none_the_worse(
    kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    """A compacted topic takes no record without a key."""
    compacted, other = f"{topic_prefix}compacted", f"{topic_prefix}other"
    await make_topic(kafka_bootstrap_servers, compacted, {"cleanup.policy": "compact"})
    await make_topic(kafka_bootstrap_servers, other, {})
    publisher = KafkaPublisher(KafkaConnection(kafka_bootstrap_servers), f"{topic_prefix}publisher", SystemClock())

    for _ in range(3):
        results = await publisher.send(
            [Delivery(compacted, None, b"v"), Delivery(compacted, b"k", b"v"), Delivery(other, b"k", b"v")]
        )
        assert list(results) == [SendResult.REFUSED, SendResult.ACKNOWLEDGED, SendResult.ACKNOWLEDGED]

    assert await publisher.is_reachable()
    await publisher.close()


@pytest.mark.integration
async def test_a_topic_that_is_not_there_is_told_at_once_and_is_not_made(
    kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}gone"
    publisher = KafkaPublisher(KafkaConnection(kafka_bootstrap_servers), f"{topic_prefix}publisher", SystemClock())

    async with asyncio.timeout(5):
        for _ in range(3):
            assert list(await publisher.send([Delivery(topic, b"k", b"v")])) == [SendResult.NO_TOPIC]

    assert topic not in await present_topics(KafkaConnection(kafka_bootstrap_servers))
    await make_topic(kafka_bootstrap_servers, topic, {})
    assert list(await publisher.send([Delivery(topic, b"k", b"v")])) == [SendResult.ACKNOWLEDGED]
    await publisher.close()


async def test_nothing_to_send_is_answered_with_nothing(side: Side) -> None:
    assert list(await side.publisher.send([])) == []


async def test_a_broker_that_is_away_is_no_error_but_unknown(free_port: int) -> None:
    publisher = KafkaPublisher(KafkaConnection(f"127.0.0.1:{free_port}"), "test", SystemClock())

    results = await publisher.send([Delivery("any", b"k", b"v")] * 2)

    assert list(results) == [SendResult.UNKNOWN] * 2
    assert not await publisher.is_reachable()
    await publisher.close()


async def test_a_broker_in_memory_that_comes_back_takes_what_it_missed() -> None:
    broker = MemoryBroker(away=True)
    publisher = MemoryPublisher(broker)
    assert list(await publisher.send([Delivery("events", b"k", b"v")])) == [SendResult.UNKNOWN]

    broker.away = False

    assert list(await publisher.send([Delivery("events", b"k", b"v")])) == [SendResult.ACKNOWLEDGED]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
