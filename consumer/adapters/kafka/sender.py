"""Sends records as an upstream does; a worker's events go through `publisher`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Delivery

SEND_TIMEOUT_SECONDS = 20.0
RECORDS_AT_ONCE = 500


async def send_records(connection: KafkaConnection, deliveries: Sequence[Delivery]) -> list[tuple[int, int]]:
    """As `Topics.send` promises."""
    sent: list[tuple[int, int]] = []
    try:
        async with _producer(connection) as producer:
            for first in range(0, len(deliveries), RECORDS_AT_ONCE):
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    sent += await _send_some(producer, deliveries[first : first + RECORDS_AT_ONCE])
    except UnknownTopicOrPartitionError as error:
        raise StartFailed("Kafka lacks the topic: a worker makes the topics when it starts, or make it") from error
    except MessageSizeTooLargeError as error:
        raise StartFailed(f"Kafka refuses a record: {error}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        what = str(error) or "no answer in time"
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers}: {what}") from error
    return sent


@asynccontextmanager
async def _producer(connection: KafkaConnection) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **connection.client_arguments(), client_id="backtest-cli", enable_idempotence=True, acks="all"
    )
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _send_some(producer: AIOKafkaProducer, deliveries: Sequence[Delivery]) -> list[tuple[int, int]]:
    futures = [
        await producer.send(each.topic, key=each.key, value=each.value, headers=list(each.headers))
        for each in deliveries
    ]
    return [(sent.partition, sent.offset) for sent in await asyncio.gather(*futures)]
