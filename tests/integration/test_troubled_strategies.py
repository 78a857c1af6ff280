"""Strategies that go wrong when a request asks for them: that request alone is rejected, in time and with the reason,
while heartbeats, claims and the intake of others go on.
"""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.devstack import StackKind
from tests.integration.test_front_door import gate
from tests.support.front_door import TROUBLED, FrontDoor, Message, open_front_door

pytestmark = pytest.mark.integration

LOAD_SECONDS = 4.0
MARGIN_SECONDS = 15.0
"""For starting processes on a busy machine."""


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("troubled"), stack_kind) as opened:
        yield opened


TROUBLES = [
    ("test_import_sleeps", {}, "unknown_strategy", f"took longer than {LOAD_SECONDS:g} s to import"),
    ("test_import_loops", {}, "unknown_strategy", f"took longer than {LOAD_SECONDS:g} s to import"),
    ("test_import_leaves", {}, "unknown_strategy", "SystemExit: 3"),
    ("test_import_ends", {}, "unknown_strategy", "ended its process with exit status 3"),
    ("test_params_sleep", {"seconds": 30.0}, "invalid_params", f"took longer than {LOAD_SECONDS:g} s"),
    ("test_params_end", {"status": 5}, "invalid_params", "ended its process with exit status 5"),
    ("test_params_leave", {"status": 5}, "invalid_params", "SystemExit: 5"),
]


async def test_only_the_request_for_a_troubled_strategy_is_rejected_and_everything_else_goes_on(
    door: FrontDoor, tmp_path: Path
) -> None:
    sound = await door.add_strategy()
    running = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    troubled = {key: await door.add_strategy(key) for key, *_ in TROUBLES}
    async with (
        door.worker(TROUBLED, strategy_load_seconds=str(LOAD_SECONDS), lease_seconds="2", slots="2") as worker,
        door.worker(TROUBLED, strategy_load_seconds=str(LOAD_SECONDS), lease_seconds="2") as second,
    ):
        under_way = await door.request(running)
        await door.row_of(under_way, "running")
        for warm_up in range(4):
            await door.terminal_event(await door.request(sound, request_id=f"warm-up {warm_up}"))
        asked = time.monotonic()
        requests = {
            key: await door.request(troubled[key], request_id=f"troubled {key}", strategy_params=params)
            for key, params, *_ in TROUBLES
        }
        slow = {requests[key] for key in ("test_import_sleeps", "test_import_loops", "test_params_sleep")}
        others = 0
        while await unanswered(door, slow):
            begun = time.monotonic()
            assert (await door.terminal_event(await door.request(sound))).kind == "completed"
            assert time.monotonic() - begun < LOAD_SECONDS - 1, "a request is not held up by a strategy that is slow"
            others += 1
            assert await longest_transaction(door) < 1.0
            assert await lapsed_leases(door) == 0, "heartbeats go on"
            assert time.monotonic() - asked < LOAD_SECONDS + MARGIN_SECONDS
        assert others >= 3
        for key, _, code, reason in TROUBLES:
            told: Message = await door.terminal_event(requests[key], seconds=MARGIN_SECONDS)
            assert (told.kind, told.data["error"]["code"]) == ("rejected", code), key
            assert reason in told.data["error"]["message"]
        (tmp_path / "gate").touch()
        assert (await door.terminal_event(under_way)).data["attempt"] == 1, "its lease never ran out"
        assert worker.process.returncode is second.process.returncode is None


async def test_the_doctor_survives_troubled_strategies_and_names_each(door: FrontDoor) -> None:
    ended = await door.command("doctor", packages=[TROUBLED], strategy_load_seconds="2")
    problems = {line.split()[2]: line for line in ended.stdout.splitlines() if line.startswith("PROBLEM  strategies:")}
    assert ended.status == 1
    assert problems.keys() == {key for key, _, code, _ in TROUBLES if code == "unknown_strategy"}
    assert "took longer than 2 s to import" in problems["test_import_sleeps"]
    assert "backtest-troubled-strategies 1.0" in problems["test_import_ends"]


async def test_a_worker_that_is_killed_while_a_strategy_is_asked_leaves_the_request_to_the_next_one(
    door: FrontDoor,
) -> None:
    troubled, sound = await door.add_strategy("test_import_sleeps"), await door.add_strategy()
    async with door.worker(TROUBLED, strategy_load_seconds="60", lease_seconds="1") as first:
        waiting = await door.request(troubled)
        for _ in range(4):
            await door.terminal_event(await door.request(sound))
        first.process.kill()
        await first.process.wait()
    async with door.worker(TROUBLED, strategy_load_seconds="1", lease_seconds="1"):
        told = await door.terminal_event(waiting)
    assert (told.kind, told.data["error"]["code"]) == ("rejected", "unknown_strategy")


async def test_parameters_of_a_users_strategy_are_checked_and_taken(door: FrontDoor, tmp_path: Path) -> None:
    strategy_id = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    (tmp_path / "gate").touch()
    async with door.worker():
        fine = await door.request(strategy_id)
        wrong = await door.request(strategy_id, strategy_params={"gate_file": 5, "nonsense": 1})
        completed, rejected = await door.terminal_event(fine), await door.terminal_event(wrong)
    assert completed.kind == "completed"
    assert [problem["field"] for problem in rejected.data["error"]["details"]] == [
        "strategy_params.gate_file",
        "strategy_params.nonsense",
    ]


async def unanswered(door: FrontDoor, request_ids: set[str]) -> bool:
    found: int = await door.database.fetchval(
        "SELECT count(*) FROM backtest_requests WHERE request_id = ANY($1)", sorted(request_ids)
    )
    return found < len(request_ids)


async def longest_transaction(door: FrontDoor) -> float:
    """Seconds that any other session's transaction has been open."""
    seconds: float | None = await door.database.fetchval(
        "SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return float(seconds or 0.0)


async def lapsed_leases(door: FrontDoor) -> int:
    """Running runs whose worker has not said so in time."""
    return int(
        await door.database.fetchval(
            "SELECT count(*) FROM backtest_executions WHERE state = 'running' AND lease_until < clock_timestamp()"
        )
    )
