"""The service's measurements; `make bench-service` runs them and writes their tables into docs/performance.md.

Figures depend on the machine and on what else it does, so a target missed is a warning in the table; what does fail is
a plan that reads a whole table, a cancel that takes longer than it may, a run lost or doubled, memory that grows.
"""

from pathlib import Path

import pytest

from tests.benchmarks.service.cancel import measure_cancels
from tests.benchmarks.service.cancel import summary as cancel_summary
from tests.benchmarks.service.compare import Plan, compare
from tests.benchmarks.service.compare import summary as compare_summary
from tests.benchmarks.service.history import measure_history
from tests.benchmarks.service.history import summary as history_summary
from tests.benchmarks.service.intake import measure_intake
from tests.benchmarks.service.intake import summary as intake_summary
from tests.benchmarks.service.queue_length import measure_queue
from tests.benchmarks.service.queue_length import summary as queue_summary
from tests.benchmarks.service.report import write_section
from tests.benchmarks.service.rig import open_rig
from tests.benchmarks.service.scaling import measure_scaling
from tests.benchmarks.service.scaling import summary as scaling_summary
from tests.benchmarks.service.soak import growth, soak
from tests.benchmarks.service.soak import summary as soak_summary
from tests.benchmarks.service.subjects import OURS, PEERS_COMPARED

pytestmark = pytest.mark.timeout(3600)

CANCEL_SECONDS = 1.0
SOAK_MINUTES = 2.0
"""`python -m tests.benchmarks.service.soak --minutes 30 --write` is the long one, whose table is kept."""


async def test_small_runs_beside_a_faststream_handler() -> None:
    subjects = (OURS, *PEERS_COMPARED)
    async with open_rig() as rig:
        rounds = await compare(rig, subjects, Plan(runs=500, rounds=3))
    keep("compared", compare_summary(rounds, subjects))


def test_a_run_pays_for_no_history_before_it(tmp_path: Path) -> None:
    keep("history", history_summary(measure_history(tmp_path, rounds=3, runs=100)))


async def test_requests_made_durable() -> None:
    rates = []
    for _ in range(3):
        async with open_rig() as rig, rig.database() as database_url:
            rates.append(await measure_intake(rig, database_url, 40_000))
    keep("intake", intake_summary(rates))


async def test_a_long_queue_costs_no_scan() -> None:
    found = []
    for queued in (100, 100_000):
        async with open_rig() as rig, rig.database() as database_url:
            found.append(await measure_queue(rig, database_url, queued))
    keep("queue", queue_summary(found))
    assert not found[-1].sequential_scans


async def test_a_cancel_stops_any_strategy_within_its_second() -> None:
    async with open_rig() as rig, rig.database() as database_url:
        found = await measure_cancels(rig, database_url, times=5)
    keep("cancel", cancel_summary(found))
    assert max(each.seconds for each in found) <= CANCEL_SECONDS


async def test_workers_share_runs_that_only_sleep() -> None:
    found = []
    async with open_rig() as rig:
        for workers in (1, 2, 4):
            async with rig.database() as database_url:
                found.append(await measure_scaling(rig, database_url, workers))
    keep("scaling", scaling_summary(found))


async def test_nothing_grows_at_half_load() -> None:
    async with open_rig() as rig, rig.database() as database_url:
        samples = await soak(rig, database_url, SOAK_MINUTES, None)
    print(f"\n{soak_summary(samples)}")
    assert not growth(samples)


def keep(name: str, text: str) -> None:
    """Show a table, and put it into docs/performance.md."""
    print(f"\n{text}")
    write_section(name, text)
