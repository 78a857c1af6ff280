"""Half load for as long as is asked: memory, file descriptors, connections, children, tables must stay flat.

    python -m tests.benchmarks.service.soak --minutes 30 --write

Writes its table and its picture into the documentation, and fails when something grows. A group that joins again
during the soak, which it should not, shows as latency.
"""

import argparse
import asyncio
import csv
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.service.compare import percentile
from tests.benchmarks.service.report import DOCUMENT, table, write_section
from tests.benchmarks.service.rig import Arrivals, Rig, add_strategy, cpu_seconds, heap_mb, open_rig, trees
from tests.benchmarks.service.subjects import OURS, peer_python, running

PLOT = Path(__file__).parents[1] / "peers" / "plot_soak.py"
PICTURE = "performance-soak.png"
WARM_UP_RUNS = 400
SAMPLE_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
MEMORY_GROWTH_ALLOWED = 0.05
"""From the second quarter of the soak to the last: the first one fills caches."""
COUNTS_GROWTH_ALLOWED = 0.05
"""And one: connections are opened when a burst asks for them, each with its descriptor, and closed when idle."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything."""

    minute: float
    worker_mb: float
    """Anonymous memory of the worker's own process."""
    children_mb: float
    """Anonymous memory of its engine processes together."""
    files: int
    """Open file descriptors of all of them."""
    threads: int
    connections: int
    """To Postgres."""
    processes: int
    outbox_rows: int
    executions_mb: float
    completed: int
    latency_ms: float
    """Median of requests that ended since the last look."""
    latency_p95_ms: float
    cpu_ms_a_run: float


async def soak(rig: Rig, database_url: str, minutes: float, rate: float | None, seed: int = 1) -> list[Sample]:
    """Send requests at random moments, half as many as the worker can do; look at it every few seconds."""
    await rig.make_topics(OURS.topics)
    async with (
        rig.connection(database_url) as connection,
        rig.arrivals(OURS.topics) as arrivals,
        running(rig, OURS, database_url) as pids,
    ):
        strategy_id = await add_strategy(connection)
        capacity = await _capacity(rig, arrivals, strategy_id)
        rate = rate or capacity / 2
        print(f"{capacity:.0f} runs a second; the soak sends {rate:.0f}", file=sys.stderr)
        load = _Load(rig, strategy_id, random.Random(seed))
        sending = asyncio.create_task(load.send_for(60 * minutes, rate))
        look = _Look(connection, arrivals, load, pids)
        samples = []
        while not sending.done():
            await asyncio.wait([sending], timeout=SAMPLE_SECONDS)
            samples.append(await look.take())
        await sending
        await arrivals.wait_for(load.started_at, PATIENCE_SECONDS)
        unfinished = await connection.fetchval("SELECT count(*) FROM backtest_runs WHERE status <> 'completed'")
        if unfinished or arrivals.repeated:
            raise AssertionError(f"{unfinished} runs are not completed, {arrivals.repeated} events came twice")
    return samples


async def _capacity(rig: Rig, arrivals: Arrivals, strategy_id: int) -> float:
    """Runs a second of a backlog, once everything is warm."""
    seconds = 0.0
    for _ in range(2):
        requests = [rig.request(strategy_id) for _ in range(WARM_UP_RUNS)]
        started = time.perf_counter()
        await rig.send_all(OURS.topics.requested, requests)
        seconds = await arrivals.wait_for([each for each, _ in requests], PATIENCE_SECONDS) - started
    return WARM_UP_RUNS / seconds


@dataclass(slots=True)
class _Load:
    rig: Rig
    strategy_id: int
    chance: random.Random
    started_at: dict[str, float]

    def __init__(self, rig: Rig, strategy_id: int, chance: random.Random) -> None:
        self.rig, self.strategy_id, self.chance, self.started_at = rig, strategy_id, chance, {}

    async def send_for(self, seconds: float, rate: float) -> None:
        at = time.perf_counter()
        until = at + seconds
        sending: set[asyncio.Task[None]] = set()
        while at < until:
            at += self.chance.expovariate(rate)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            request = self.rig.request(self.strategy_id)
            self.started_at[request[0]] = time.perf_counter()
            task = asyncio.create_task(self.rig.send(OURS.topics.requested, request))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await asyncio.gather(*sending)


@dataclass(slots=True)
class _Look:
    connection: Any
    arrivals: Arrivals
    load: _Load
    pids: list[int]
    started: float = 0.0
    seen: int = 0
    cpu: float = 0.0

    def __post_init__(self) -> None:
        self.started, self.seen = time.perf_counter(), len(self.arrivals.moments)
        self.cpu = cpu_seconds(trees(self.pids))

    async def take(self) -> Sample:
        row = await self.connection.fetchrow(_COUNTS)
        ended = list(self.arrivals.moments.items())[self.seen :]
        starts = self.load.started_at
        latencies = [1000 * (moment - starts[key]) for key, moment in ended if key in starts] or [0.0]
        processes = trees(self.pids)
        cpu = cpu_seconds(processes)
        cpu_ms = 1000 * (cpu - self.cpu) / max(1, len(ended))
        self.cpu, self.seen = cpu, self.seen + len(ended)
        figures = [_figures(process) for process in processes]
        return Sample(
            minute=round((time.perf_counter() - self.started) / 60, 3),
            worker_mb=round(figures[0][0], 1),
            children_mb=round(sum(each[0] for each in figures[1:]), 1),
            files=sum(each[1] for each in figures),
            threads=sum(each[2] for each in figures),
            connections=row["connections"],
            processes=len(processes),
            outbox_rows=row["outbox"],
            executions_mb=round(row["executions"] / 2**20, 2),
            completed=row["completed"],
            latency_ms=round(statistics.median(latencies), 2),
            latency_p95_ms=round(percentile(latencies, 95), 2),
            cpu_ms_a_run=round(cpu_ms, 3),
        )


def _figures(process: psutil.Process) -> tuple[float, int, int]:
    """Anonymous memory in MB, file descriptors, threads."""
    with suppress(psutil.NoSuchProcess, OSError):
        return heap_mb(process), process.num_fds(), process.num_threads()
    return 0.0, 0, 0


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew from the second quarter of the soak to the last; nothing, if all is well."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = []
    for name in ("worker_mb", "children_mb"):
        before, after = (statistics.median(getattr(each, name) for each in part) for part in (early, late))
        if after > before * (1 + MEMORY_GROWTH_ALLOWED):
            grown.append(f"{name}: {before:.1f} to {after:.1f}")
    for name in ("files", "threads", "connections", "processes"):
        before, after = (max(getattr(each, name) for each in part) for part in (early, late))
        if after > before * (1 + COUNTS_GROWTH_ALLOWED) + 1:
            grown.append(f"{name}: {before} to {after}")
    return grown


def summary(samples: Sequence[Sample]) -> str:
    """Medians of each quarter."""
    quarter = max(1, len(samples) // 4)
    parts = [samples[place * quarter : (place + 1) * quarter] for place in range(4)]
    rows = []
    for field in fields(Sample)[1:]:
        values = [statistics.median(getattr(each, field.name) for each in part) for part in parts if part]
        rows.append((field.name, *(f"{value:g}" for value in values)))
    return table(("median of the quarter", "1st", "2nd", "3rd", "4th"), rows)


def plot(samples: Sequence[Sample], picture: Path) -> None:
    """Draw the samples; their CSV stands beside the picture only while it is drawn."""
    table_file = picture.with_suffix(".csv")
    with table_file.open("w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)])
        writer.writeheader()
        writer.writerows(asdict(each) for each in samples)
    try:
        subprocess.run([str(part) for part in (peer_python(), PLOT, table_file, picture)], check=True)
    finally:
        table_file.unlink()


def told(samples: Sequence[Sample], minutes: float) -> str:
    """The text of the documentation's section: table, picture, verdict."""
    grown = "; ".join(growth(samples)) or "nothing grew"
    words = f"{minutes:g} minutes at half load, {samples[-1].completed:,} runs completed, none twice: {grown}."
    return f"{words}\n\n![The soak]({PICTURE})\n\n{summary(samples)}"


_COUNTS = """
SELECT (SELECT count(*) FROM backtest_outbox) AS outbox,
       (SELECT count(*) FROM backtest_runs WHERE status = 'completed') AS completed,
       pg_total_relation_size('backtest_executions') AS executions,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
           AS connections
"""


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, help="requests a second; by default half of what the worker can do")
    parser.add_argument("--write", action="store_true", help="put table and picture into docs/performance.md")
    options = parser.parse_args()
    async with open_rig() as rig, rig.database() as database_url:
        samples = await soak(rig, database_url, options.minutes, options.rate)
    print(summary(samples))
    if options.write:
        plot(samples, DOCUMENT.with_name(PICTURE))
        write_section("soak", told(samples, options.minutes))
    if grown := growth(samples):
        sys.exit(f"grew: {'; '.join(grown)}")


if __name__ == "__main__":
    asyncio.run(main())
