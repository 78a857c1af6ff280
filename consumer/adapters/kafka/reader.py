"""Reads topics from outside any group, as a subscriber does: every partition, from a known point on, no commits.

What an upstream wrote in a transaction that it aborted is not there.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection, close_consumer
from consumer.adapters.kafka.record_batches import poll, read_any_batch
from consumer.adapters.kafka.records import read_record
from consumer.adapters.kafka.topics import present_topics
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Record
from consumer.ports.requests import Place

START_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 5.0
MAX_FETCH_BYTES = 10 * 1_048_576
RECORDS_A_POLL = 10_000


@asynccontextmanager
async def open_reader(
    connection: KafkaConnection, topics: Sequence[str], *, from_beginning: bool
) -> AsyncIterator["KafkaReader"]:
    """As `Topics.reading` promises."""
    # A consumer that is started on a topic that is not there asks for it until its time is over.
    _check_presence(topics, await present_topics(connection))
    read_any_batch()
    try:
        consumer = AIOKafkaConsumer(
            *topics,
            **connection.client_arguments(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=MAX_FETCH_BYTES,
            fetch_max_bytes=MAX_FETCH_BYTES,
            metadata_max_age_ms=30_000,
        )
    except (OSError, ValueError) as error:  # TLS files, a mechanism
        raise StartFailed(f"Kafka: {error}") from error
    try:
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await consumer.start()
                assigned = _assigned(consumer, topics)
                ends = await consumer.end_offsets(assigned)
                beginnings = await consumer.beginning_offsets(assigned)
        except (KafkaError, OSError, TimeoutError) as error:
            what = str(error) or "no answer"
            raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers}: {what}") from error
        for partition in assigned:
            consumer.seek(partition, beginnings[partition] if from_beginning else ends[partition])
        yield KafkaReader(consumer, _by_place(beginnings), _by_place(ends))
    finally:
        await close_consumer(consumer, STOP_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class KafkaReader:
    """Implements `TopicReader`."""

    consumer: AIOKafkaConsumer
    beginnings: Mapping[Place, int]
    ends: Mapping[Place, int]

    async def read(self, timeout_seconds: float) -> Sequence[Record]:
        try:
            polled = await poll(
                self.consumer,
                timeout_ms=int(timeout_seconds * 1000),
                max_records=RECORDS_A_POLL,
                max_bytes=MAX_FETCH_BYTES,
            )
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka: {type(error).__name__}: {error}") from error
        return [read_record(record) for records in polled.values() for record in records]

    async def offsets_at(self, moment: datetime) -> Mapping[Place, int]:
        milliseconds = int(moment.timestamp() * 1000)
        partitions = [TopicPartition(*place) for place in self.ends]
        try:
            found = await self.consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka: {type(error).__name__}: {error}") from error
        return {
            place: end if (at := found[TopicPartition(*place)]) is None else at.offset
            for place, end in self.ends.items()
        }

    async def has_caught_up(self) -> bool:
        for place, end in self.ends.items():
            if await self.consumer.position(TopicPartition(*place)) < end:
                return False
        return True


def _by_place(offsets: Mapping[TopicPartition, int]) -> dict[Place, int]:
    return {(partition.topic, partition.partition): offset for partition, offset in offsets.items()}


def _assigned(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    assigned = sorted(consumer.assignment())
    _check_presence(topics, {partition.topic for partition in assigned})
    return assigned


def _check_presence(topics: Sequence[str], present: set[str]) -> None:
    missing = {str(topic) for topic in topics} - present
    if missing:
        raise StartFailed(f"Kafka has no topic {', '.join(sorted(missing))}: a worker makes the topics when it starts")
