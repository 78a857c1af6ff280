"""Requests made durable in a second: a backlog in Kafka, one worker's intake, nothing claimed.

python -m tests.benchmarks.service.intake --requests 40000
"""

import argparse
import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.service.report import table
from tests.benchmarks.service.rig import Rig, add_strategy, cpu_seconds, open_rig, trees
from tests.benchmarks.service.subjects import OURS, environment_of

PATIENCE_SECONDS = 120.0
SETTLED = 4_000
"""Requests before the clock starts, or a tenth of fewer: connections are open and statements prepared then."""
SOURCES = 4
"""Upstreams the requests come from."""


@dataclass(frozen=True, slots=True)
class IntakeRate:
    requests_a_second: float
    cpu_ms_a_request: float
    requests_a_batch: float


async def measure_intake(rig: Rig, database_url: str, requests: int) -> IntakeRate:
    """Fill the topic, then let the intake take all of it. Leaves the runs queued."""
    await rig.make_topics(OURS.topics)
    async with rig.connection(database_url) as connection:
        strategy_id = await add_strategy(connection)
        wanted = [rig.request(strategy_id, source=f"upstream-{place % SOURCES}") for place in range(requests)]
        await rig.send_all(OURS.topics.requested, wanted)
        environment = environment_of(rig, OURS, database_url, {"max_queued": "1000000", "log_level": "warning"})
        program = ("-m", "tests.benchmarks.service.intake_program")
        process = await asyncio.create_subprocess_exec(sys.executable, *program, env=environment, stdout=PIPE)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                rate = await _read(process, requests)
        finally:
            process.kill()
            await process.wait()
        durable: Any = await connection.fetchval("SELECT count(*) FROM backtest_executions WHERE state = 'queued'")
    if durable < requests:
        raise AssertionError(f"{durable} of {requests} requests are queued")
    return rate


async def _read(process: asyncio.subprocess.Process, requests: int) -> IntakeRate:
    assert process.stdout is not None
    total, batches = 0, 0
    began: tuple[float, int, float] | None = None
    moment = 0.0
    while total < requests:
        moment, records = json.loads(await process.stdout.readline())
        total += records
        batches += 1
        if began is None and total >= min(SETTLED, requests // 10):
            began, batches = (moment, total, cpu_seconds(trees([process.pid]))), 0
    if began is None or total == began[1]:
        return IntakeRate(0.0, 0.0, total)  # one batch: too few requests to time
    taken = total - began[1]
    cpu = cpu_seconds(trees([process.pid])) - began[2]
    return IntakeRate(taken / (moment - began[0]), 1000 * cpu / taken, taken / max(1, batches))


def summary(rates: list[IntakeRate]) -> str:
    rows = [
        (str(place), f"{each.requests_a_second:.0f}", f"{each.cpu_ms_a_request:.3f}", f"{each.requests_a_batch:.0f}")
        for place, each in enumerate(rates, start=1)
    ]
    return table(("round", "requests made durable a second", "worker CPU ms a request", "requests a batch"), rows)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durable", action="store_true", help="servers with fsync")
    options = parser.parse_args()
    rates = []
    for _ in range(options.rounds):
        async with open_rig(durable=options.durable) as rig, rig.database() as database_url:
            rates.append(await measure_intake(rig, database_url, options.requests))
            print(rates[-1])
    print(summary(rates))


if __name__ == "__main__":
    asyncio.run(main())
