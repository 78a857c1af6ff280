"""Reads topics from outside any group, as a subscriber does: every partition, from a known point on, no commits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection, close_consumer
from consumer.adapters.kafka.header_names import read_any_header_name
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Record

START_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 5.0
MAX_FETCH_BYTES = 10 * 1_048_576


@asynccontextmanager
async def open_reader(
    connection: KafkaConnection, topics: Sequence[str], *, from_beginning: bool
) -> AsyncIterator["TopicReader"]:
    """Read topics from their beginning, or all that is sent after this was entered.

    Raises BrokerUnavailable when no broker answers, StartFailed when a topic does not exist.
    """
    read_any_header_name()
    try:
        consumer = AIOKafkaConsumer(
            *topics,
            **connection.client_arguments(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=MAX_FETCH_BYTES,
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
        yield TopicReader(consumer, ends)
    finally:
        await close_consumer(consumer, STOP_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class TopicReader:
    """An open subscription."""

    consumer: AIOKafkaConsumer
    ends: dict[TopicPartition, int]
    """Where the topics ended when reading began."""

    async def read(self, timeout_seconds: float) -> list[Record]:
        """What has come, waiting for something as long as told; a partition's records in order. May be empty.

        A broker that is away is waited for.
        """
        try:
            polled = await self.consumer.getmany(timeout_ms=int(timeout_seconds * 1000))
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka: {type(error).__name__}: {error}") from error
        return [
            Record(record.topic, record.partition, record.offset, record.key, record.value, tuple(record.headers))
            for records in polled.values()
            for record in records
        ]

    async def offsets_at(self, moment: datetime) -> dict[tuple[str, int], int]:
        """(topic, partition) -> offset of the first record that is not older; the end where all are."""
        milliseconds = int(moment.timestamp() * 1000)
        found = await self.consumer.offsets_for_times(dict.fromkeys(self.ends, milliseconds))
        return {
            (partition.topic, partition.partition): end if found[partition] is None else found[partition].offset
            for partition, end in self.ends.items()
        }

    async def has_caught_up(self) -> bool:
        """Whether all that was there when reading began has been read."""
        for partition, end in self.ends.items():
            if await self.consumer.position(partition) < end:
                return False
        return True


def _assigned(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    assigned = sorted(consumer.assignment())
    missing = set(topics) - {partition.topic for partition in assigned}
    if missing:
        raise StartFailed(f"Kafka has no topic {', '.join(sorted(missing))}: a worker makes the topics when it starts")
    return assigned
