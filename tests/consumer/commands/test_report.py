"""What `backtest report` shows, of tables in memory."""

from dataclasses import replace

from consumer.adapters.memory.history import MemoryHistory
from consumer.commands.report import report_sections
from consumer.errors import ArtifactsUnavailable
from consumer.installed.strategy_code import strategy_version
from consumer.reports.figures import RunReport, run_report
from tests.consumer.queue_steps import queued_and_claimed
from tests.consumer.stores import MemoryStore
from tests.support.messages import completed


class NoFiles:
    """Implements `RunFiles`: there are none."""

    def read_equity(self, run_id: int, epoch: int) -> None:
        raise ArtifactsUnavailable("none")

    read_ledger = read_equity


async def reported(version: str) -> RunReport:
    store = MemoryStore()
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, completed(claim, strategy_version=version))
    return await run_report(MemoryHistory(store.tables), NoFiles(), claim.run_id)  # type: ignore[arg-type]


async def test_the_heading_of_a_report_says_what_the_heading_of_a_run_says_defaults_included() -> None:
    found = await reported(strategy_version("sma_cross"))
    asked = {"risk_pct": 0.01, "volume": None, "context_timeframes": ["H4"], "commission_per_lot": 7.0}
    assert found.specification is not None
    found = replace(found, specification={**found.specification, **asked, "strategy_params": {"fast": 12}})
    heading, *_, identity = report_sections(found, None)
    lines = heading.splitlines()
    assert lines[0].endswith("strategy 1, completed (100 %)")
    assert lines[1].startswith('sma_cross {"fast": 12, "slow": 30, ')
    assert " on EURUSD H1 with H4, " in lines[1]
    assert "commission 7.00 USD a lot" in lines[2]
    assert lines[2].endswith("deposit 10,000.00 USD, 1.00% of equity a trade")
    assert f"result digest: {'ab' * 32}" in identity.splitlines()


async def test_defaults_of_other_code_than_the_runs_are_not_shown_as_its_own() -> None:
    heading = next(iter(report_sections(await reported("cd" * 32), None)))
    assert "and defaults of code that is not here on EURUSD" in heading
    assert "slow" not in heading


async def test_a_run_of_another_release_is_told_by_its_row() -> None:
    found = await reported("cd" * 32)
    assert found.specification is not None
    heading = next(iter(report_sections(replace(found, specification={**found.specification, "new_field": 1}), None)))
    assert "EURUSD H1, 20" in heading
    assert "deposit 10,000.00" in heading
