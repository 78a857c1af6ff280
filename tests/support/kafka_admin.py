"""What somebody else does to our topics."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType


async def configure(servers: str, topic: str, configs: dict[str, str]) -> None:
    """Give a topic these settings, and the broker's defaults for all others."""
    async with _Admin(servers) as admin:
        answers: list[Any] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
        assert all(resource[0] == 0 for answer in answers for resource in answer.resources), answers


async def delete(servers: str, *topics: str) -> None:
    async with _Admin(servers) as admin:
        await admin.delete_topics(list(topics))


async def make_or_find(servers: str, topic: str) -> None:
    """Have a topic as the broker makes it for whoever asks, unless somebody was quicker."""
    async with _Admin(servers) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, servers: str) -> None:
        super().__init__(bootstrap_servers=servers)

    async def __aenter__(self) -> "_Admin":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
