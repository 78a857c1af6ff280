"""Postgres away for longer than a lease while runs are at work: nobody was gone, so nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from consumer.devstack import StackKind
from consumer.devstack.free_ports import free_ports
from tests.support.front_door import FrontDoor, open_front_door
from tests.support.readiness import ready
from tests.support.waiting import eventually

LEASE_SECONDS = 3.0

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("outages"), stack_kind) as opened:
        yield opened


@pytest.mark.parametrize("how", ["paused", "restarted"])
async def test_outages_longer_than_a_lease_take_no_run_from_a_worker_that_lives(
    door: FrontDoor, tmp_path: Path, how: str
) -> None:
    gate = tmp_path / "gate"
    params = f'{{"gate_file": "{gate}", "sign_file": "{tmp_path / "sign"}"}}'
    strategy_id = await door.add_strategy("test_gate", strategy_params=params)
    settings = {"lease_seconds": str(LEASE_SECONDS), "slots": "2", "max_attempts": "2"}
    async with door.worker(**settings), door.worker(**settings):
        request_id = await door.request(strategy_id)
        await door.row_of(request_id, "running")
        for _ in range(2):
            await _away_past_a_lease(door, how)
            await _leases_are_live(door)
        gate.touch()
        terminal = await door.terminal_event(request_id)
    assert (terminal.kind, terminal.data["attempt"]) == ("completed", 1)


async def test_a_client_that_holds_a_strategy_stops_neither_other_requests_nor_cancels_nor_dead_letters(
    door: FrontDoor,
) -> None:
    held, free = await door.add_strategy(), await door.add_strategy()
    outside = await asyncpg.connect(door.stack.postgres.database_url.replace("+asyncpg", ""))
    try:
        async with door.worker():
            async with outside.transaction():
                await outside.execute("SELECT 1 FROM strategies WHERE id = $1 FOR UPDATE", held)
                waiting, given_up = await door.request(held), await door.request(held)
                poison = b"no JSON at all"
                await door.send_raw("backtest.requested", poison)
                await door.cancel(request_id=given_up)
                other = await door.request(free)

                assert (await door.terminal_event(other)).kind == "completed"
                await door.message(lambda message: message.value == poison, "the dead letter")
                assert await door.run_of(waiting) is None
            assert (await door.terminal_event(waiting)).kind == "completed"
            assert (await door.terminal_event(given_up)).kind == "cancelled"
    finally:
        await outside.close()


async def test_a_database_that_takes_no_writes_is_named_and_waited_for(door: FrontDoor) -> None:
    outside = await asyncpg.connect(door.stack.postgres.database_url.replace("+asyncpg", ""))
    strategy, port = await door.add_strategy(), free_ports(1)[0]

    async def tell(setting: str) -> None:
        await outside.execute(f"ALTER SYSTEM {setting}")
        await outside.execute("SELECT pg_reload_conf()")

    try:
        async with door.worker(http_port=str(port)) as worker:
            before = await door.request(strategy)
            await door.terminal_event(before)
            await tell("SET default_transaction_read_only = on")
            meanwhile = await door.request(strategy)
            await ready(port, told="Postgres takes no writes: default_transaction_read_only is on")
            asked = await door.command("doctor")
            assert asked.status == 1
            assert "takes no writes: default_transaction_read_only is on" in asked.stdout
            assert await door.run_of(meanwhile) is None
            await tell("RESET default_transaction_read_only")
            await door.row_of(meanwhile, "completed", seconds=20)
            await ready(port)
            assert not [event for event in worker.log_events("run_finished") if event["outcome"] != "completed"]
    finally:
        await tell("RESET default_transaction_read_only")
        await outside.close()


async def _away_past_a_lease(door: FrontDoor, how: str) -> None:
    postgres = door.stack.postgres
    await (postgres.pause() if how == "paused" else postgres.stop())
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.5 * LEASE_SECONDS

    async def is_over() -> bool:
        return loop.time() >= until

    await eventually(is_over, "a lease and a half to go by")
    await (postgres.resume() if how == "paused" else postgres.start())


async def _leases_are_live(door: FrontDoor) -> None:
    """Until every running execution's lease reaches into the future again, whoever holds it."""

    async def probe() -> bool:
        lapsed = await door.database.fetchval(
            "SELECT count(*) FROM backtest_executions WHERE state = 'running' AND lease_until < now()"
        )
        return bool(lapsed == 0)

    await eventually(probe, "live leases")
