"""`backtest report`: one run in words and tables: what was asked, the figures, its trades, its drawdowns."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from consumer.adapters.files.artifacts import ArtifactFiles, run_file
from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.adapters.files.table_output import check_table_path, write_table
from consumer.adapters.postgres.reading import find_run, trades_of
from consumer.commands.connections import database_settings
from consumer.commands.display.columns import text_columns
from consumer.commands.runs import json_text
from consumer.settings import StoreSettings, load_settings
from engine.errors import InputRefused
from schemas.json_text import printable

app = typer.Typer(add_completion=False)

DEEPEST_SHOWN = 5
_FIGURES = (
    "total_trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "total_return_pct",
    "max_drawdown_pct",
    "recovery_factor",
    "sharpe_ratio",
    "sortino_ratio",
    "avg_win",
    "avg_loss",
    "max_consec_wins",
    "max_consec_losses",
    "avg_spread",
)


@dataclass(frozen=True, slots=True)
class TradeGroup:
    """Trades that share a direction or an exit reason; money in account currency."""

    group: str
    trades: int
    wins: int
    net_profit: float
    best: float
    worst: float


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A stretch of equity below its last peak. recovered: None while it lasts at the end."""

    percent: float
    amount: float
    peak: datetime
    trough: datetime
    recovered: datetime | None


@app.command()
def report(
    run_id: Annotated[int, typer.Argument(help="The run.")],
    ledger: Annotated[
        Path | None, typer.Option(help="Write every booked item to this .csv or .parquet file, in place of the report.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say how a run went, by its row, its trades, and the equity among its artefacts."""
    if ledger is not None:
        check_table_path(ledger)
    url = database_settings().database_url.get_secret_value()
    row = asyncio.run(find_run(url, run_id))
    if row is None:
        raise InputRefused(f"there is no run {run_id}")
    if ledger is not None:
        _write_ledger(row, ledger)
        return
    trades = asyncio.run(trades_of(url, run_id))
    groups = [*trade_groups(trades, "direction"), *trade_groups(trades, "exit_reason")]
    equity = _equity_of(row)
    falls = [] if equity is None else deepest_drawdowns(equity, row["initial_balance"], DEEPEST_SHOWN)
    if as_json:
        told = {
            "run": row,
            "groups": [asdict(group) for group in groups],
            "drawdowns": [asdict(fall) for fall in falls],
        }
        sys.stdout.write(json.dumps(told, default=json_text) + "\n")
        return
    typer.echo("\n\n".join(_sections(row, groups, equity, falls)))


def trade_groups(trades: Sequence[Mapping[str, Any]], column: str) -> list[TradeGroup]:
    """Trades by the values of a column, the most frequent value first."""
    names = sorted({trade[column] for trade in trades})
    groups = [_group(name, [trade["profit"] for trade in trades if trade[column] == name]) for name in names]
    return sorted(groups, key=lambda group: -group.trades)


def deepest_drawdowns(equity: pl.DataFrame, deposit: float, count: int) -> list[Drawdown]:
    """The deepest stretches below a peak, by percent of that peak; the first peak is the deposit, at the first bar.

    equity: columns time and equity, in order of time. The deepest is the run's max_drawdown_pct.
    """
    found: list[Drawdown] = []
    peak_row = trough_row = 0
    times = [*equity["time"][:1].to_list(), *equity["time"].to_list()]
    values = [deposit, *equity["equity"].to_list()]
    for row, value in enumerate(values[: len(times)]):
        if value >= values[peak_row]:
            found += _stretch(times, values, peak_row, trough_row, times[row])
            peak_row = trough_row = row
        elif value < values[trough_row]:
            trough_row = row
    found += _stretch(times, values, peak_row, trough_row, None) if times else ()
    return sorted(found, key=lambda fall: -fall.percent)[:count]


def _stretch(
    times: Sequence[datetime], values: Sequence[float], peak_row: int, trough_row: int, recovered: datetime | None
) -> Iterator[Drawdown]:
    peak, amount = values[peak_row], values[peak_row] - values[trough_row]
    if amount > 0 and peak > 0:
        yield Drawdown(amount / peak * 100, amount, times[peak_row], times[trough_row], recovered)


def _group(name: str, profits: Sequence[float]) -> TradeGroup:
    wins = sum(profit > 0 for profit in profits)
    return TradeGroup(name, len(profits), wins, sum(profits), max(profits), min(profits))


def _write_ledger(row: Mapping[str, Any], path: Path) -> None:
    if row["status"] != "completed" or row["epoch"] is None:
        raise InputRefused(f"run {row['id']} has no ledger: it is {row['status']}")
    files = ArtifactFiles(load_settings(StoreSettings).artifacts_url)
    write_table(files.read_ledger(row["id"], row["epoch"]), path)


def _equity_of(row: Mapping[str, Any]) -> pl.DataFrame | None:
    """The equity at every bar; None where the run has none, or its file cannot be read from here."""
    if row["status"] != "completed" or row["epoch"] is None:
        return None
    name = run_file(row["id"], row["epoch"], "equity")
    files = open_file_store(load_settings(StoreSettings).artifacts_url)
    try:
        return pl.read_parquet(BytesIO(files.read(name)))
    except FileStoreError as error:
        typer.echo(f"no drawdowns without the run's artefacts (BACKTEST_ARTIFACTS_URL): {error}", err=True)
        return None


def _sections(
    row: Mapping[str, Any], groups: Sequence[TradeGroup], equity: pl.DataFrame | None, falls: Sequence[Drawdown]
) -> Iterator[str]:
    yield _heading(row)
    if row["status"] == "completed":
        figures = [(name.replace("_", " "), _number(row[name])) for name in _FIGURES]
        yield text_columns([("figure", "value"), *figures])
    if groups:
        yield text_columns([("trades", "count", "wins", "net profit", "best", "worst"), *map(_group_cells, groups)])
    if equity is not None and equity.height:
        yield f"equity  {sparkline(equity['equity'].to_list())}"
    if falls:
        yield text_columns([("drawdown %", "amount", "peak", "trough", "recovered"), *map(_fall_cells, falls)])
    if row["data_file_path"]:
        yield f"bars: {row['data_file_path']}"


def _heading(row: Mapping[str, Any]) -> str:
    bars = f"{row['symbol']} {row['timeframe']}, {row['start_date']:%Y-%m-%d} to {row['end_date']:%Y-%m-%d}"
    costs = f"spread {row['spread_pips']:g} pips, commission {row['commission_per_lot']:g} a lot"
    lines = [
        f"run {row['id']}: {printable(row['strategy_name'])} on {bars}, {row['execution_mode']}",
        f"{row['status']} ({row['progress_pct']} %), deposit {row['initial_balance']:,.2f}, {costs}",
    ]
    if row["error_message"]:
        lines.append(printable(row["error_message"]))
    return "\n".join(lines)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The course of the values in `width` characters at most: the last value of each stretch."""
    picked = (
        [values[(column + 1) * len(values) // width - 1] for column in range(width)] if len(values) > width else values
    )
    low, high = min(picked), max(picked)
    steps = "▁▂▃▄▅▆▇█"
    return "".join(
        steps[round((value - low) / (high - low) * (len(steps) - 1)) if high > low else 0] for value in picked
    )


def _group_cells(group: TradeGroup) -> tuple[str, ...]:
    money = (f"{value:+,.2f}" for value in (group.net_profit, group.best, group.worst))
    return (group.group, str(group.trades), str(group.wins), *money)


def _fall_cells(fall: Drawdown) -> tuple[str, ...]:
    times = (
        f"{each:%Y-%m-%d %H:%M}" if each is not None else "not yet" for each in (fall.peak, fall.trough, fall.recovered)
    )
    return (f"{fall.percent:.2f}", f"{fall.amount:,.2f}", *times)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:,.4f}"
