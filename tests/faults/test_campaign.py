"""A short campaign of random faults, judged by the checker; `make faults` runs the long one."""

from pathlib import Path

import pytest

from tests.faults.campaign import Plan, run_campaign
from tests.faults.guards import EXPECTED, names, until_caught
from tests.faults.guards_removed import GUARDS

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.mark.timeout(900)
async def test_a_system_under_random_faults_loses_and_doubles_nothing(tmp_path: Path) -> None:
    report = await run_campaign(Plan(seed=2, faults=7, apis=1, sent_a_fault=4), tmp_path)
    assert report.findings == []
    assert len(report.faults) == 7
    assert report.runs > 20  # those of the quiet run, and more
    assert report.posted > 5


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("guard", list(GUARDS))
async def test_a_guard_that_is_taken_out_is_noticed_by_its_name(guard: str, tmp_path: Path) -> None:
    report = await until_caught(guard, 1, tmp_path)
    assert EXPECTED[guard] & set(names(report))
