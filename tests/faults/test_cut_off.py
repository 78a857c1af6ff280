"""One worker of two loses Kafka, and nothing else: the other one sends what is its to send, and gets all new work."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from consumer.devstack import StackKind
from schemas.topics import Topic
from tests.faults.checker import check
from tests.faults.evidence import read_topics
from tests.faults.field import LEASE_SECONDS, Field, event, lasting, open_field
from tests.faults.load import FEBRUARY, REQUESTED, Load
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults]

RUNS = 60


@pytest.fixture
async def place(tmp_path: Path, stack_kind: StackKind) -> AsyncIterator[Field]:
    async with open_field(tmp_path, stack_kind=stack_kind) as opened:
        await Load(Random(0)).prepare(opened)
        yield opened


async def test_a_worker_that_lost_kafka_alone_claims_nothing_and_keeps_no_event_from_the_others(place: Field) -> None:
    """30 of 60 terminal events were missing for as long as it was cut off."""
    cut_off, healthy = await place.start_worker(), await place.start_worker()

    async def both_up() -> bool:
        return all("worker_started" in worker.log_text() for worker in (cut_off, healthy))

    await eventually(both_up, "both workers", seconds=120)
    common = {**FEBRUARY, "spread_pips": 0.5, "execution_mode": "close_price", "strategy_id": 3}
    slow = {"strategy_params": {"seconds_a_bar": 0.0003}}
    ids = [f"cut-off/{number}" for number in range(RUNS)]
    await place.send(*(event(REQUESTED, request_id, {**common, **slow}) for request_id in ids))

    async def at_work() -> bool:
        return any("run=" in each for each in cut_off.titles())

    await eventually(at_work, "the worker at work", seconds=60)
    cut_off.proxy.cut()

    async def all_told() -> bool:
        records = (await read_topics(place.stack.kafka_bootstrap_servers))[Topic.COMPLETED]
        return {json.loads(record.value or b"")["data"]["request_id"] for record in records} >= set(ids)

    await eventually(all_told, "every terminal event while one worker is cut off", seconds=120)
    assert "events_let_go" in cut_off.log_text()
    before = cut_off.log_text().count("run_finished")
    await place.send(*(event(REQUESTED, f"later/{number}", common) for number in range(10)))
    await lasting(2 * LEASE_SECONDS)
    assert cut_off.log_text().count("run_finished") == before, "it claims nothing"
    cut_off.proxy.is_cut = False
    assert check(await place.settle()) == []
