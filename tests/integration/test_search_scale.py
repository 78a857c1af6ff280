"""A million combinations through one worker: memory stays flat, and the database holds a row a step."""

import asyncio
from collections.abc import AsyncIterator, Callable

import psutil
import pytest

from consumer.devstack import StackKind
from tests.support.front_door import FrontDoor, Worker, open_front_door

pytestmark = [pytest.mark.integration, pytest.mark.nightly, pytest.mark.timeout(7200)]

MOST_MB = 1_500
"""Of one process: of the gather, which has a value, a ratio and a digest of each combination in hand."""
MOST_AT_WORK_MB = 700


@pytest.fixture
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("scale"), stack_kind) as opened:
        yield opened


async def test_a_million_combinations_take_flat_memory_and_rows_by_steps(
    door: FrontDoor, record_property: Callable[[str, object], None]
) -> None:
    strategy_id = await door.add_strategy()
    grid = {"fast": {"from": 2, "to": 1001, "step": 1}, "slow": {"from": 1002, "to": 2001, "step": 1}}
    async with door.worker(slots="2", run_timeout_seconds="600") as worker:
        request_id = await door.search(
            strategy_id, param_grid=grid, min_trades=0, end_date="2017-01-09T00:00:00Z", timeframe="H4"
        )
        ending = asyncio.create_task(door.end_of_search(request_id, seconds=7000))
        seen: list[tuple[int, float, float]] = []
        while not ending.done():
            done = await door.database.fetchval("SELECT done FROM backtest_searches WHERE request_id = $1", request_id)
            seen.append((done or 0, *memory_mb(worker)))
            await asyncio.wait([ending], timeout=2.0)
        terminal = ending.result()
    assert terminal.kind == "completed", terminal.data
    number = terminal.data["optimization_id"]
    row = await door.search_row(number)
    assert row["completed_combinations"] == row["total_combinations"] == 1_000_000
    steps = await door.database.fetchval(
        "SELECT count(*) FROM backtest_search_shards WHERE optimization_id = $1", number
    )
    record_property("steps", steps)
    record_property("memory", [each for each in seen if each[0]][:: max(1, len(seen) // 20)])
    assert steps < 2_000
    at_work = [(of_worker, of_child) for done, of_worker, of_child in seen if 0 < done < 1_000_000]
    assert max(of_worker for of_worker, _ in at_work) < MOST_AT_WORK_MB
    assert max(of_child for _, of_child in at_work) < MOST_AT_WORK_MB
    assert max(of_child for _, _, of_child in seen) < MOST_MB


def memory_mb(worker: Worker) -> tuple[float, float]:
    """Of the worker, and of the largest of its children."""
    try:
        process = psutil.Process(worker.process.pid)
        children = [child.memory_info().rss for child in process.children(recursive=True)]
        return process.memory_info().rss / 2**20, max(children, default=0) / 2**20
    except psutil.Error:
        return 0.0, 0.0
