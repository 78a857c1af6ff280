"""What a report tells of a run, from tables in memory and files of the test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.adapters.files.run_tables import RunTableFiles
from consumer.adapters.memory.history import MemoryHistory
from consumer.errors import ArtifactsUnavailable, NoSuchRun
from consumer.ports.outcomes import Failed
from consumer.reports.drawdowns import deepest_drawdowns
from consumer.reports.figures import RunReport, run_ledger, run_report, trade_groups
from engine.errors import InputRefused
from tests.consumer.adapters.http.apis import client_of
from tests.consumer.queue_steps import queued_and_claimed
from tests.consumer.stores import MemoryStore
from tests.support.builders import NOON
from tests.support.messages import completed

METRICS = {"total_trades": 2, "ambiguous_bars": 3, "warnings": ["the data end early"], "null_reasons": {}}


@dataclass(frozen=True)
class Files:
    """Implements `RunFiles`: the equity of every run, or none at all."""

    table: pl.DataFrame | None

    def read_equity(self, run_id: int, epoch: int) -> pl.DataFrame:
        return self._of(run_id, epoch)

    def read_ledger(self, run_id: int, epoch: int) -> pl.DataFrame:
        return self._of(run_id, epoch)

    def _of(self, run_id: int, epoch: int) -> pl.DataFrame:
        if self.table is None:
            raise ArtifactsUnavailable(f"no runs/{run_id}/{epoch}")
        return self.table


async def reported(store: MemoryStore, run_id: int, files: Files) -> RunReport:
    return await run_report(MemoryHistory(store.tables), files, run_id)


async def completed_run(store: MemoryStore, name: str = "a") -> int:
    worker = await store.worker()
    claim = await queued_and_claimed(worker, name)
    await worker.queue.finish(claim, completed(claim, metrics=METRICS))
    return claim.run_id


async def test_a_report_has_the_warnings_and_the_interval_that_the_tables_have_no_column_for() -> None:
    store = MemoryStore()
    report = await reported(store, await completed_run(store), Files(equity(9_000.0, 11_000.0)))
    assert report.warnings == ("the data end early",)
    assert report.metrics["ambiguous_bars"] == 3
    assert report.currency == "USD"
    assert [fall.percent for fall in report.drawdowns] == [10.0]
    assert [(group.group, group.trades) for group in report.groups] == [("BUY", 2), ("signal", 2)]


async def test_a_run_from_before_results_were_kept_is_told_by_its_row() -> None:
    store = MemoryStore()
    run_id = await completed_run(store)
    store.tables.results.clear()
    report = await reported(store, run_id, Files(equity(11_000.0)))
    assert (report.metrics["total_trades"], report.metrics["profit_factor"], report.warnings) == (2, None, ())


async def test_files_that_cannot_be_read_are_missing_and_the_rest_is_told() -> None:
    store = MemoryStore()
    run_id = await completed_run(store)
    report = await reported(store, run_id, Files(None))
    assert (report.equity, report.drawdowns, report.missing) == (None, (), f"no runs/{run_id}/1")
    assert report.metrics["total_trades"] == 2


async def test_a_failed_run_has_no_figures_and_no_ledger() -> None:
    store = MemoryStore()
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, Failed("no_data", "there are none"))
    report = await reported(store, claim.run_id, Files(None))
    assert (report.metrics, report.equity, report.missing) == ({}, None, "")
    with pytest.raises(InputRefused, match="has no ledger: it is failed"):
        await run_ledger(MemoryHistory(store.tables), Files(None), claim.run_id)


async def test_a_run_that_is_not_there_has_no_report() -> None:
    history = MemoryHistory(MemoryStore().tables)
    with pytest.raises(NoSuchRun):
        await run_report(history, Files(None), 4711)
    with pytest.raises(NoSuchRun):
        await run_ledger(history, Files(None), 4711)


def test_the_deepest_drawdown_starts_at_the_deposit() -> None:
    falls = deepest_drawdowns(equity(90.0, 80.0, 110.0, 99.0), 100.0, 5)
    assert [(fall.percent, fall.amount) for fall in falls] == [(20.0, 20.0), (10.0, 11.0)]
    assert falls[0].recovered is not None
    assert falls[1].recovered is None


def test_equity_that_only_rises_has_no_drawdown() -> None:
    assert deepest_drawdowns(equity(101.0, 101.0, 102.0), 100.0, 5) == []
    assert deepest_drawdowns(equity(), 100.0, 5) == []


def test_trades_are_grouped_with_the_most_frequent_first() -> None:
    trades = [{"exit_reason": reason, "profit": profit} for reason, profit in (("a", 1.0), ("b", -2.0), ("b", 3.0))]
    first, second = trade_groups(trades, "exit_reason")
    assert (first.group, first.trades, first.wins, first.net_profit, first.best, first.worst) == (
        "b",
        2,
        1,
        1.0,
        3.0,
        -2.0,
    )
    assert second.group == "a"


def equity(*values: float) -> pl.DataFrame:
    times = [NOON.replace(minute=minute) for minute in range(len(values))]
    return pl.DataFrame(
        {"time": times, "equity": list(values)}, schema={"time": pl.Datetime("us", "UTC"), "equity": pl.Float64}
    )


async def test_beside_a_run_with_a_model_stands_what_its_rule_earned_alone() -> None:
    store = MemoryStore()
    alone, advised = await completed_run(store), await advised_run(store, "b")

    told = await reported(store, advised, Files(None))
    assert told.rule_alone is not None
    assert told.rule_alone["id"] == alone
    assert (await reported(store, alone, Files(None))).rule_alone is None


async def test_the_api_tells_a_rule_alone_that_is_run_after_the_model_was_asked(tmp_path: Path) -> None:
    store = MemoryStore()
    advised = await advised_run(store, "b")
    history: Any = MemoryHistory(store.tables)
    async with client_of(history, RunTableFiles(str(tmp_path))) as client:
        before = await client.get(f"/v1/backtest/{advised}")
        alone = await completed_run(store)
        after = await client.get(f"/v1/backtest/{advised}", headers={"If-None-Match": before.headers["etag"]})
        of_rule = (await client.get(f"/v1/backtest/{alone}")).json()

    assert (before.json()["decided_by"], before.json()["rule_alone"]) == ("rule_then_llm", None)
    beside = after.json()["rule_alone"]
    assert (beside["run_id"], beside["total_trades"]) == (alone, of_rule["total_trades"])
    assert beside["net_profit"] == of_rule["total_return_pct"] * of_rule["initial_balance"] / 100 != 0
    assert (of_rule["decided_by"], of_rule["rule_alone"]) == ("rule_only", None)


async def advised_run(store: MemoryStore, name: str) -> int:
    """A completed run that a model had a say in."""
    run_id = await completed_run(store, name)
    request = store.tables.requests[name]
    stored = json.loads(request["specification"])
    stored["engine"]["advice"] = {"decided_by": "rule_then_llm"}
    store.tables.requests[name] = {**request, "specification": json.dumps(stored, sort_keys=True)}
    return run_id
