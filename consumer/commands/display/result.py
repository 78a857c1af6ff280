"""What `backtest run` shows: one JSON object on stdout, or a table and a progress bar on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.results.result import BacktestResult
from engine.watch import OnProgress, Progress

_LISTED = ("null_reasons", "warnings", "result_digest", "strategy_version")


def print_json(result: BacktestResult) -> None:
    """One object on one line; floats as their shortest text that reads back as the same double."""
    sys.stdout.write(json.dumps(result.to_json_dict(), allow_nan=False) + "\n")


def print_table(result: BacktestResult) -> None:
    """The figures for people, on stderr: stdout is for machines (`--json`)."""
    from rich.console import Console  # here: --json need not pay for it
    from rich.table import Table

    console = Console(stderr=True)
    figures = result.to_json_dict()
    reasons: dict[str, str] = figures["null_reasons"]
    table = Table(
        title=f"{result.specification.symbol} {result.specification.timeframe}, {figures['total_trades']} trades",
        show_header=False,
    )
    for name, value in figures.items():
        if name not in _LISTED and not isinstance(value, dict | list):
            table.add_row(name.replace("_", " "), _shown(value, reasons.get(name, "")))
    console.print(table)
    # Whole and on one line, whatever the width: to be compared, copied and searched for.
    console.print(f"result digest: {figures['result_digest']}", soft_wrap=True, highlight=False)
    if result.strategy_version is not None:
        console.print(f"strategy version: {result.strategy_version}", soft_wrap=True, highlight=False)
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)


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


def _shown(value: Any, reason: str) -> str:
    if value is None:
        return f"- ({reason})" if reason else "-"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)
