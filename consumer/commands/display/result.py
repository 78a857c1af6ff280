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


def print_json(result: BacktestResult, advice: Mapping[str, Any]) -> None:
    """One object on one line; floats as their shortest text that reads back as the same double.

    advice: what asking a model came to, further fields of the object; empty where nobody was asked.
    """
    sys.stdout.write(json.dumps({**result.to_json_dict(), **advice}, allow_nan=False) + "\n")


def print_table(result: BacktestResult, full_params: Mapping[str, Any], advice: Mapping[str, Any]) -> None:
    """What was run, its warnings, then the figures in groups, for people, on stderr: stdout is for `--json`.

    full_params: of whoever decided, with the defaults. advice: as print_json has it.
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
    if advice:
        table.add_section()
        table.add_row("language model", "", style="bold")
        for label, value in _advice_rows(advice, currency):
            table.add_row(label, value)
    console.print(table)
    # Whole and on one line, whatever the width: to be compared, copied and searched for.
    console.print(f"result digest: {figures['result_digest']}", soft_wrap=True, highlight=False)
    if result.strategy_version is not None:
        console.print(f"strategy version: {result.strategy_version}", soft_wrap=True, highlight=False)


def _advice_rows(advice: Mapping[str, Any], currency: str) -> Iterator[tuple[str, str]]:
    cost = advice["llm_cost"]
    yield "calls", f"{advice['llm_calls_used']:,} sent, {advice['llm_calls_cached']:,} answers from earlier ones"
    yield "tokens", f"{advice['llm_input_tokens']:,} read, {advice['llm_output_tokens']:,} written"
    yield (
        "cost",
        "not known (BACKTEST_LLM_INPUT_PRICE and _OUTPUT_PRICE were not set)"
        if cost is None
        else f"{cost:,.4f} {currency}",
    )
    alone = advice.get("rule_only")
    if alone is not None:
        yield "the rule alone", f"{alone['net_profit']:,.2f} {currency} net in {alone['total_trades']:,} trades"


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
