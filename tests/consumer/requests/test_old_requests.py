"""Requests of the past, found in topics and tables in memory."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.adapters.memory.broker import MemoryBroker
from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.tables import MemoryTables
from consumer.adapters.memory.topics import MemoryTopics
from consumer.ports import Delivery
from consumer.requests.old_requests import REPLAY_SOURCE, Offsets, Range, requests_in_topic
from consumer.requests.replaying import OldRequest, emit_new, plan_with_history
from engine.errors import InputRefused
from schemas.topics import Topic
from tests.support.builders import NOON, cloud_event, request_data


def world() -> tuple[MemoryTopics, MemoryTables]:
    tables = MemoryTables()
    tables.add_strategy(strategy_key="sma_cross", primary_tf="H1")
    return MemoryTopics(MemoryBroker()), tables


async def emitted(topics: MemoryTopics, **changes: Any) -> None:
    await topics.send([Delivery(Topic.REQUESTED, b"key", json.dumps(cloud_event(**changes)).encode())])


async def found(topics: MemoryTopics, tables: MemoryTables) -> list[OldRequest]:
    return await requests_in_topic(topics, MemoryHistory(tables), Range())


async def test_every_record_is_found_and_what_cannot_be_emitted_says_why() -> None:
    topics, tables = world()
    await emitted(topics, id="good")
    await topics.send([Delivery(Topic.REQUESTED, b"key", b"no request")])
    await emitted(topics, id="of-a-replay", source=REPLAY_SOURCE)
    await emitted(topics, id="wrong", data=request_data(volume=-1))
    await emitted(topics, id="of-a-row", data={"run_id": 4711})
    old = await found(topics, tables)
    assert [each.request is not None for each in old] == [True, False, False, False, False]
    assert "not JSON" in old[1].problem
    assert old[2].problem == "is of a replay itself"
    assert "volume" in old[3].problem
    assert "4711, which held its configuration, is gone" in old[4].problem


async def test_a_request_for_a_row_becomes_one_with_the_rows_configuration() -> None:
    topics, tables = world()
    run_id = tables.add_run(
        strategy_id=1, symbol="GBPUSD", timeframe="H4", start_date=NOON, end_date=NOON.replace(year=2025)
    )
    await emitted(topics, data={"run_id": run_id})
    [old] = await found(topics, tables)
    assert old.request is not None
    assert (old.request.run_id, old.request.symbol, old.request.timeframe) == (None, "GBPUSD", "H4")


async def test_requests_are_found_by_partition_and_offset() -> None:
    topics = MemoryTopics(MemoryBroker(partitions=2))
    tables = world()[1]
    for number in range(8):
        event = json.dumps(cloud_event(id=f"number-{number}")).encode()
        await topics.send([Delivery(Topic.REQUESTED, f"key-{number}".encode(), event)])
    own = [record for record in topics.broker.records(Topic.REQUESTED) if record.partition == 1]
    assert len(own) >= 3
    history = MemoryHistory(tables)

    async def origins(offsets: Offsets) -> list[str]:
        return [each.origin for each in await requests_in_topic(topics, history, Range(), offsets)]

    assert await origins(Offsets(1)) == [f"backtest.requested/1/{record.offset}" for record in own]
    assert await origins(Offsets(1, first=1, end=3)) == ["backtest.requested/1/1", "backtest.requested/1/2"]
    assert await origins(Offsets(0, first=1000)) == []
    with pytest.raises(InputRefused, match="has no partition 2, but 0 to 1"):
        await origins(Offsets(2))


async def test_what_is_new_is_emitted_once_under_its_new_id() -> None:
    topics, tables = world()
    await emitted(topics, id="old")
    plan = await plan_with_history(await found(topics, tables), "again", MemoryHistory(tables))
    await emit_new(plan, topics, source=REPLAY_SOURCE, now=datetime.now(UTC))
    sent = [json.loads(record.value or b"") for record in topics.broker.records(Topic.REQUESTED)]
    assert [(event["id"], event["source"]) for event in sent] == [
        ("old", "upstream"),
        ("old/replay/again", REPLAY_SOURCE),
    ]
