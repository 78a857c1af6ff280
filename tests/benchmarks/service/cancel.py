"""From the acknowledged cancel to the last CPU use for the run, for strategies that do not want to stop.

python -m tests.benchmarks.service.cancel --times 5
"""

import argparse
import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import Rig, add_strategy, open_rig, trees
from tests.benchmarks.service.subjects import OURS, running
from tests.support.waiting import eventually

STRATEGIES = {
    "bench_spin": ("a bar strategy that never returns and swallows exceptions", "{}"),
    "bench_spin_columns": ("a column strategy that never returns", "{}"),
    "bench_slow_bars": ("a bar strategy, 10 ms a bar", "{}"),
    "bench_sleep": ("a column strategy that sleeps", '{"seconds": 600}'),
}
CANCEL_TOPIC = "backtest.cancel_requested"
PATIENCE_SECONDS = 30.0
QUIET_SECONDS = 1.0
"""Without CPU use for so long, a process has stopped."""


@dataclass(frozen=True, slots=True)
class CancelTime:
    strategy: str
    how: str
    """by event, or by the row."""
    seconds: float


async def measure_cancels(rig: Rig, database_url: str, times: int) -> list[CancelTime]:
    found = []
    await rig.make_topics(OURS.topics)
    async with rig.connection(database_url) as connection, running(rig, OURS, database_url) as pids:
        for key, (_, params) in STRATEGIES.items():
            strategy_id = await add_strategy(connection, key, params)
            for number in range(2 * times):
                how = "event" if number % 2 == 0 else "row"
                request = rig.request(strategy_id)
                await rig.send(OURS.topics.requested, request)
                run_id, child = await _running_child(connection, pids, request[0])
                await asyncio.sleep(0.3)
                found.append(CancelTime(key, how, await _cancel(rig, connection, how, run_id, child)))
    return found


async def _running_child(connection: Any, pids: list[int], request_id: str) -> tuple[int, psutil.Process]:
    """The engine process that is at the request's run."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            run_id: Any = await connection.fetchval(
                "SELECT run_id FROM backtest_requests WHERE request_id = $1", request_id
            )
            if run_id is not None:
                for process in trees(pids):
                    with suppress(psutil.NoSuchProcess):
                        if f"run={run_id}" in " ".join(process.cmdline()):
                            return int(run_id), process
            await asyncio.sleep(0.02)


async def _cancel(rig: Rig, connection: Any, how: str, run_id: int, child: psutil.Process) -> float:
    """Seconds from the acknowledgement, or the commit, to the last CPU use seen; that clock ticks at 10 ms."""
    if how == "event":
        await rig.producer.send_and_wait(CANCEL_TOPIC, b'{"run_id": %d}' % run_id, key=str(run_id).encode())
    else:
        await connection.execute("UPDATE backtest_runs SET status = 'cancelled' WHERE id = $1", run_id)
    started = last = time.perf_counter()
    used = -1.0
    while time.perf_counter() < last + QUIET_SECONDS:
        try:
            times = child.cpu_times()
            if f"run={run_id}" not in " ".join(child.cmdline()):
                break
        except psutil.NoSuchProcess:
            break
        if times.user + times.system != used:
            used, last = times.user + times.system, time.perf_counter()
        await asyncio.sleep(0.005)
    await eventually(lambda: _has_ended(connection, run_id), f"run {run_id} ended")
    return last - started


async def _has_ended(connection: Any, run_id: int) -> bool:
    state: str = await connection.fetchval("SELECT state FROM backtest_executions WHERE run_id = $1", run_id)
    return state == "cancelled"


def summary(found: list[CancelTime]) -> str:
    rows = []
    for key, (what, _) in STRATEGIES.items():
        own = {how: [each.seconds for each in found if (each.strategy, each.how) == (key, how)] for how in _WAYS}
        rows.append((what, *(f"{max(own[how]):.2f}" for how in _WAYS)))
    return table(("strategy", "by event, worst s", "by the row, worst s"), rows)


_WAYS = ("event", "row")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    async with open_rig() as rig, rig.database() as database_url:
        print(summary(await measure_cancels(rig, database_url, options.times)))


if __name__ == "__main__":
    asyncio.run(main())
