"""A worker whose machine has a wrong clock: nobody sees it, neither in an event nor in its record's timestamp."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from consumer.devstack import StackKind
from schemas.topics import Topic
from tests.faults.checker import check
from tests.faults.field import OUTPUT_TOPICS, Field, event, open_field
from tests.faults.load import FEBRUARY, REQUESTED, Load
from tests.support import kafka_admin

pytestmark = [pytest.mark.integration, pytest.mark.faults]

COMMON = {**FEBRUARY, "spread_pips": 0.5, "execution_mode": "close_price", "strategy_id": 1}


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[Field]:
    async with open_field(tmp_path_factory.mktemp("wrong-clock"), stack_kind=stack_kind) as opened:
        await Load(Random(0)).prepare(opened)
        yield opened


@pytest.mark.parametrize("hours", [2, -72])
@pytest.mark.parametrize("stamped_by", ["CreateTime", pytest.param("LogAppendTime", marks=pytest.mark.nightly)])
async def test_a_wrong_clock_has_no_event_refused_nor_removed_early(place: Field, hours: int, stamped_by: str) -> None:
    """Two hours ahead the broker refused every event; three days back its retention removed fresh ones."""
    for topic in OUTPUT_TOPICS:
        await kafka_admin.configure(place.stack.kafka_bootstrap_servers, topic, {"message.timestamp.type": stamped_by})
    name = f"wrong-clock/{hours}/{stamped_by}"
    place.clock_file.write_text(str(hours * 3600))
    since = datetime.now(UTC) - timedelta(seconds=5)
    await place.send(
        event(REQUESTED, name, COMMON),
        event(REQUESTED, f"{name}/wrong", {"nobody": True}),
        replace(event(REQUESTED, f"{name}/poison", {}), value=b"poison"),
    )
    worker = await place.start_worker(slots=1)
    evidence = await place.settle()
    place.clock_file.write_text("0")
    assert (await place.stop_workers()) == [0], worker.log_text()

    assert check(evidence) == []
    until = datetime.now(UTC) + timedelta(seconds=5)
    told = [each for topic in (Topic.PROGRESS, Topic.COMPLETED) for each in evidence.events(topic)]
    mine = [each.record for each in told if str(each.data["request_id"]).startswith(name)]
    assert len(mine) >= 4
    for record in mine:
        assert since <= datetime.fromtimestamp(record.timestamp_ms / 1000, UTC) <= until
        assert since <= datetime.fromisoformat(time_of(record.value)) <= until


def time_of(value: bytes | None) -> str:
    return str(json.loads(value or b"")["time"])
