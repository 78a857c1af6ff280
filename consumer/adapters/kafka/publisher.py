"""Events to Kafka: an idempotent producer that waits for all replicas, replaced when in doubt. Implements
`Publisher`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.ports import Delivery, SendResult
from schemas.topics import DEAD_LETTER_MAX_MESSAGE_BYTES

log = structlog.get_logger(__name__)

SEND_TIMEOUT_SECONDS = 10.0
START_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 1.0


@dataclass(slots=True)
class KafkaPublisher:
    """Owns one producer at a time; after a time-out or a fatal error the next call builds a new one."""

    connection: KafkaConnection
    client_id: str
    producer: "AIOKafkaProducer | None" = field(default=None, init=False)

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[SendResult]:
        if not deliveries:
            return []
        try:
            producer = await self._started_producer()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("kafka_producer_not_started", error=f"{type(error).__name__}: {error}")
            return [SendResult.UNKNOWN] * len(deliveries)
        results = await asyncio.gather(*(_send_one(producer, delivery) for delivery in deliveries))
        if SendResult.UNKNOWN in results:
            await self.close()
        return results

    async def close(self) -> None:
        """Let go of the producer; what it has not sent is the outbox's to keep."""
        producer, self.producer = self.producer, None
        if producer is not None:
            await _stop(producer)

    async def _started_producer(self) -> AIOKafkaProducer:
        if self.producer is None:
            producer = AIOKafkaProducer(
                **self.connection.client_arguments(),
                client_id=self.client_id,
                enable_idempotence=True,
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
            self.producer = producer
        return self.producer


async def _send_one(producer: AIOKafkaProducer, delivery: Delivery) -> SendResult:
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await (await _hand_over(producer, delivery))
    except (MessageSizeTooLargeError, RecordTooLargeError):
        return SendResult.TOO_LARGE
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("send_unanswered", topic=delivery.topic, error=f"{type(error).__name__}: {error}")
        return SendResult.UNKNOWN
    except Exception:
        log.exception("send_failed", topic=delivery.topic)  # a defect: it must not hold up what else is to be sent
        return SendResult.UNKNOWN
    return SendResult.ACKNOWLEDGED


async def _hand_over(producer: AIOKafkaProducer, delivery: Delivery) -> Awaitable[Any]:
    """Give the producer one record; what it returns ends with the broker's answer."""
    headers = list(delivery.headers)
    if delivery.key is not None or delivery.value is not None:
        future: Awaitable[Any] = await producer.send(
            delivery.topic, key=delivery.key, value=delivery.value, headers=headers
        )
        return future
    # Kafka knows records without key and value, and the dead letter of one has neither; `send` refuses them.
    batch = producer.create_batch()
    if batch.append(timestamp=None, key=None, value=None, headers=headers) is None:
        raise RecordTooLargeError(f"the headers of a record for {delivery.topic} do not fit into a batch")
    partitions = await producer.partitions_for(delivery.topic)
    answered: Awaitable[Any] = await producer.send_batch(batch, delivery.topic, partition=min(partitions))
    return answered


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop within bounds: a producer flushes what it holds, and its broker may be away."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(producer.stop(), STOP_TIMEOUT_SECONDS)
