"""A run of the engine, recorded in files as an engine child records it, and its row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.adapters.files.artifacts import LEDGER, ArtifactFiles
from consumer.adapters.files.run_tables import RunTableFiles
from consumer.reports.completed import CompletedRun
from engine.results.result import BacktestResult
from tests.engine.run_builders import backtest, sample, scripted


@dataclass(frozen=True, slots=True)
class Recorded:
    result: BacktestResult
    run: CompletedRun
    tables: RunTableFiles
    root: Path


def recorded(root: Path, result: BacktestResult, run_id: int = 7) -> Recorded:
    files = ArtifactFiles(str(root))
    tables = {"trades": result.recorded_trades, "equity": result.equity, LEDGER: result.booked}
    if result.indicators is not None:
        tables["indicators"] = result.indicators
    files.save_run(run_id, 1, tables)
    place = files.save_bars(result.bars.frame[result.first_row :])
    row: dict[str, Any] = {
        "id": run_id,
        "epoch": 1,
        "status": "completed",
        "data_file_path": place,
        "initial_balance": result.specification.initial_balance,
        "symbol": result.specification.symbol,
        "timeframe": result.specification.timeframe,
    }
    return Recorded(result, CompletedRun(row, {}), RunTableFiles(str(root)), root)


def some_run(**changes: Any) -> BacktestResult:
    """Two hundred trades of 0.1 lots over 3 000 hours, with stops, targets and two patterns."""
    bars = sample("eurusd_h1", 3_000)
    kinds = ["BUY", None, None, "SELL", None, None, None, "CLOSE", None, None, None, None, None]
    actions = [kinds[row % len(kinds)] for row in range(bars.height)]
    closes = [float(close) for close in bars.close]
    side = [{"BUY": 1, "SELL": -1}.get(action or "", 0) for action in actions]
    stops = [close - 0.004 * each if each else None for close, each in zip(closes, side, strict=True)]
    first = [close + 0.002 * each if each else None for close, each in zip(closes, side, strict=True)]
    second = [close + 0.006 * each if each else None for close, each in zip(closes, side, strict=True)]
    decider = scripted(actions, stop_loss=stops, take_profit=first, take_profit_2=second)
    return backtest(bars, decider, **{"volume": 0.1, "spread_pips": 1.0, "commission_per_lot": 7.0, **changes})
