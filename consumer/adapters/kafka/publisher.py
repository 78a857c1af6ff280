"""Events to Kafka: idempotent producers that wait for all replicas, replaced when in doubt. Implements `Publisher`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topic_sender import TopicSender
from consumer.ports import Clock, Delivery, SendResult

REACH_TIMEOUT_SECONDS = 1.5


@dataclass(slots=True)
class KafkaPublisher:
    """One producer a topic, opened when it is first sent to: what one topic refuses or loses concerns no other."""

    connection: KafkaConnection
    client_id: str
    clock: Clock
    """Of the records' timestamps."""
    senders: dict[str, TopicSender] = field(default_factory=dict, init=False)

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[SendResult]:
        by_topic: dict[str, list[int]] = {}
        for place, delivery in enumerate(deliveries):
            by_topic.setdefault(delivery.topic, []).append(place)
        answers = await asyncio.gather(
            *(
                self._sender(topic).send([deliveries[place] for place in places], self.clock.now_utc())
                for topic, places in by_topic.items()
            )
        )
        results = [SendResult.UNKNOWN] * len(deliveries)
        for places, found in zip(by_topic.values(), answers, strict=True):
            for place, result in zip(places, found, strict=True):
                results[place] = result
        return results

    async def is_reachable(self) -> bool:
        """A broker that answers, and a connection to each that leads a partition of a topic sent to."""
        senders = list(self.senders.values()) or [self._sender("")]
        try:
            async with asyncio.timeout(REACH_TIMEOUT_SECONDS):
                found = await asyncio.gather(*(sender.is_reachable() for sender in senders))
        except (KafkaError, OSError, TimeoutError):
            return False
        return all(found)

    async def close(self) -> None:
        """Let go of the producers; what they have not sent is the outbox's to keep."""
        await asyncio.gather(*(sender.close() for sender in self.senders.values()))

    def _sender(self, topic: str) -> TopicSender:
        if topic not in self.senders:
            self.senders[topic] = TopicSender(self.connection, self.client_id, topic)
        return self.senders[topic]
