"""What `backtest run` shows: one JSON object on stdout, or a table and a progress bar on stderr."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from consumer.reports.figure_groups import ambiguity, figure_groups
from consumer.reports.heading import heading
from engine.results.result import BacktestResult
from engine.watch import OnProgress, Progress


def print_json(result: BacktestResult) -> None:
    """One object on one line; floats as their shortest text that reads back as the same double."""
    sys.stdout.write(json.dumps(result.to_json_dict(), allow_nan=False) + "\n")


def print_table(result: BacktestResult, full_params: Mapping[str, Any]) -> None:
    """What was run, its warnings, then the figures in groups, for people, on stderr: stdout is for `--json`.

    full_params: of whoever decided, with the defaults.
    """
    from rich.console import Console  # here: --json need not pay for it
    from rich.table import Table

    console = Console(stderr=True)
    figures, currency = result.to_json_dict(), result.specification.account_currency
    for line in heading(result.specification, full_params, result.instrument):
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
