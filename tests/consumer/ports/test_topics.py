"""What Topics promises, asked of Kafka and of the ones in memory."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from consumer.adapters.kafka.client import KafkaTopics
from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topics import TopicSettings
from consumer.adapters.memory.broker import MemoryBroker
from consumer.adapters.memory.topics import MemoryTopics
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Delivery, Record
from consumer.ports.requests import TopicReader, Topics
from schemas.topics import Topic

TOPIC = Topic.CANCEL_REQUESTED


@dataclass(frozen=True, slots=True)
class Side:
    """Topics, and the key prefix of this test alone: what other tests left in the same topic does not count."""

    topics: Topics
    prefix: str

    def delivery(self, number: int) -> Delivery:
        return Delivery(
            TOPIC, f"{self.prefix}{number}".encode(), str(number).encode(), (("name", b"value"), ("n", None))
        )

    async def own(self, reader: TopicReader, count: int) -> list[Record]:
        """This test's records, once there are so many."""
        found: list[Record] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                found += [each for each in await reader.read(0.2) if (each.key or b"").startswith(self.prefix.encode())]
        return found


@pytest.fixture(params=["memory", "kafka"])
async def side(request: pytest.FixtureRequest, kafka_bootstrap_servers: str, topic_prefix: str) -> Side:
    if request.param == "memory":
        return Side(MemoryTopics(MemoryBroker(partitions=2)), topic_prefix)
    topics = KafkaTopics(KafkaConnection(kafka_bootstrap_servers), TopicSettings(partitions=2))
    await topics.prepare()
    return Side(topics, topic_prefix)


async def test_topics_can_be_prepared_again_and_again(side: Side) -> None:
    await side.topics.prepare()
    await side.topics.prepare()


async def test_what_was_sent_is_read_as_it_was_and_where_the_sender_was_told(side: Side) -> None:
    deliveries = [side.delivery(number) for number in range(5)]
    async with side.topics.reading([TOPIC], from_beginning=False) as reader:
        places = await side.topics.send(deliveries)
        read = await side.own(reader, 5)
    by_key = {record.key: record for record in read}
    for delivery, (partition, offset) in zip(deliveries, places, strict=True):
        record = by_key[delivery.key]
        assert (record.topic, record.partition, record.offset) == (TOPIC, partition, offset)
        assert (record.value, record.headers) == (delivery.value, delivery.headers)


async def test_a_reader_from_now_on_sees_nothing_older_and_one_from_the_beginning_everything(side: Side) -> None:
    await side.topics.send([side.delivery(1)])
    async with (
        side.topics.reading([TOPIC], from_beginning=False) as late,
        side.topics.reading([TOPIC], from_beginning=True) as early,
    ):
        assert await late.has_caught_up()
        await side.topics.send([side.delivery(2)])
        assert [record.value for record in await side.own(late, 1)] == [b"2"]
        assert sorted(record.value or b"" for record in await side.own(early, 2)) == [b"1", b"2"]


async def test_records_of_one_key_come_in_the_order_they_were_sent(side: Side) -> None:
    key = side.delivery(0).key
    async with side.topics.reading([TOPIC], from_beginning=False) as reader:
        await side.topics.send([Delivery(TOPIC, key, str(number).encode()) for number in range(20)])
        read = await side.own(reader, 20)
    assert [record.value for record in read] == [str(number).encode() for number in range(20)]


async def test_a_reader_has_caught_up_once_it_read_what_was_there_when_it_began(side: Side) -> None:
    await side.topics.send([side.delivery(number) for number in range(3)])
    async with side.topics.reading([TOPIC], from_beginning=True) as reader:
        assert not await reader.has_caught_up()
        read: list[Record] = []
        async with asyncio.timeout(20):
            while not await reader.has_caught_up():
                read += await reader.read(0.2)
    begin, end = reader.beginnings, reader.ends
    assert set(begin) == set(end) >= {(TOPIC, 0), (TOPIC, 1)}  # another test may have made more partitions
    assert len(read) == sum(end[place] - begin[place] for place in end)


async def test_offsets_at_a_moment_are_those_of_the_first_record_that_is_not_older(side: Side) -> None:
    await side.topics.send([side.delivery(1)])
    async with side.topics.reading([TOPIC], from_beginning=False) as reader:
        long_ago = await reader.offsets_at(datetime.now(UTC) - timedelta(days=1000))
        later = await reader.offsets_at(datetime.now(UTC) + timedelta(days=1000))
    assert long_ago == reader.beginnings
    assert later == reader.ends


async def test_brokers_that_are_away_are_said_to_be() -> None:
    kafka = KafkaTopics(KafkaConnection("127.0.0.1:1"), TopicSettings())
    memory = MemoryTopics(MemoryBroker(away=True))
    for topics in (kafka, memory):
        with pytest.raises(BrokerUnavailable):
            await topics.prepare()
        with pytest.raises(BrokerUnavailable):
            await topics.send([Delivery(TOPIC, b"key", b"value")])
        with pytest.raises(BrokerUnavailable):
            async with topics.reading([TOPIC], from_beginning=True):
                pass


async def test_a_topic_that_is_not_there_ends_a_command_with_what_makes_it(kafka_bootstrap_servers: str) -> None:
    topics = KafkaTopics(KafkaConnection(kafka_bootstrap_servers), None)
    await topics.prepare()
    with pytest.raises(StartFailed, match="a worker makes the topics"):
        async with topics.reading(["no-such-topic"], from_beginning=True):
            pass


async def test_what_its_sender_aborted_is_not_read(kafka_bootstrap_servers: str, topic_prefix: str) -> None:
    connection = KafkaConnection(kafka_bootstrap_servers)
    topics = KafkaTopics(connection, TopicSettings(partitions=2))
    await topics.prepare()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, transactional_id=topic_prefix)
    async with producer:
        await producer.begin_transaction()
        await producer.send_and_wait(TOPIC, key=f"{topic_prefix}1".encode(), value=b"aborted")
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(TOPIC, key=f"{topic_prefix}1".encode(), value=b"committed")
        await producer.commit_transaction()
    async with topics.reading([TOPIC], from_beginning=True) as reader:
        found: list[Record] = []
        async with asyncio.timeout(20):
            while not await reader.has_caught_up():
                found += await reader.read(0.2)
    assert [record.value for record in found if (record.key or b"").startswith(topic_prefix.encode())] == [b"committed"]
