"""Our topics on Kafka for an emitter and a subscriber; a worker has `source` and `publisher` for its own."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.reader import open_reader
from consumer.adapters.kafka.sender import send_records
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.ports import Delivery
from consumer.ports.requests import TopicReader


@dataclass(frozen=True, slots=True)
class KafkaTopics:
    """Implements `Topics`. Opens a client for each call: a command makes one or two of them."""

    connection: KafkaConnection
    shape: TopicSettings | None
    """What missing topics are made with; None: they are not made."""

    async def prepare(self) -> None:
        if self.shape is not None:
            await create_topics(self.connection, self.shape)

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[int, int]]:
        return await send_records(self.connection, deliveries)

    def reading(self, topics: Sequence[str], *, from_beginning: bool) -> AbstractAsyncContextManager[TopicReader]:
        return open_reader(self.connection, topics, from_beginning=from_beginning)
