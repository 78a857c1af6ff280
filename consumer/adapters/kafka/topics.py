"""Makes the topics at a worker's start, before it consumes; and what the brokers say of those that are there."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.errors import BrokerUnavailable
from consumer.settings import KafkaSettings
from schemas.envelope import MAX_VALUE_BYTES
from schemas.topics import DEAD_LETTER_MAX_MESSAGE_BYTES, Topic

_OF_THE_TOPIC = 1
"""Where a setting comes from, as brokers number it: set for this topic."""
DAY_MS = 24 * 3600 * 1000
REQUEST_TIMEOUT_SECONDS = 15.0

BROKERS_CLOCK = {"message.timestamp.type": "LogAppendTime"}
"""A sender's wrong clock neither has its records refused nor removed early."""
TOPIC_CONFIGS: dict[Topic, dict[str, str]] = {
    Topic.REQUESTED: {"retention.ms": str(28 * DAY_MS), **BROKERS_CLOCK},
    Topic.CANCEL_REQUESTED: {"retention.ms": str(7 * DAY_MS), **BROKERS_CLOCK},
    Topic.PROGRESS: {"retention.ms": str(DAY_MS), **BROKERS_CLOCK},
    Topic.COMPLETED: {"cleanup.policy": "compact", "retention.ms": "-1", **BROKERS_CLOCK},
    Topic.OPTIMIZATION_REQUESTED: {"retention.ms": str(28 * DAY_MS), **BROKERS_CLOCK},
    Topic.OPTIMIZATION_CANCEL_REQUESTED: {"retention.ms": str(7 * DAY_MS), **BROKERS_CLOCK},
    Topic.OPTIMIZATION_PROGRESS: {"retention.ms": str(DAY_MS), **BROKERS_CLOCK},
    Topic.OPTIMIZATION_COMPLETED: {"cleanup.policy": "compact", "retention.ms": "-1", **BROKERS_CLOCK},
    Topic.DEAD_LETTER: {
        "retention.ms": str(28 * DAY_MS),
        "max.message.bytes": str(DEAD_LETTER_MAX_MESSAGE_BYTES),
        **BROKERS_CLOCK,
    },
}
"""What each is made with; the retention is for whoever runs the broker to change."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """partitions of each topic; replication_factor -1: the broker's default."""

    partitions: int = 6
    replication_factor: int = -1


def topic_settings(settings: KafkaSettings) -> TopicSettings:
    """The shape that the settings ask for."""
    return TopicSettings(settings.kafka_topic_partitions, settings.kafka_replication_factor)


async def create_topics(connection: KafkaConnection, settings: TopicSettings) -> list[str]:
    """Create the topics that are missing, and leave those that exist as they are; the names made. Idempotent.

    Raises BrokerUnavailable where trying again may help or a broker refuses; the message says which topic and why.
    """
    async with _admin(connection) as admin:
        missing = await _missing(admin)
        if not missing:
            return []
        response: Any = await admin.create_topics([_new_topic(topic, settings) for topic in missing])
    made = []
    for name, code, *message in response.topic_errors:
        if code == 0:
            made.append(str(name))
        elif code != TopicAlreadyExistsError.errno:
            raise BrokerUnavailable(f"Kafka refused topic {name}: {for_code(code).__name__} {message}")
    return made


async def missing_topics(connection: KafkaConnection) -> list[Topic]:
    """Which of our topics the broker does not have. Raises BrokerUnavailable."""
    async with _admin(connection) as admin:
        return await _missing(admin)


async def present_topics(connection: KafkaConnection) -> set[str]:
    """All topics that the broker shows us. Raises BrokerUnavailable."""
    async with _admin(connection) as admin:
        return set(await admin.list_topics())


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """One topic as it is."""

    partitions: int
    max_message_bytes: int
    cleanup_policy: str
    """E.g. `delete` or `compact,delete`."""
    timestamp_type: str
    """CreateTime, or LogAppendTime: the broker's."""
    own: Mapping[str, str]
    """Its settings that are not the broker's defaults."""

    def shortcomings(self, topic: Topic) -> dict[str, str]:
        """Settings by which something would be lost, each with what it must be (at least)."""
        needed = DEAD_LETTER_MAX_MESSAGE_BYTES if topic is Topic.DEAD_LETTER else MAX_VALUE_BYTES
        found = {} if self.max_message_bytes >= needed else {"max.message.bytes": str(needed)}
        if topic in {Topic.COMPLETED, Topic.OPTIMIZATION_COMPLETED} and "compact" not in self.cleanup_policy:
            found["cleanup.policy"] = "compact"
        return found


async def topic_facts(connection: KafkaConnection, topics: Sequence[str]) -> dict[str, TopicFacts]:
    """Those of the topics that exist, by name: their partitions and the limits that matter here.

    Raises BrokerUnavailable.
    """
    async with _admin(connection) as admin:
        present = sorted(set(await admin.list_topics()) & {str(topic) for topic in topics})
        if not present:
            return {}
        described = await admin.describe_topics(present)
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in present])
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    configs = {
        name: {entry[0]: entry for entry in entries}
        for answer in cast("list[Any]", answers)  # the admin client types every answer as a bare Response
        for _code, _message, _kind, name, entries in answer.resources
        if entries  # it may have been deleted meanwhile
    }
    return {name: _facts(partitions[name], configs[name]) for name in present if name in configs}


async def group_members(connection: KafkaConnection, group_id: str) -> int | None:
    """How many clients the consumer group has now; None where the broker does not say (it may not be allowed).

    Raises BrokerUnavailable.
    """
    async with _admin(connection) as admin:
        [answer] = cast("list[Any]", await admin.describe_consumer_groups([group_id]))
    code, _group, _state, _protocol_type, _protocol, members, *_ = answer.groups[0]
    return None if code else len(members)


def _facts(partitions: int, entries: Mapping[str, Any]) -> TopicFacts:
    """entries: setting -> name, value, whether it is read-only, where it comes from, ..."""
    return TopicFacts(
        partitions,
        int(entries["max.message.bytes"][1]),
        str(entries["cleanup.policy"][1]),
        str(entries["message.timestamp.type"][1]),
        {name: str(entry[1]) for name, entry in entries.items() if entry[3] == _OF_THE_TOPIC},
    )


async def change_topic(connection: KafkaConnection, topic: Topic, own: Mapping[str, str], partitions: int = 0) -> None:
    """Give a topic these settings in place of all its own, and more partitions, if any are named. Raises
    BrokerUnavailable, also where the broker refuses.
    """
    async with _admin(connection) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.value, dict(own))
        for answer in cast("list[Any]", await admin.alter_configs([resource])):
            for code, message, *_ in answer.resources:
                if code:
                    raise BrokerUnavailable(f"Kafka refused to change {topic}: {for_code(code).__name__} {message}")
        if partitions:
            await admin.create_partitions({topic.value: NewPartitions(partitions)})


@asynccontextmanager
async def _admin(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, bounded in time; what it raises becomes BrokerUnavailable."""
    admin = AIOKafkaAdminClient(**connection.client_arguments(), request_timeout_ms=int(REQUEST_TIMEOUT_SECONDS * 1000))
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            await admin.start()
            yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers}: {type(error).__name__}: {error}") from error
    finally:
        await admin.close()


async def _missing(admin: AIOKafkaAdminClient) -> list[Topic]:
    present = set(await admin.list_topics())
    return [topic for topic in Topic if topic.value not in present]


def _new_topic(topic: Topic, settings: TopicSettings) -> NewTopic:
    made = NewTopic(topic.value, settings.partitions, replication_factor=1, topic_configs=TOPIC_CONFIGS[topic])
    # Set afterwards: the client's constructor refuses -1, which brokers take as their default.
    made.replication_factor = settings.replication_factor
    return made
