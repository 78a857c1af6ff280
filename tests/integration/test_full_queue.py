"""A queue that is full, and one that an upstream filled for itself, through real Kafka."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from consumer.devstack import StackKind
from tests.support.front_door import JANUARY, FrontDoor, open_front_door
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

GROUP = "full-queue"


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("full-queue"), stack_kind) as opened:
        yield opened


async def test_a_full_queue_pauses_intake_keeps_the_membership_and_lets_cancels_through(
    door: FrontDoor, tmp_path: Path
) -> None:
    gated, plain = await door.add_strategy("test_gate", strategy_params=gate(tmp_path)), await door.add_strategy()
    async with door.worker(kafka_group_id=GROUP, max_queued="4") as worker:
        await door.request(gated, request_id="gate")
        await door.row_of("gate", "running")
        taken = [await door.request(plain, request_id=f"taken/{number}") for number in range(12)]

        async def is_held() -> bool:
            return bool(worker.log_events("requests_held"))

        await eventually(is_held, "intake paused", seconds=30)
        before = await members(door)
        await cancelled(door, taken[-1])  # by then whatever was polled before the pause is recorded
        held = [await door.request(plain, request_id=f"held/{number}") for number in range(9)]
        for request_id in taken[-3:-1]:
            await cancelled(door, request_id)
        assert [await door.run_of(request_id) for request_id in held] == [None] * 9
        assert len(before) == 1
        assert await members(door) == before

        (tmp_path / "gate").touch()
        for request_id in ("gate", *taken[:-3], *held):
            assert (await door.terminal_event(request_id)).kind == "completed"
        assert worker.log_events("requests_resumed")
        assert await members(door) == before
        assert len(worker.log_events("partitions_assigned")) == 1


async def test_one_request_of_an_upstream_does_not_wait_for_all_of_anothers(door: FrontDoor, tmp_path: Path) -> None:
    gated, plain = await door.add_strategy("test_gate", strategy_params=gate(tmp_path)), await door.add_strategy()
    async with door.worker(kafka_group_id=GROUP):
        await emit_from(door, "busy", "busy/gate", gated)
        await door.row_of("busy/gate", "running")
        busy = [f"busy/{number}" for number in range(120)]
        for request_id in busy:
            await emit_from(door, "busy", request_id, plain)
        for request_id in (*busy[-9:], "single"):  # of every partition the last
            if request_id == "single":
                await emit_from(door, "modest", "single", plain)
            await eventually(lambda wanted=request_id: door.run_of(wanted), request_id, seconds=60)  # type: ignore[misc]  # a lambda with its own default
        (tmp_path / "gate").touch()
        assert (await door.terminal_event("single")).kind == "completed"
        for request_id in busy:
            assert (await door.terminal_event(request_id)).kind == "completed"
    earlier = await door.database.fetchval(
        "SELECT count(*) FROM backtest_executions WHERE source = 'busy' AND started_at <="
        " (SELECT started_at FROM backtest_executions WHERE request_id = 'single')"
    )
    assert earlier < 30  # the gate, what was claimed ahead behind it, and a turn or two


async def cancelled(door: FrontDoor, request_id: str) -> None:
    await door.cancel(request_id=request_id, reason="no room")
    assert (await door.terminal_event(request_id)).data["reason"] == "no room"


async def emit_from(door: FrontDoor, source: str, request_id: str, strategy_id: int) -> None:
    event: dict[str, Any] = {"specversion": "1.0", "id": request_id, "source": source, "type": "backtest.requested"}
    data = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY}
    await door.send_raw("backtest.requested", json.dumps({**event, "data": data}).encode(), key=request_id.encode())


async def members(door: FrontDoor) -> list[str]:
    """Ids of the group's members, while the group is stable; an id changes when its member has to join again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=door.stack.kafka_bootstrap_servers)
    await admin.start()
    try:
        response: Any
        [response] = await admin.describe_consumer_groups([GROUP])
        [[error, _, state, _, _, found, *_]] = response.groups
        assert (error, state) == (0, "Stable")
        return sorted(member[0] for member in found)
    finally:
        await admin.close()


def gate(directory: Path) -> str:
    return json.dumps({"sign_file": str(directory / "sign"), "gate_file": str(directory / "gate")})
