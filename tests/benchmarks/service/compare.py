"""Our worker beside a FastStream handler: throughput, latency, CPU and memory, in alternating rounds of one run.

Each run is over another window, drawn at random from eleven years, the same ones for each program.

python -m tests.benchmarks.service.compare --rounds 5 --runs 600
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import (
    Arrivals,
    Rig,
    add_strategy,
    cpu_seconds,
    cpu_seconds_by_process,
    open_rig,
    pss_mb,
    trees,
)
from tests.benchmarks.service.subjects import OURS, PEERS_COMPARED, Subject, running

WARM_UP_RUNS = 150
IDLE_REQUESTS = 60
HALF_LOAD_SECONDS = 6.0
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """One subject, once."""

    subject: str
    runs_a_second: float
    cpu_ms_a_run: float
    """Worker and children, or handlers and their pool; servers apart."""
    server_cpu_ms_a_run: float
    idle_latency_ms: tuple[float, ...]
    half_load_latency_ms: tuple[float, ...]
    half_load_cpu_ms_a_run: float
    pss_mb: float
    cpu_ms_by_process: dict[str, float]
    """A run's, servers too: main is the worker or the handler, engine its children or its pool."""


@dataclass(slots=True)
class Plan:
    runs: int
    rounds: int
    rate: float | None = None
    """Requests a second at half load; found in the first round: half of what the slowest subject can do."""
    seed: int = 1
    told: Callable[[str], None] = print
    done: list[Round] = field(default_factory=list)


async def compare(rig: Rig, subjects: Sequence[Subject], plan: Plan) -> list[Round]:
    """Measure every subject in each round, in a new order each time."""
    order = random.Random(plan.seed)
    for subject in subjects:
        await rig.make_topics(subject.topics)
    for number in range(plan.rounds):
        for subject in order.sample(list(subjects), len(subjects)):
            async with rig.database() as database_url:
                found = await measure(rig, subject, database_url, plan)
            plan.done.append(found)
            plan.told(
                f"round {number + 1} {subject.name}: {found.runs_a_second:.0f} runs/s,"
                f" {found.cpu_ms_a_run:.2f} ms CPU a run, servers {found.server_cpu_ms_a_run:.2f},"
                f" idle {statistics.median(found.idle_latency_ms):.1f} ms,"
                f" half load {statistics.median(found.half_load_latency_ms):.1f} ms, {found.pss_mb:.0f} MB"
            )
        if plan.rate is None:
            plan.rate = min(each.runs_a_second for each in plan.done) / 2
    return plan.done


async def measure(rig: Rig, subject: Subject, database_url: str, plan: Plan) -> Round:
    async with (
        rig.connection(database_url) as connection,
        rig.arrivals(subject.topics) as arrivals,
        running(rig, subject, database_url) as pids,
    ):
        strategy_id = await add_strategy(connection)
        rig.draw_anew()
        bench = _Bench(rig, subject, arrivals, strategy_id, pids)
        await bench.backlog(WARM_UP_RUNS)
        await asyncio.sleep(0.5)
        idle = await bench.idle_latency(IDLE_REQUESTS)
        seconds, cpu = await bench.measured_backlog(plan.runs)
        server_cpu = cpu.get("Kafka", 0.0) + cpu.get("Postgres", 0.0)
        rate = plan.rate or plan.runs / seconds / 2
        half_load, half_load_cpu = await bench.half_load(rate, random.Random(plan.seed))
        trades: Any = await connection.fetchval("SELECT count(*) FROM backtest_trades")
        done, told = await connection.fetchrow(
            "SELECT count(*), sum(total_trades) FROM backtest_runs WHERE status = 'completed' AND total_trades > 30"
        )
        if done != bench.sent + arrivals.repeated or trades != told:
            raise AssertionError(f"{subject.name}: {done} of {bench.sent} runs, {trades} trades of {told}")
        if subject is OURS and arrivals.repeated:
            raise AssertionError(f"{arrivals.repeated} events came twice, without a fault to explain it")
        return Round(
            subject=subject.name,
            runs_a_second=plan.runs / seconds,
            cpu_ms_a_run=1000 * (sum(cpu.values()) - server_cpu) / plan.runs,
            server_cpu_ms_a_run=1000 * server_cpu / plan.runs,
            idle_latency_ms=idle,
            half_load_latency_ms=half_load,
            half_load_cpu_ms_a_run=half_load_cpu,
            pss_mb=pss_mb(trees(pids)),
            cpu_ms_by_process={name: 1000 * spent / plan.runs for name, spent in cpu.items()},
        )


@dataclass(slots=True)
class _Bench:
    rig: Rig
    subject: Subject
    arrivals: Arrivals
    strategy_id: int
    pids: list[int]
    sent: int = 0

    async def backlog(self, runs: int) -> float:
        """Send so many at once; seconds from the first send to the last completed event."""
        requests = [self.rig.request(self.strategy_id) for _ in range(runs)]
        started = time.perf_counter()
        await self.rig.send_all(self.subject.topics.requested, requests)
        self.sent += runs
        return await self.arrivals.wait_for([each for each, _ in requests], PATIENCE_SECONDS) - started

    async def measured_backlog(self, runs: int) -> tuple[float, dict[str, float]]:
        """Seconds, and CPU seconds by process, servers too."""
        before = self._cpu_by_process()
        seconds = await self.backlog(runs)
        return seconds, {name: spent - before.get(name, 0.0) for name, spent in self._cpu_by_process().items()}

    def _cpu_by_process(self) -> dict[str, float]:
        own = cpu_seconds_by_process(trees(self.pids), self.pids)
        return own | cpu_seconds_by_process(self.rig.server_processes())

    async def idle_latency(self, requests: int) -> tuple[float, ...]:
        """Milliseconds from produced to consumed, one request at a time, with pauses between."""
        pauses = random.Random(2)
        found = []
        for _ in range(requests):
            await asyncio.sleep(pauses.uniform(0.03, 0.12))
            request = self.rig.request(self.strategy_id)
            started = time.perf_counter()
            await self.rig.send(self.subject.topics.requested, request)
            self.sent += 1
            found.append(1000 * (await self.arrivals.wait_for([request[0]], PATIENCE_SECONDS) - started))
        return tuple(found)

    async def half_load(self, rate: float, chance: random.Random) -> tuple[tuple[float, ...], float]:
        """Latencies under requests at random moments (Poisson), and CPU ms a run there."""
        before = cpu_seconds(trees(self.pids))
        started_at: dict[str, float] = {}
        sending: set[asyncio.Task[None]] = set()
        at = time.perf_counter()
        until = at + HALF_LOAD_SECONDS
        while at < until:
            at += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            request = self.rig.request(self.strategy_id)
            started_at[request[0]] = time.perf_counter()
            task = asyncio.create_task(self.rig.send(self.subject.topics.requested, request))
            sending.add(task)
            task.add_done_callback(sending.discard)
        self.sent += len(started_at)
        await self.arrivals.wait_for(started_at, PATIENCE_SECONDS)
        cpu = 1000 * (cpu_seconds(trees(self.pids)) - before) / len(started_at)
        ends = self.arrivals.moments
        return tuple(1000 * (ends[request_id] - moment) for request_id, moment in started_at.items()), cpu


def summary(rounds: Sequence[Round], subjects: Sequence[Subject]) -> str:
    """A Markdown table: medians over the rounds, latencies over all requests of all rounds."""
    rows = []
    for subject in subjects:
        own = [each for each in rounds if each.subject == subject.name]
        idle = [value for each in own for value in each.idle_latency_ms]
        busy = [value for each in own for value in each.half_load_latency_ms]

        def middle(figure: str, own: Sequence[Round] = own) -> float:
            return statistics.median(float(getattr(each, figure)) for each in own)

        rows.append(
            (
                subject.name,
                f"{middle('runs_a_second'):.0f}",
                f"{middle('cpu_ms_a_run'):.2f}",
                f"{middle('server_cpu_ms_a_run'):.2f}",
                f"{statistics.median(idle):.1f} / {percentile(idle, 95):.1f}",
                f"{statistics.median(busy):.1f} / {percentile(busy, 95):.1f}",
                f"{middle('half_load_cpu_ms_a_run'):.2f}",
                f"{middle('pss_mb'):.0f}",
            )
        )
    head = (
        "program",
        "runs a second",
        "CPU ms a run",
        "servers' CPU ms a run",
        "idle latency ms, median / p95",
        "half load, median / p95",
        "CPU ms a run there",
        "memory MB (PSS)",
    )
    return f"{table(head, rows)}\n\n{by_process(rounds, subjects)}\n\n{verdict(rounds)}"


def by_process(rounds: Sequence[Round], subjects: Sequence[Subject]) -> str:
    """A Markdown table: where a run's CPU goes, medians over the rounds."""
    names = ("main", "engine", "checker", "other", "Postgres", "Kafka")
    rows = []
    for subject in subjects:
        own = [each.cpu_ms_by_process for each in rounds if each.subject == subject.name]
        spent = (statistics.median(each.get(name, 0.0) for each in own) for name in names)
        rows.append((subject.name, *(f"{value:.2f}" for value in spent)))
    return table(("CPU ms a run, by process", *names), rows)


def verdict(rounds: Sequence[Round]) -> str:
    """Ours over the fastest handler that is asked to be beaten, in words."""
    names = {each.subject for each in rounds} - {OURS.name}
    plain = [name for name in sorted(names) if "plain" in name]
    if not plain or not any(each.subject == OURS.name for each in rounds):
        return ""

    def middle(name: str, figure: str) -> float:
        return statistics.median(float(getattr(each, figure)) for each in rounds if each.subject == name)

    def idle(name: str) -> float:
        return statistics.median(value for each in rounds if each.subject == name for value in each.idle_latency_ms)

    fastest = max(plain, key=lambda name: middle(name, "runs_a_second"))
    runs = middle(OURS.name, "runs_a_second") / middle(fastest, "runs_a_second")
    cpu = middle(OURS.name, "cpu_ms_a_run") / middle(fastest, "cpu_ms_a_run")
    return (
        f"Against {fastest}: {runs:.2f} times its runs a second (asked: 2), {cpu:.2f} of its CPU a run (asked: 0.5),"
        f" idle latency {idle(OURS.name):.1f} ms against {idle(fastest):.1f} (asked: 20, and not above the handler's)."
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--durable", action="store_true", help="servers with fsync")
    parser.add_argument("--only", default="", help="subjects whose name holds one of these, comma separated")
    parser.add_argument("--save", type=Path, help="a JSON file for all rounds")
    options = parser.parse_args()
    words = options.only.split(",")
    subjects = [each for each in (OURS, *PEERS_COMPARED) if any(word in each.name for word in words)]
    async with open_rig(durable=options.durable) as rig:
        rounds = await compare(rig, subjects, Plan(options.runs, options.rounds))
    print(summary(rounds, subjects))
    if options.save:
        options.save.write_text(json.dumps([asdict(each) for each in rounds], indent=1))


if __name__ == "__main__":
    asyncio.run(main())
