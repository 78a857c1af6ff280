"""What the brokers say of topics: their partitions and the limits that matter here. For `backtest doctor`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.errors import BrokerUnavailable

REQUEST_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """One topic as it is."""

    partitions: int
    max_message_bytes: int
    cleanup_policy: str
    """E.g. `delete` or `compact,delete`."""


async def topic_facts(connection: KafkaConnection, topics: Sequence[str]) -> dict[str, TopicFacts]:
    """Those of the topics that exist, by name. Raises BrokerUnavailable."""
    admin = AIOKafkaAdminClient(**connection.client_arguments(), request_timeout_ms=int(REQUEST_TIMEOUT_SECONDS * 1000))
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            await admin.start()
            present = sorted(set(await admin.list_topics()) & {str(topic) for topic in topics})
            if not present:
                return {}
            described = await admin.describe_topics(present)
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in present])
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers}: {error or 'no answer'}") from error
    finally:
        await admin.close()
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    configs = {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in cast("list[Any]", answers)  # the admin client types every answer as a bare Response
        for _code, _message, _kind, name, entries in answer.resources
    }
    return {
        name: TopicFacts(
            partitions[name], int(configs[name]["max.message.bytes"]), str(configs[name]["cleanup.policy"])
        )
        for name in present
    }
