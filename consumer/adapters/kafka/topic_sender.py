"""Sends records to one topic, and tells apart what the topic refuses from what nobody answered."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.ports import Delivery, SendResult
from schemas.topics import DEAD_LETTER_MAX_MESSAGE_BYTES

log = structlog.get_logger(__name__)

SEND_TIMEOUT_SECONDS = 10.0
START_TIMEOUT_SECONDS = 10.0
METADATA_TIMEOUT_SECONDS = 3.0
STOP_TIMEOUT_SECONDS = 1.0
CAREFUL_SECONDS = 60.0
"""After a refusal each record goes in a batch of its own for so long."""
NAMED_EVERY_SECONDS = 60.0

_ABOUT_THE_PRODUCER = (
    OutOfOrderSequenceNumber,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
)
"""Answers that say nothing of the record, but that one before it was refused: a new producer may send it."""
_REFUSALS = frozenset({SendResult.TOO_LARGE, SendResult.REFUSED})


@dataclass(slots=True)
class TopicSender:
    """Owns one producer at a time; after a time-out, a fatal error or a refusal the next call builds a new one.

    A broker refuses whole batches, and an idempotent producer cannot go on behind a refused one. So what was refused
    together is sent again one by one, by a producer without sequence numbers, and so is all that follows for a while.
    """

    connection: KafkaConnection
    client_id: str
    topic: str
    producer: "AIOKafkaProducer | None" = field(default=None, init=False)
    careful_until: float = field(default=0.0, init=False)
    is_careful: bool = field(default=False, init=False)
    """What the present producer is."""
    named: dict[str, float] = field(default_factory=dict, init=False)
    """When each kind of trouble was last logged."""

    async def send(self, deliveries: Sequence[Delivery], now: datetime) -> list[SendResult]:
        """As `Publisher.send`, of one topic. now: the records' timestamp."""
        try:
            producer = await self._started()
            absence = await self._absence(producer)
        except (KafkaError, OSError, TimeoutError) as error:
            self._name("kafka_producer_not_started", error)
            await self.close()
            return [SendResult.UNKNOWN] * len(deliveries)
        if absence is not None:
            return [absence] * len(deliveries)
        timestamp_ms = int(now.timestamp() * 1000)
        answers = await asyncio.gather(*(self._send_one(producer, each, timestamp_ms) for each in deliveries))
        results = [result for result, _ in answers]
        if any(result in _REFUSALS and is_brokers for result, is_brokers in answers):
            self.careful_until = time.monotonic() + CAREFUL_SECONDS
            if not self.is_careful:
                await self.close()
                await self._send_again(
                    deliveries, [place for place, (_, again) in enumerate(answers) if again], results, now
                )
        if SendResult.UNKNOWN in results:
            await self.close()
        return results

    async def _send_again(
        self, deliveries: Sequence[Delivery], places: Sequence[int], results: list[SendResult], now: datetime
    ) -> None:
        """What was refused, or followed something that was, each in a batch of its own."""
        if len(deliveries) > 1:
            alone = await self.send([deliveries[place] for place in places], now)
            for place, result in zip(places, alone, strict=True):
                results[place] = result

    async def is_reachable(self) -> bool:
        """Raises KafkaError, OSError or TimeoutError where it is not."""
        client = (await self._started()).client
        if not await client.force_metadata_update():
            return False
        leaders = {client.cluster.leader_for_partition(each) for each in self._partitions(client)} - {None, -1}
        return all(await asyncio.gather(*(client.ready(leader) for leader in leaders)))

    async def close(self) -> None:
        producer, self.producer = self.producer, None
        if producer is not None:
            await _stop(producer)

    async def _started(self) -> AIOKafkaProducer:
        should_be_careful = time.monotonic() < self.careful_until
        if self.producer is not None and self.is_careful and not should_be_careful:
            await self.close()
        if self.producer is None:
            producer = AIOKafkaProducer(
                **self.connection.client_arguments(),
                client_id=self.client_id,
                enable_idempotence=not should_be_careful,
                acks="all",
                linger_ms=0,
                max_request_size=DEAD_LETTER_MAX_MESSAGE_BYTES,
                request_timeout_ms=int(SEND_TIMEOUT_SECONDS * 1000),
                metadata_max_age_ms=30_000,
            )
            try:
                await asyncio.wait_for(producer.start(), START_TIMEOUT_SECONDS)
            except BaseException:
                await _stop(producer)
                raise
            self.producer, self.is_careful = producer, should_be_careful
        return self.producer

    async def _absence(self, producer: AIOKafkaProducer) -> SendResult | None:
        """What to answer for a topic that is not there, which its producer would ask for until its time is over; None:
        it is there.
        """
        client = producer.client
        if client.cluster.partitions_for_topic(self.topic) is not None:
            return None
        async with asyncio.timeout(METADATA_TIMEOUT_SECONDS):
            await client.add_topic(self.topic)
            if not await client.force_metadata_update():
                return SendResult.UNKNOWN
        if client.cluster.partitions_for_topic(self.topic) is not None:
            return None
        is_forbidden = self.topic in client.cluster.unauthorized_topics
        self._name("send_refused", UnknownTopicOrPartitionError("forbidden" if is_forbidden else "no such topic"))
        return SendResult.REFUSED if is_forbidden else SendResult.NO_TOPIC

    async def _send_one(
        self, producer: AIOKafkaProducer, delivery: Delivery, timestamp_ms: int
    ) -> tuple[SendResult, bool]:
        """The result, and whether it is the broker's word on this record's batch or the one before it."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                try:
                    answer = await self._hand_over(producer, delivery, timestamp_ms)
                except (MessageSizeTooLargeError, RecordTooLargeError):
                    return SendResult.TOO_LARGE, False
                await answer
        except MessageSizeTooLargeError:
            return SendResult.TOO_LARGE, True
        except BrokerResponseError as error:
            if isinstance(error, _ABOUT_THE_PRODUCER):
                return SendResult.UNKNOWN, True
            if error.retriable:
                self._name("send_unanswered", error)
                return SendResult.UNKNOWN, False
            self._name("send_refused", error)
            return SendResult.REFUSED, True
        except (KafkaError, OSError, TimeoutError) as error:
            self._name("send_unanswered", error)
        except Exception:
            log.exception("send_failed", topic=self.topic)  # a defect: it must not hold up what else is to be sent
        else:
            return SendResult.ACKNOWLEDGED, False
        return SendResult.UNKNOWN, False

    async def _hand_over(self, producer: AIOKafkaProducer, delivery: Delivery, timestamp_ms: int) -> Awaitable[Any]:
        """Give the producer one record; what it returns ends with the broker's answer."""
        headers = list(delivery.headers)
        if not self.is_careful and (delivery.key is not None or delivery.value is not None):
            future: Awaitable[Any] = await producer.send(
                self.topic, key=delivery.key, value=delivery.value, headers=headers, timestamp_ms=timestamp_ms
            )
            return future
        # Also because Kafka knows records without key and value, and the dead letter of one has neither: `send` refuses
        # them.
        batch = producer.create_batch()
        if batch.append(timestamp=timestamp_ms, key=delivery.key, value=delivery.value, headers=headers) is None:
            raise RecordTooLargeError(f"a record does not fit into a batch for {self.topic}")
        if batch.size() > DEAD_LETTER_MAX_MESSAGE_BYTES:
            raise RecordTooLargeError(f"a record of {batch.size()} bytes for {self.topic}")
        batch.close()
        partitions = sorted(await producer.partitions_for(self.topic))
        partition = DefaultPartitioner()(delivery.key, partitions, partitions)
        answered: Awaitable[Any] = await producer.send_batch(batch, self.topic, partition=partition)
        return answered

    def _partitions(self, client: Any) -> list[Any]:
        return [TopicPartition(self.topic, each) for each in client.cluster.partitions_for_topic(self.topic) or ()]

    def _name(self, event: str, error: Exception) -> None:
        """Log a kind of trouble, once a minute: it may come with every record."""
        told = f"{type(error).__name__}: {error}"
        if time.monotonic() - self.named.get(event + told, float("-inf")) >= NAMED_EVERY_SECONDS:
            if len(self.named) > 100:
                self.named.clear()
            self.named[event + told] = time.monotonic()
            log.warning(event, topic=self.topic, error=told)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop within bounds: a producer flushes what it holds, and its broker may be away. One that does not end in time
    is cut off: it must not send later what others have sent by then.
    """
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_SECONDS)
    stopping.cancel()
    if not done:
        sender = producer._sender.sender_task  # noqa: SLF001 - there is no other way to it
        if sender is not None:
            sender.cancel()
        closing = asyncio.ensure_future(producer.client.close())
        await asyncio.wait({closing}, timeout=STOP_TIMEOUT_SECONDS)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
    await asyncio.gather(stopping, return_exceptions=True)
