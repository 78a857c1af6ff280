"""Topics that somebody else has set up otherwise, made too narrow, or deleted, while a worker works."""

import json
import time
from collections.abc import AsyncIterator

import pytest

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topics import (
    TOPIC_CONFIGS,
    TopicSettings,
    create_topics,
    present_topics,
    topic_facts,
)
from consumer.devstack import StackKind
from consumer.devstack.free_ports import free_ports
from schemas.topics import Topic
from tests.support import kafka_admin
from tests.support.front_door import FrontDoor, Message, open_front_door
from tests.support.readiness import asked, ready
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("topics-of-others"), stack_kind) as opened:
        yield opened


async def test_a_topic_that_refuses_an_event_floods_no_other_and_starves_nobody(door: FrontDoor) -> None:
    """Its terminal event stood 78 times on the other topic in 20 s, and after 600 more runs nothing else went out."""
    servers = door.stack.kafka_bootstrap_servers
    [port] = free_ports(1)
    strategy_id = await door.add_strategy()
    async with door.worker(http_port=str(port), kafka_create_topics="false") as worker:
        await ready(port)
        await kafka_admin.configure(servers, "backtest.progress", {"max.message.bytes": "1000"})
        ids = [await door.request(strategy_id) for _ in range(30)]
        for request_id in ids:
            await door.terminal_event(request_id, seconds=180)
        told = await ready(port, told="backtest.progress refuses 30 events (too_large)")
        assert json.loads(told)["checks"]["kafka"] == "ok"
        await door.send_raw("backtest.requested", b"poison")
        await door.message(lambda message: message.topic == "backtest.requested.dlq", "the dead letter", seconds=10)
        assert 'backtest_events_refused{topic="backtest.progress"} 30.0' in asked(port, "/metrics")[1]
        since = time.monotonic()

        async def is_over() -> bool:
            return time.monotonic() - since > 6

        await eventually(is_over, "some tries to go by")
        assert len([each for each in door.messages if each.topic == "backtest.completed"]) == 30
        assert len(worker.log_events("events_not_taken")) == 1
        assert len(worker.log_text().splitlines()) < 500

        await kafka_admin.configure(servers, "backtest.progress", {})
        for request_id in ids:
            await _terminal_on_progress(door, request_id)
        await ready(port)
        assert len([each for each in door.messages if each.topic == "backtest.completed"]) == 30


async def test_a_dead_letter_without_a_topic_slows_no_event(door: FrontDoor) -> None:
    servers = door.stack.kafka_bootstrap_servers
    [port] = free_ports(1)
    strategy_id = await door.add_strategy()
    async with door.worker(http_port=str(port), kafka_create_topics="false"):
        await ready(port)
        await door.terminal_event(await door.request(strategy_id), seconds=180)  # the engine is warm
        await kafka_admin.delete(servers, "backtest.requested.dlq")
        await door.send_raw("backtest.requested", b"poison without a topic")
        await ready(port, told="backtest.requested.dlq")
        for _ in range(5):
            since = time.monotonic()
            await door.terminal_event(await door.request(strategy_id))
            assert time.monotonic() - since < 5
        await create_topics(KafkaConnection(servers), TopicSettings(partitions=3))
        await ready(port)

        async def all_sent() -> bool:
            return not await door.database.fetchval("SELECT count(*) FROM backtest_outbox")

        await eventually(all_sent, "an empty outbox")


async def test_topics_that_were_deleted_and_come_back_as_the_brokers_default_are_made_as_they_should_be(
    door: FrontDoor,
) -> None:
    """A subscriber's client had the broker make them, with one partition and without compaction."""
    connection, servers = KafkaConnection(door.stack.kafka_bootstrap_servers), door.stack.kafka_bootstrap_servers
    outputs = [Topic.PROGRESS, Topic.COMPLETED, Topic.DEAD_LETTER]
    [port] = free_ports(1)
    strategy_id = await door.add_strategy()
    async with door.worker(http_port=str(port)) as worker:
        await ready(port)
        await door.terminal_event(await door.request(strategy_id), seconds=180)
        for topic in outputs:
            await kafka_admin.delete(servers, topic)
            await kafka_admin.make_or_find(servers, topic)

        async def are_mended() -> bool:
            facts = await topic_facts(connection, outputs)
            return len(facts) == 3 and all(
                each.partitions >= 3 and not each.shortcomings(Topic(name)) for name, each in facts.items()
            )

        await eventually(are_mended, "topics as they were")
        assert worker.log_events("topic_changed") or worker.log_events("topics_created")
        await ready(port)
        await door.terminal_event(await door.request(strategy_id))


async def test_topics_that_may_not_be_made_are_named_and_not_made_by_asking(door: FrontDoor) -> None:
    connection, servers = KafkaConnection(door.stack.kafka_bootstrap_servers), door.stack.kafka_bootstrap_servers
    [port] = free_ports(1)
    async with door.worker(http_port=str(port), kafka_create_topics="false") as worker:
        await ready(port)
        await kafka_admin.delete(servers, Topic.PROGRESS)
        await kafka_admin.configure(servers, Topic.COMPLETED, {})
        told = json.loads(await ready(port, told="needs cleanup.policy=compact"))["checks"]["topics"]
        assert "backtest.progress does not exist" in told
        assert [event["why"] for event in worker.log_events("topics_not_as_they_should_be")]
        doctor = await door.command("doctor", kafka_create_topics="false")
        assert doctor.status == 1
        assert "missing: backtest.progress" in doctor.stdout
        assert "set cleanup.policy=compact" in doctor.stdout
        assert Topic.PROGRESS not in await present_topics(connection)
        await create_topics(connection, TopicSettings(partitions=3))
        await kafka_admin.configure(servers, Topic.COMPLETED, TOPIC_CONFIGS[Topic.COMPLETED])
        await ready(port)


async def _terminal_on_progress(door: FrontDoor, request_id: str) -> Message:
    def fits(message: Message) -> bool:
        return (
            message.topic == "backtest.progress"
            and message.data["request_id"] == request_id
            and message.kind == "completed"
        )

    return await door.message(fits, f"terminal event of {request_id} on backtest.progress", seconds=90)
