"""Notices topics that somebody deleted or made anew as the broker's default; makes them as they should be if it may.

What a topic is like is for whoever runs the broker to decide. Changed is only that by which results would be lost:
backtest.completed without compaction, a dead-letter topic that takes no large record, and a topic that has come back
with fewer partitions than it had.
"""

import time
from dataclasses import dataclass, field

import structlog

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topics import TopicFacts, TopicSettings, change_topic, create_topics, topic_facts
from consumer.errors import BrokerUnavailable
from schemas.topics import Topic

log = structlog.get_logger(__name__)

NAMED_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class TopicWatch:
    """What `look` found last is in `complaints`."""

    connection: KafkaConnection
    shape: TopicSettings
    may_change: bool
    """KAFKA_CREATE_TOPICS."""
    complaints: tuple[str, ...] = field(default=(), init=False)
    """What is not as it should be, a line each."""
    partitions: dict[str, int] = field(default_factory=dict, init=False)
    """Of each topic, as many as were ever seen."""
    named: tuple[str, ...] = field(default=(), init=False)
    named_at: float = field(default=0.0, init=False)

    async def look(self) -> None:
        """Look, mend, and name what is left, when it is new and once a minute. Raises BrokerUnavailable."""
        if self.may_change and (made := await create_topics(self.connection, self.shape)):
            log.info("topics_created", topics=made)
        facts = await topic_facts(self.connection, tuple(Topic))
        found = [f"{topic} does not exist" for topic in Topic if topic.value not in facts]
        for topic in Topic:
            if topic.value in facts:
                found += await self._shortcomings(topic, facts[topic.value])
        self.complaints = tuple(found)
        self._name()

    async def _shortcomings(self, topic: Topic, facts: TopicFacts) -> list[str]:
        """What is wrong with a topic and was not mended."""
        had = self.partitions[topic] = max(facts.partitions, self.partitions.get(topic, 0))
        wrong = facts.shortcomings(topic)
        # A limit that somebody set is his; the dead letters' is ours, since they are larger than what brokers take.
        mending = {name: value for name, value in wrong.items() if topic is Topic.DEAD_LETTER or "policy" in name}
        told = [f"{topic} needs {name}={value}" for name, value in wrong.items()]
        if facts.partitions < had:
            told.append(f"{topic} has {facts.partitions} partitions and had {had}")
        if not self.may_change or not (mending or facts.partitions < had):
            return told
        try:
            await change_topic(self.connection, topic, {**facts.own, **mending}, had if facts.partitions < had else 0)
        except BrokerUnavailable as error:
            return [*told, str(error)]
        log.warning("topic_changed", topic=topic, settings=mending, partitions=had, was=told)
        return [
            f"{topic} has {name} of which {value} is needed" for name, value in wrong.items() if name not in mending
        ]

    def _name(self) -> None:
        now = time.monotonic()
        if self.complaints and (self.complaints != self.named or now - self.named_at >= NAMED_EVERY_SECONDS):
            log.error("topics_not_as_they_should_be", why=self.complaints)
            self.named_at = now
        self.named = self.complaints
