"""What `backtest run` shows: one JSON object on stdout, or a table and a progress bar on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from consumer.commands.display.spread import spread_text
from consumer.reports.figure_groups import Unit, ambiguity, figure_groups, figure_text
from engine.results.result import BacktestResult
from engine.specification import SpreadSource
from engine.watch import OnProgress, Progress


def print_json(result: BacktestResult) -> None:
    """One object on one line; floats as their shortest text that reads back as the same double."""
    sys.stdout.write(json.dumps(result.to_json_dict(), allow_nan=False) + "\n")


def print_table(result: BacktestResult) -> None:
    """What was run, its warnings, then the figures in groups, for people, on stderr: stdout is for `--json`."""
    from rich.console import Console  # here: --json need not pay for it
    from rich.table import Table

    console = Console(stderr=True)
    figures, currency = result.to_json_dict(), result.specification.account_currency
    for line in _heading(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if (interval := ambiguity(figures, currency)) is not None:
        console.print(interval, style="yellow", markup=False, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    for group in figure_groups(figures, currency):
        table.add_section()
        table.add_row(group.title, "", style="bold")
        for label, value in group.rows:
            table.add_row(label, value)
    console.print(table)
    # Whole and on one line, whatever the width: to be compared, copied and searched for.
    console.print(f"result digest: {figures['result_digest']}", soft_wrap=True, highlight=False)
    if result.strategy_version is not None:
        console.print(f"strategy version: {result.strategy_version}", soft_wrap=True, highlight=False)


def _heading(result: BacktestResult) -> list[str]:
    """Who decided, on what, over which range; how it was filled and at what costs."""
    asked, currency = result.specification, result.specification.account_currency
    decided = f"{asked.strategy_key} {json.dumps(asked.strategy_params)}" if asked.strategy_key else "signals of a file"
    pips = None if asked.spread_source is SpreadSource.BARS else asked.spread_pips
    spread = spread_text(pips, result.instrument)
    size = f"{asked.risk_pct:.2%} of equity a trade" if asked.risk_pct is not None else f"{asked.volume:g} lots a trade"
    commission = figure_text(asked.commission_per_lot, Unit.MONEY, currency)
    deposit = figure_text(asked.initial_balance, Unit.MONEY, currency)
    return [
        f"{decided} on {asked.symbol} {asked.timeframe}, {_minute(asked.start)} to {_minute(asked.end)} UTC",
        f"{asked.execution_mode}, {spread}, commission {commission} a lot, deposit {deposit}, {size}",
    ]


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


@contextmanager
def progress_bar() -> Iterator[OnProgress | None]:
    """Yield what to call between chunks, or None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    import rich.progress
    from rich.console import Console

    with rich.progress.Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Simulating", total=None)

        def show(now: Progress) -> None:
            bar.update(task, completed=now.bars_done, total=now.bars_total)

        yield show
