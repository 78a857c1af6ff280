"""What became of the money, as curves and tables: equity, drawdown, months and the ledger of a completed run."""

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl

from consumer.ports.run_tables import RunTables
from consumer.reports.completed import CompletedRun
from consumer.reports.drawdowns import deepest_drawdowns
from consumer.reports.tables import Table, one_part
from consumer.reports.thinning import thinned
from engine.numeric.sums import exact_sum

DEEPEST_TOLD: Final = 10


def equity_table(run: CompletedRun, tables: RunTables, max_points: int | None = None) -> Table:
    """time (of the bar), balance and equity after all that happened at its close, and buy_and_hold: the deposit, had
    it followed the price from the first bar's open to this bar's close, as buy_and_hold_return_pct reckons.

    Thinned by equity. Raises FilesGone, ArtifactsUnavailable, as all here.
    """
    return one_part(thinned(equity_frame(run, tables), "equity", max_points))


def equity_frame(run: CompletedRun, tables: RunTables) -> pl.DataFrame:
    equity = read_equity(run, tables)
    with tables.bars(run.bars_place) as bars:
        closes = pl.concat(
            [pl.DataFrame({"open": [], "close": []}, schema=_PRICES), *bars.parts(columns=("open", "close"))]
        )
    first_open = closes["open"][0] if closes.height else np.nan
    held = run.deposit * closes["close"].head(equity.height) / first_open
    return equity.with_columns(held.alias("buy_and_hold"))


def read_equity(run: CompletedRun, tables: RunTables) -> pl.DataFrame:
    """time, balance, equity: a row a simulated bar."""
    with tables.table(run.run_id, run.epoch, "equity") as equity:
        return equity.collect()


def drawdown_table(run: CompletedRun, tables: RunTables, max_points: int | None = None) -> Table:
    """time, drawdown (money below the highest equity so far, the deposit being the first) and drawdown_pct of that
    peak; and the deepest stretches below a peak. Thinned by drawdown_pct.
    """
    equity = read_equity(run, tables)
    values = equity["equity"].to_numpy()
    peak = np.maximum(np.maximum.accumulate(values), run.deposit) if values.size else values
    money = np.round(peak - values, 8)
    share = np.divide(money, peak, out=np.zeros_like(money), where=peak > 0.0) * 100.0
    frame = pl.DataFrame({"time": equity["time"], "drawdown": money, "drawdown_pct": share})
    return one_part(thinned(frame, "drawdown_pct", max_points), deepest=deepest_told(equity, run.deposit))


def deepest_told(equity: pl.DataFrame, deposit: float) -> list[dict[str, Any]]:
    return [asdict(fall) for fall in deepest_drawdowns(equity, deposit, DEEPEST_TOLD)]


def monthly_table(run: CompletedRun, tables: RunTables, max_points: int | None = None) -> Table:
    """year, month, net (sum of profit), trades and return_pct (net in per cent of the balance that the month began
    with) of the trades that left in each month of UTC, by exit_time; no row for a month without any. Thinned by net.
    """
    with tables.table(run.run_id, run.epoch, "trades") as trades:
        found = trades.select("exit_time", "profit").collect()
    return one_part(thinned(months_of(found, run.deposit), "net", max_points))


def months_of(trades: pl.DataFrame, deposit: float) -> pl.DataFrame:
    """trades: exit_time and profit, in any order."""
    month = pl.col("exit_time").dt.truncate("1mo")
    rows = []
    balance = deposit
    for (began,), group in trades.sort("exit_time", maintain_order=True).group_by(month, maintain_order=True):
        net = round(exact_sum(group["profit"].to_numpy()), 8)
        share = net / balance * 100.0 if balance > 0.0 else None
        rows.append((began.year, began.month, net, group.height, share))
        balance = round(balance + net, 8)
    return pl.DataFrame(rows, schema=_MONTH, orient="row")


def ledger_table(run: CompletedRun, tables: RunTables, max_points: int | None = None) -> Table:
    """time, position_id, kind, amount, balance of every booked item. Thinned by balance."""
    return one_part(thinned(tables.ledger(run.run_id, run.epoch), "balance", max_points))


_PRICES: Final = {"open": pl.Float64, "close": pl.Float64}
_MONTH: Final = {
    "year": pl.Int64,
    "month": pl.Int64,
    "net": pl.Float64,
    "trades": pl.Int64,
    "return_pct": pl.Float64,
}
