"""One, two and four workers on runs that sleep in place of computing: what is left is coordination.

python -m tests.benchmarks.service.scaling
"""

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import Arrivals, Rig, add_strategy, cpu_seconds, open_rig, trees
from tests.benchmarks.service.subjects import OURS, running

SLOTS = 4
SLEEP_SECONDS = 0.5
RUNS_A_SLOT = 20
IDLE_SECONDS = 5.0
"""Without any run, for what a worker costs that has nothing to do."""
PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Scaled:
    workers: int
    runs_a_second: float
    ideal: float
    """Slots / sleep."""
    worker_cpu_ms_a_run: float
    server_cpu_ms_a_run: float
    connections: int
    """To Postgres, of all workers."""
    idle_transactions_a_second: float
    """Of each worker, with nothing to do; so the next two."""
    idle_worker_cpu_ms_a_second: float
    idle_server_cpu_ms_a_second: float


async def measure_scaling(rig: Rig, database_url: str, workers: int) -> Scaled:
    runs = workers * SLOTS * RUNS_A_SLOT
    await rig.make_topics(OURS.topics)
    async with (
        rig.connection(database_url) as connection,
        rig.arrivals(OURS.topics) as arrivals,
        AsyncExitStack() as stack,
    ):
        strategy_id = await add_strategy(connection, "bench_sleep", json.dumps({"seconds": SLEEP_SECONDS}))
        pids = []
        for _ in range(workers):
            pids += await stack.enter_async_context(running(rig, OURS, database_url, slots=str(SLOTS)))
        # Every slot has run once when the clock starts.
        await _send_and_wait(rig, arrivals, strategy_id, 3 * workers * SLOTS)
        cpu, server_cpu = cpu_seconds(trees(pids)), cpu_seconds(rig.server_processes())
        started = time.perf_counter()
        last = await _send_and_wait(rig, arrivals, strategy_id, runs)
        cpu, server_cpu = cpu_seconds(trees(pids)) - cpu, cpu_seconds(rig.server_processes()) - server_cpu
        connections: Any = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        idle = await _idle(rig, connection, pids)
    return Scaled(
        workers=workers,
        runs_a_second=runs / (last - started),
        ideal=workers * SLOTS / SLEEP_SECONDS,
        worker_cpu_ms_a_run=1000 * cpu / runs,
        server_cpu_ms_a_run=1000 * server_cpu / runs,
        connections=connections,
        idle_transactions_a_second=idle[0] / workers,
        idle_worker_cpu_ms_a_second=1000 * idle[1] / workers,
        idle_server_cpu_ms_a_second=1000 * idle[2] / workers,
    )


async def _idle(rig: Rig, connection: Any, pids: list[int]) -> tuple[float, float, float]:
    """Transactions, CPU of the workers and of the servers, each a second, while there is nothing to do."""
    await asyncio.sleep(IDLE_SECONDS)  # what ended is forgotten, and counted by the server
    transactions = await connection.fetchval(_TRANSACTIONS)
    cpu, server_cpu = cpu_seconds(trees(pids)), cpu_seconds(rig.server_processes())
    started = time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    seconds = time.perf_counter() - started
    cpu, server_cpu = cpu_seconds(trees(pids)) - cpu, cpu_seconds(rig.server_processes()) - server_cpu
    transactions = await connection.fetchval(_TRANSACTIONS) - transactions
    return transactions / seconds, cpu / seconds, server_cpu / seconds


_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"


async def _send_and_wait(rig: Rig, arrivals: Arrivals, strategy_id: int, runs: int) -> float:
    requests = [rig.request(strategy_id) for _ in range(runs)]
    await rig.send_all(OURS.topics.requested, requests)
    return await arrivals.wait_for([each for each, _ in requests], PATIENCE_SECONDS)


def summary(found: list[Scaled]) -> str:
    rows = [
        (
            str(each.workers),
            f"{each.runs_a_second:.1f}",
            f"{each.ideal:.1f}",
            f"{100 * each.runs_a_second / each.ideal:.0f} %",
            f"{each.worker_cpu_ms_a_run:.1f}",
            f"{each.server_cpu_ms_a_run:.1f}",
            str(each.connections),
            f"{each.idle_transactions_a_second:.1f}",
            f"{each.idle_worker_cpu_ms_a_second:.1f}",
            f"{each.idle_server_cpu_ms_a_second:.1f}",
        )
        for each in found
    ]
    head = (
        "workers",
        "runs a second",
        "slots / sleep",
        "of it",
        "CPU ms a run",
        "servers' CPU ms a run",
        "connections",
        "idle: transactions a second and worker",
        "CPU ms a second and worker",
        "servers' CPU ms a second and worker",
    )
    return table(head, rows)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    found = []
    async with open_rig() as rig:
        for workers in options.workers:
            async with rig.database() as database_url:
                found.append(await measure_scaling(rig, database_url, workers))
    print(summary(found))


if __name__ == "__main__":
    asyncio.run(main())
