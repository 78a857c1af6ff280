"""How a run went: its row, its trades in groups, the deepest falls of its equity. The terminal, the API and the report
file show the same ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from consumer.errors import ArtifactsUnavailable, NoSuchRun
from consumer.ports.history import History, Row
from consumer.ports.run_files import RunFiles
from consumer.reports.beside_models import run_of_rule_alone
from consumer.reports.drawdowns import Drawdown, deepest_drawdowns
from consumer.rules.columns import METRIC_COLUMNS
from engine.errors import InputRefused

DEEPEST_SHOWN: Final = 5
_EXIT: Final = pl.Schema({"exit_time": pl.Datetime("us", "UTC"), "profit": pl.Float64()})


@dataclass(frozen=True, slots=True)
class TradeGroup:
    """Trades that share a direction or an exit reason; money in account currency."""

    group: str
    trades: int
    wins: int
    net_profit: float
    best: float
    worst: float


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """equity: None where the run has none, or where its file cannot be read; then `missing` says why."""

    row: Row
    metrics: Mapping[str, Any]
    """Of a completed run, as `backtest run --json` prints them; only the row's where it kept no more."""
    currency: str
    """Of the account; "" where that is not known."""
    groups: Sequence[TradeGroup]
    equity: pl.DataFrame | None
    drawdowns: Sequence[Drawdown]
    exits: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_EXIT))
    """exit_time and profit of each trade row."""
    missing: str = ""
    specification: Mapping[str, Any] | None = None
    """What it executes, as it was admitted; None where no request for it was accepted."""
    rule_alone: Row | None = None
    """Of a run that a language model had a say in: the newest run of the same rule without it, where there is one."""

    @property
    def warnings(self) -> Sequence[str]:
        return tuple(self.metrics.get("warnings", ()))


async def run_report(history: History, files: RunFiles, run_id: int) -> RunReport:
    """All there is to tell of a run, whatever its state. Raises NoSuchRun."""
    row = await history.run(run_id)
    if row is None:
        raise NoSuchRun(run_id)
    trades = await history.trades(run_id)
    specification = await history.specification_of(run_id)
    told = RunReport(
        row,
        await _metrics_of(history, row),
        (specification or {}).get("account_currency", ""),
        [*trade_groups(trades, "direction"), *trade_groups(trades, "exit_reason")],
        None,
        (),
        exits=pl.DataFrame([[trade[name] for trade in trades] for name in _EXIT], schema=_EXIT),
        specification=specification,
        rule_alone=await run_of_rule_alone(history, row, specification),
    )
    if not _has_files(row):
        return told
    try:
        equity = files.read_equity(run_id, row["epoch"])
    except ArtifactsUnavailable as error:
        return replace(told, missing=str(error))
    return replace(told, equity=equity, drawdowns=deepest_drawdowns(equity, row["initial_balance"], DEEPEST_SHOWN))


async def run_ledger(history: History, files: RunFiles, run_id: int) -> pl.DataFrame:
    """Every booked item of a completed run. Raises NoSuchRun, InputRefused, ArtifactsUnavailable."""
    row = await history.run(run_id)
    if row is None:
        raise NoSuchRun(run_id)
    if not _has_files(row):
        raise InputRefused(f"run {run_id} has no ledger: it is {row['status']}")
    return files.read_ledger(run_id, row["epoch"])


def trade_groups(trades: Sequence[Mapping[str, Any]], column: str) -> list[TradeGroup]:
    """Trades by the values of a column, the most frequent value first."""
    names = sorted({trade[column] for trade in trades})
    groups = [_group(name, [trade["profit"] for trade in trades if trade[column] == name]) for name in names]
    return sorted(groups, key=lambda group: -group.trades)


async def _metrics_of(history: History, row: Row) -> Mapping[str, Any]:
    if row["status"] != "completed":
        return {}
    result = await history.result_of(row["id"])
    return {name: row[name] for name in METRIC_COLUMNS} if result is None else result["metrics"]


def _has_files(row: Row) -> bool:
    return row["status"] == "completed" and row["epoch"] is not None


def _group(name: str, profits: Sequence[float]) -> TradeGroup:
    wins = sum(profit > 0 for profit in profits)
    return TradeGroup(name, len(profits), wins, sum(profits), max(profits), min(profits))
