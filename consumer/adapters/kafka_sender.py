"""Sends single records for commands that act as an upstream does; a worker's events go through kafka_publisher."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from consumer.adapters.kafka_connection import KafkaConnection
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Delivery

SEND_TIMEOUT_SECONDS = 20.0


async def send_record(connection: KafkaConnection, delivery: Delivery) -> tuple[int, int]:
    """Send one record, wait until all replicas have it, and return its partition and offset.

    Raises BrokerUnavailable (it may or may not have arrived) and StartFailed (the broker will not have it as it is).
    """
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            async with AIOKafkaProducer(
                **connection.client_arguments(), client_id="backtest-cli", enable_idempotence=True, acks="all"
            ) as producer:
                sent = await producer.send_and_wait(
                    delivery.topic, key=delivery.key, value=delivery.value, headers=list(delivery.headers)
                )
                return sent.partition, sent.offset
    except UnknownTopicOrPartitionError as error:
        raise StartFailed(
            f"Kafka has no topic {delivery.topic}: a worker makes the topics when it starts, or create it yourself"
        ) from error
    except MessageSizeTooLargeError as error:
        raise StartFailed(f"Kafka refuses a record of {len(delivery.value or b'')} bytes: {error}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        what = str(error) or "no answer in time"
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers}: {what}") from error
