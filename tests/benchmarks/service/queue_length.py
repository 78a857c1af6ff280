"""A queue of 100 000 runs beside one of 100: time of claims, beats and sweeps, plans, table sizes, worker memory.

python -m tests.benchmarks.service.queue_length
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.adapters import postgres_queue_statements as statements
from consumer.adapters.postgres_ledger import PostgresLedger
from consumer.adapters.postgres_pool import open_pool
from consumer.adapters.postgres_queue import PostgresQueue
from consumer.events import EventRenderer
from consumer.ports import Beat
from consumer.wiring import SystemClock
from tests.benchmarks.service.intake import measure_intake
from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import Rig, open_rig, pss_mb, trees
from tests.benchmarks.service.subjects import OURS, running

TIMES = 40
CLAIMED_AT_ONCE = 8
WORKER_SECONDS = 8.0
TABLES = ("backtest_requests", "backtest_runs", "backtest_executions", "backtest_outbox")


@dataclass(frozen=True, slots=True)
class LongQueue:
    """What a queue of that length costs."""

    queued: int
    milliseconds: Mapping[str, float]
    """Median by operation."""
    sequential_scans: tuple[str, ...]
    """Statements whose plan reads a whole table that grows with the queue."""
    megabytes: Mapping[str, float]
    """By table, indexes included."""
    worker_mb: float
    """PSS of a worker with its children after some seconds at this queue."""
    worker_runs_a_second: float


async def measure_queue(rig: Rig, database_url: str, queued: int) -> LongQueue:
    await measure_intake(rig, database_url, queued)
    async with rig.connection(database_url) as connection:
        await connection.execute("ANALYZE")
        milliseconds = await _operations(database_url)
        scans = tuple([name for name, sql in _plans().items() if await _scans_all(connection, sql)])
        async with running(rig, OURS, database_url) as pids:
            first: Any = await _completed_after(connection, 0)
            started = time.perf_counter()
            await asyncio.sleep(WORKER_SECONDS)
            completed: Any = await connection.fetchval("SELECT count(*) FROM backtest_runs WHERE status = 'completed'")
            rate = (completed - first) / (time.perf_counter() - started)
            memory = pss_mb(trees(pids))
        sizes = {name: await connection.fetchval(_SIZE, name) / 2**20 for name in TABLES}
    return LongQueue(queued, milliseconds, scans, sizes, memory, rate)


async def _operations(database_url: str) -> dict[str, float]:
    """Each operation alone on an idle server, as a worker calls it."""
    found: dict[str, list[float]] = {}

    async def timed(name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        started = time.perf_counter()
        result = await step()
        found.setdefault(name, []).append(1000 * (time.perf_counter() - started))
        return result

    async with open_pool(database_url, max_connections=2, name="queue length") as pool:
        writer = EventRenderer("bench", SystemClock())
        queue = PostgresQueue(pool, writer, "bench", 60.0, 3)
        ledger = PostgresLedger(pool, writer, "bench", 60.0)
        for _ in range(TIMES):
            result = await timed(f"claim {CLAIMED_AT_ONCE}", lambda: queue.claim(CLAIMED_AT_ONCE))
            claims = result.claims
            await timed("look for lapsed leases", queue.lapsed)
            await timed(f"beat {CLAIMED_AT_ONCE}", lambda claims=claims: queue.beat([Beat(each) for each in claims]))  # type: ignore[misc]  # bound early
            await timed("look for cancels", lambda claims=claims: queue.cancels_wanted(claims))  # type: ignore[misc]  # bound early
            for claim in claims:
                await queue.give_back(claim, died=False)
        for _ in range(5):
            await timed("sweep", queue.sweep)
            await timed("count the queue", ledger.queued_count)
        await queue.forget_unknown([])
    return {name: statistics.median(each) for name, each in found.items()}


def _plans() -> dict[str, str]:
    """Statements that every claim, beat and finish runs; parameters written out."""
    return {
        "pick queued": statements.PICK_QUEUED.format(limit=8),
        "pick lapsed": statements.PICK_LAPSED.format(limit=8).replace("$1", "ARRAY[1,2]"),
        "look for cancels": statements.CANCELS_WANTED.replace("$1", "ARRAY[1,2]").replace("$2", "ARRAY[1,1]"),
        "lock the execution": statements.LOCK_EXECUTION.replace("$1", "1"),
        "lock the row": statements.LOCK_ROW.replace("$1", "1"),
    }


async def _scans_all(connection: Any, sql: str) -> bool:
    rows = await connection.fetch(f"EXPLAIN {sql}")
    plan = "\n".join(row[0] for row in rows)
    return any(f"Seq Scan on {name}" in plan for name in TABLES)


async def _completed_after(connection: Any, count: int) -> int:
    """Wait until the worker has completed something."""
    async with asyncio.timeout(60):
        while True:
            done: int = await connection.fetchval("SELECT count(*) FROM backtest_runs WHERE status = 'completed'")
            if done > count:
                return done
            await asyncio.sleep(0.1)


_SIZE = "SELECT pg_total_relation_size($1::text::regclass)"


def summary(found: list[LongQueue]) -> str:
    names = list(found[0].milliseconds)
    rows = [(f"{name}, ms", *(f"{each.milliseconds[name]:.2f}" for each in found)) for name in names]
    rows.append(("plans with a sequential scan", *(", ".join(each.sequential_scans) or "none" for each in found)))
    rows += [(f"{name}, MB", *(f"{each.megabytes[name]:.1f}" for each in found)) for name in TABLES]
    rows.append(("worker and children, MB (PSS)", *(f"{each.worker_mb:.0f}" for each in found)))
    rows.append(("small runs a second", *(f"{each.worker_runs_a_second:.0f}" for each in found)))
    return table(("queued runs", *(f"{each.queued}" for each in found)), rows)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queued", type=int, nargs="+", default=[5_000, 100_000])
    options = parser.parse_args()
    found = []
    for queued in options.queued:
        async with open_rig() as rig, rig.database() as database_url:
            found.append(await measure_queue(rig, database_url, queued))
            print(found[-1])
    print(summary(found))


if __name__ == "__main__":
    asyncio.run(main())
