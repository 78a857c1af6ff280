"""The input topics through aiokafka. One coroutine owns the consumer: nobody else polls, pauses or commits.
Implements `RecordSource`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection, close_consumer
from consumer.adapters.kafka.record_batches import poll, read_any_batch
from consumer.adapters.kafka.records import read_record
from consumer.ports import Batch
from schemas.topics import EXPECTED_TYPE, REQUEST_TOPICS

log = structlog.get_logger(__name__)

INPUT_TOPICS = tuple(topic.value for topic in EXPECTED_TYPE)
RECORDS_A_POLL = 1_000
POLL_SECONDS = 0.2
"""Longest wait of one poll, so that commits, pauses and a stop are seen to in time."""
LOOK_SECONDS = 0.2
"""For one question about a partition beside the polls; it is asked again."""
COMMIT_INTERVAL_SECONDS = 1.0
COMMIT_TIMEOUT_SECONDS = 5.0
STOP_TIMEOUT_SECONDS = 1.5
START_TIMEOUT_SECONDS = 20.0
REBUILD_PAUSE_SECONDS = 1.0
MAX_FETCH_BYTES = 10 * 1_048_576
"""A partition: room for the largest record that a topic with raised limits may hold."""


@dataclass(slots=True)
class KafkaSource:
    """Reads requests and cancels in one consumer group."""

    connection: KafkaConnection
    group_id: str
    on_removed: Callable[[int], None] = lambda _: None
    """Told how many records were removed by the topic's retention before anybody of the group read them."""
    batch_bytes: int = 8 * 1_048_576
    """What the records of one batch may come to, but for the last one of them."""
    handed_over: asyncio.Queue[Batch | None] = field(default_factory=lambda: asyncio.Queue(maxsize=1), init=False)
    reached: dict[TopicPartition, int] = field(default_factory=dict, init=False)
    """Next offset to be read, of what was assigned: by the group's commit, then by what was handed over; -1: the group
    never committed one.
    """
    durable: dict[TopicPartition, int] = field(default_factory=dict, init=False)
    """Positions that may be committed and are not yet."""
    assignment: int = field(default=0, init=False)
    """Rises with every revocation: what was polled before it commits nothing after it."""
    is_member: bool = field(default=False, init=False)
    """Whether the group has told us our partitions, be they none."""
    reads_requests: bool = field(default=False, init=False)
    hold: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)
    committing: "asyncio.Task[None] | None" = field(default=None, init=False)
    space: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    owner: "asyncio.Task[None] | None" = field(default=None, init=False)

    async def batches(self) -> AsyncIterator[Batch]:
        if self.owner is None or self.owner.done():
            self.owner = asyncio.create_task(self._own_consumers(), name="kafka source")
        while (batch := await self.handed_over.get()) is not None:
            self.space.set()
            yield batch

    def mark_durable(self, batch: Batch) -> None:
        if batch.assignment != self.assignment:
            return  # revoked meanwhile: whoever has the partitions now reads these records again, and finds duplicates
        for (topic, partition), position in batch.positions.items():
            self.durable[TopicPartition(topic, partition)] = position

    def hold_requests(self, hold: bool) -> None:
        self.hold = hold

    async def stop(self) -> None:
        self.stopping = True
        if self.owner is not None:
            await self.owner

    async def _own_consumers(self) -> None:
        """Keep one consumer going until stopped; one that fails for good is replaced."""
        read_any_batch()
        while not self.stopping:
            consumer = AIOKafkaConsumer(
                **self.connection.client_arguments(),
                group_id=self.group_id,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                # An upstream that aborts its transaction has not asked for anything.
                isolation_level="read_committed",
                max_partition_fetch_bytes=MAX_FETCH_BYTES,
                fetch_max_bytes=max(self.batch_bytes, MAX_FETCH_BYTES),
                max_poll_interval_ms=60_000,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=2_000,
                metadata_max_age_ms=10_000,
                request_timeout_ms=15_000,
            )
            consumer.subscribe(INPUT_TOPICS, listener=_Listener(self, consumer))
            try:
                await asyncio.wait_for(consumer.start(), START_TIMEOUT_SECONDS)
                await self._poll_until_stopped(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("kafka_consumer_replaced", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(REBUILD_PAUSE_SECONDS)
            except Exception:
                log.exception("kafka_consumer_replaced")
                await asyncio.sleep(REBUILD_PAUSE_SECONDS)
            finally:
                self.forget_assignment()
                await close_consumer(consumer, STOP_TIMEOUT_SECONDS)
        with contextlib.suppress(asyncio.QueueFull):
            self.handed_over.put_nowait(None)

    async def _poll_until_stopped(self, consumer: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + COMMIT_INTERVAL_SECONDS
        while not self.stopping:
            self._pause_or_resume(consumer)
            await self._learn_commits(consumer)
            if self.handed_over.full():
                # Polled with everything paused: membership stays, nothing piles up.
                await consumer.getmany(timeout_ms=0)
                self.space.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.space.wait(), POLL_SECONDS)
            else:
                await self._poll_once(consumer)
            if loop.time() >= commit_at:
                await self._hand_over_tails(consumer)
                await self._commit(consumer)
                commit_at = loop.time() + COMMIT_INTERVAL_SECONDS
        await self._commit(consumer)

    async def _poll_once(self, consumer: AIOKafkaConsumer) -> None:
        polled = await poll(
            consumer, timeout_ms=int(POLL_SECONDS * 1000), max_records=RECORDS_A_POLL, max_bytes=self.batch_bytes
        )
        if not polled:
            return
        # Not before: a rebalance may come and go during the poll, and what it then returns is of the new assignment.
        assignment = self.assignment
        positions = {}
        for partition in polled:
            if partition not in consumer.assignment():
                return  # revoked while polling: they will be read again
            positions[partition.topic, partition.partition] = await consumer.position(partition)
        if assignment != self.assignment:
            return
        for partition, found in polled.items():
            await self._tell_removed(consumer, partition, found[0].offset)
        records = tuple(read_record(record) for partition_records in polled.values() for record in partition_records)
        await self._hand_over(Batch(records, positions, assignment))

    async def _hand_over(self, batch: Batch) -> None:
        self.reached.update({TopicPartition(*place): position for place, position in batch.positions.items()})
        await self.handed_over.put(batch)

    async def _learn_commits(self, consumer: AIOKafkaConsumer) -> None:
        """Where the group stood in partitions that were just assigned."""
        for partition in consumer.assignment() - self.reached.keys():
            with contextlib.suppress(TimeoutError, KafkaError):
                committed = await asyncio.wait_for(consumer.committed(partition), LOOK_SECONDS)
                if partition in consumer.assignment():
                    self.reached[partition] = -1 if committed is None else committed

    async def _hand_over_tails(self, consumer: AIOKafkaConsumer) -> None:
        """Positions that went on without a record: behind the last one stand aborted transactions alone. They may be
        committed once everything before them is durable, so they go the way of the batches.
        """
        assignment, positions = self.assignment, {}
        for partition in consumer.assignment() & self.reached.keys():
            with contextlib.suppress(TimeoutError, KafkaError):
                position = await asyncio.wait_for(consumer.position(partition), LOOK_SECONDS)
                if position > self.reached[partition]:
                    positions[partition.topic, partition.partition] = position
        if positions and assignment == self.assignment and not self.handed_over.full():
            await self._hand_over(Batch((), positions, assignment))

    async def _tell_removed(self, consumer: AIOKafkaConsumer, partition: TopicPartition, found: int) -> None:
        """Say so where retention removed what the group had not read; other gaps are of transactions."""
        expected = self.reached.get(partition, -1)
        if expected < 0 or found <= expected:
            return
        begins = (await consumer.beginning_offsets([partition]))[partition]
        removed = min(begins, found) - expected
        if removed > 0:
            log.error(
                "records_removed_unread",
                topic=partition.topic,
                partition=partition.partition,
                first=expected,
                records=removed,
            )
            self.on_removed(removed)

    def _pause_or_resume(self, consumer: AIOKafkaConsumer) -> None:
        """Everything while a batch waits to be taken, requests while they are held; said anew after each assignment."""
        paused = consumer.paused()
        for partition in consumer.assignment():
            wanted = self.handed_over.full() or (self.hold and partition.topic in REQUEST_TOPICS)
            if wanted and partition not in paused:
                consumer.pause(partition)
            elif not wanted and partition in paused:
                consumer.resume(partition)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit once, bounded in time and never retried later: a late retry would run under another generation."""
        offsets = {
            partition: position for partition, position in self.durable.items() if partition in consumer.assignment()
        }
        self.durable.clear()
        if not offsets:
            return
        assignment = self.assignment
        self.committing = asyncio.create_task(_commit_once(consumer, offsets))
        try:
            await asyncio.wait_for(self.committing, COMMIT_TIMEOUT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            log.warning("commit_failed", error=f"{type(error).__name__}: {error}")
            if self.assignment == assignment:
                self.durable = {**offsets, **self.durable}
        except asyncio.CancelledError:
            if not self.committing.cancelled():
                raise  # this coroutine itself was cancelled, not the commit by a revocation
        finally:
            self.committing = None

    def forget_assignment(self) -> None:
        """What was polled so far may not be committed any more."""
        self.assignment += 1
        self.is_member = self.reads_requests = False
        self.durable.clear()
        self.reached.clear()
        if self.committing is not None:
            self.committing.cancel()


async def _commit_once(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
    await consumer.commit(dict(offsets))


@dataclass(frozen=True, slots=True)
class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    source: KafkaSource
    consumer: AIOKafkaConsumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # aiokafka awaits it
        if revoked:
            log.info("partitions_revoked", partitions=len(revoked))
        self.source.forget_assignment()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # aiokafka awaits it
        log.info("partitions_assigned", partitions=len(assigned))
        self.source.is_member = True
        self.source.reads_requests = any(partition.topic in REQUEST_TOPICS for partition in assigned)
