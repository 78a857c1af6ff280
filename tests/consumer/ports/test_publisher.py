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
from consumer.adapters.memory.broker import MemoryBroker, MemoryPublisher
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
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, topic_configs=LIMITS)])
    await admin.close()
    publisher = KafkaPublisher(KafkaConnection(kafka_bootstrap_servers), f"{topic_prefix}publisher")
    yield KafkaSide(publisher, topic, kafka_bootstrap_servers)
    await publisher.close()


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


async def test_nothing_to_send_is_answered_with_nothing(side: Side) -> None:
    assert list(await side.publisher.send([])) == []


async def test_a_broker_that_is_away_is_no_error_but_unknown(free_port: int) -> None:
    publisher = KafkaPublisher(KafkaConnection(f"127.0.0.1:{free_port}"), "test")

    results = await publisher.send([Delivery("any", b"k", b"v")] * 2)

    assert list(results) == [SendResult.UNKNOWN] * 2
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
