"""A queue of 100 000 runs beside one of 100: time of claims, beats and sweeps, scans, table sizes, worker memory.

python -m tests.benchmarks.service.queue_length
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.pool import open_pool
from consumer.adapters.postgres.queue import PostgresQueue
from consumer.clock import SystemClock
from consumer.ports import Beat
from consumer.rules.events import EventRenderer
from tests.benchmarks.service.intake import measure_intake
from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import Rig, open_rig, pss_mb, trees
from tests.benchmarks.service.subjects import OURS, running

TIMES = 40
CLAIMED_AT_ONCE = 8
WORKER_SECONDS = 8.0
TABLES = ("backtest_requests", "backtest_runs", "backtest_executions", "backtest_outbox")
FLUSH_SECONDS = 2.0
"""After which a server process has told the statistics of what it did."""


@dataclass(frozen=True, slots=True)
class LongQueue:
    """What a queue of that length costs."""

    queued: int
    milliseconds: Mapping[str, float]
    """Median by operation."""
    sequential_scans: tuple[str, ...]
    """Tables that grow with the queue and were read whole, by the server's own count, while all this went on."""
    megabytes: Mapping[str, float]
    """By table, indexes included."""
    worker_mb: float
    """PSS of a worker with its children after some seconds at this queue."""
    worker_runs_a_second: float


async def measure_queue(rig: Rig, database_url: str, queued: int) -> LongQueue:
    await measure_intake(rig, database_url, queued)
    async with rig.connection(database_url) as connection:
        # What is asked here must not count among the scans.
        await connection.execute("SET enable_seqscan = off")
        before = await _scans(connection)
        milliseconds = await _operations(database_url)
        async with running(rig, OURS, database_url) as pids:
            first = await _completed_after(connection, 0)
            started = time.perf_counter()
            completed = first
            while time.perf_counter() < started + WORKER_SECONDS and completed < queued:
                await asyncio.sleep(0.05)
                completed = await _completed(connection)
            rate = (completed - first) / (time.perf_counter() - started)
            memory = pss_mb(trees(pids))
        await asyncio.sleep(FLUSH_SECONDS)
        after = await _scans(connection)
        sizes = {name: await connection.fetchval(_SIZE, name) / 2**20 for name in TABLES}
    scanned = tuple(name for name in TABLES if after[name] > before[name])
    return LongQueue(queued, milliseconds, scanned, sizes, memory, rate)


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
        journal = PostgresJournal(pool, writer, "bench", 60.0)
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
            await timed("count the queue", journal.queued_count)
        await queue.forget_unknown([])
    return {name: statistics.median(each) for name, each in found.items()}


async def _scans(connection: Any) -> dict[str, int]:
    """Sequential scans of each table since the database was made."""
    rows = await connection.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY($1)", TABLES)
    return {row["relname"]: row["seq_scan"] for row in rows}


async def _completed_after(connection: Any, count: int) -> int:
    """Wait until the worker has completed something."""
    async with asyncio.timeout(60):
        while True:
            done = await _completed(connection)
            if done > count:
                return done
            await asyncio.sleep(0.05)


async def _completed(connection: Any) -> int:
    done: int = await connection.fetchval("SELECT count(*) FROM backtest_runs WHERE id > 0 AND status = 'completed'")
    return done


_SIZE = "SELECT pg_total_relation_size($1::text::regclass)"


def summary(found: list[LongQueue]) -> str:
    names = list(found[0].milliseconds)
    rows = [(f"{name}, ms", *(f"{each.milliseconds[name]:.2f}" for each in found)) for name in names]
    rows.append(("tables read whole", *(", ".join(each.sequential_scans) or "none" for each in found)))
    rows += [(f"{name}, MB", *(f"{each.megabytes[name]:.1f}" for each in found)) for name in TABLES]
    rows.append(("worker and children, MB (PSS)", *(f"{each.worker_mb:.0f}" for each in found)))
    rows.append(("small runs a second", *(f"{each.worker_runs_a_second:.0f}" for each in found)))
    return table(("queued runs", *(f"{each.queued}" for each in found)), rows)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queued", type=int, nargs="+", default=[100, 100_000])
    options = parser.parse_args()
    found = []
    for queued in options.queued:
        async with open_rig() as rig, rig.database() as database_url:
            found.append(await measure_queue(rig, database_url, queued))
            print(found[-1])
    print(summary(found))


if __name__ == "__main__":
    asyncio.run(main())
