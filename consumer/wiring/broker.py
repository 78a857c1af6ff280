"""Kafka, for commands that emit and follow."""

from collections.abc import Sequence

from consumer.adapters.kafka.client import KafkaTopics
from consumer.adapters.kafka.connection import KafkaConnection, kafka_connection
from consumer.adapters.kafka.topics import TopicFacts, TopicSettings, group_members, topic_facts, topic_settings
from consumer.ports.requests import Topics
from consumer.settings import KafkaSettings

__all__ = ["TopicFacts", "facts_of_topics", "members_of_group", "open_topics", "open_topics_at"]


def open_topics(settings: KafkaSettings) -> Topics:
    """Our topics at the brokers of the settings; connects when it is used. Raises SettingsInvalid."""
    return KafkaTopics(kafka_connection(settings), topic_settings(settings) if settings.kafka_create_topics else None)


def open_topics_at(bootstrap_servers: str) -> Topics:
    """Our topics at brokers that ask for no credentials: those that this program started itself."""
    return KafkaTopics(KafkaConnection(bootstrap_servers), TopicSettings())


async def facts_of_topics(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, TopicFacts]:
    """What the brokers say of those of the topics that exist. Raises BrokerUnavailable, SettingsInvalid."""
    return await topic_facts(kafka_connection(settings), topics)


async def members_of_group(settings: KafkaSettings) -> int | None:
    """How many workers' clients read in the group of the settings; None where the brokers do not say.

    Raises BrokerUnavailable, SettingsInvalid.
    """
    return await group_members(kafka_connection(settings), settings.kafka_group_id)
