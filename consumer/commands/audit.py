"""`backtest audit`: does a strategy look ahead? The probe of engine.audit.probe for users' own strategies."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from consumer.commands.options import run_options as given
from consumer.commands.options.ready_run import read_run, show_unknown_symbol
from consumer.commands.options.run_request import ADVICE_OPTIONS, RunRequest, with_run_options
from engine.audit.probe import DEFAULT_MOMENTS, Audit, audit_strategy
from engine.deciders.chosen import ChosenStrategy
from engine.expressions.document import KEY as RULES
from engine.numeric.times import iso_time

app = typer.Typer(add_completion=False)


@app.command()
@with_run_options(without=("signals", *ADVICE_OPTIONS))
def audit(
    request: RunRequest,
    moments: Annotated[
        int, typer.Option(min=1, max=100_000, help="At how many bars the future begins to be another one.")
    ] = DEFAULT_MOMENTS,
    as_json: given.AsJsonOption = False,
) -> None:
    """Rewrite the future at many moments, and report the first decision of the past that changed.

    Options are those of `backtest run`: audit what you would run. What comes after each moment is cut off, replaced by
    a random walk, lifted, lowered, mirrored and played backwards. Of a row that leaves something to a language model
    the rule is audited; one without a rule is refused. Exit status: 0 clean, 1 a decision changed, 2 bad input.
    """
    strategy = request.strategy if request.rules is None else RULES
    if strategy is None and request.strategy_id is None:
        raise typer.BadParameter("give the --strategy KEY or the --rules FILE to audit", param_hint="'--strategy'")
    if request.strategy_id is not None:
        request = replace(request, skip_llm=True, explicit=request.explicit | {"skip_llm"})
    if not as_json:
        show_unknown_symbol(request)
    # What a strategy prints is not the finding: stdout holds nothing but that.
    with redirect_stdout(sys.stderr), _progress_bar() as show:
        ready = read_run(request)
        assert isinstance(ready.rule, ChosenStrategy)
        strategy = strategy or ready.specification.strategy_key or ""
        found = audit_strategy(
            ready.specification, ready.instrument, ready.data, ready.rule, moments=moments, on_probe=show
        )
    if as_json:
        sys.stdout.write(json.dumps({"strategy": strategy, **_as_json(found)}) + "\n")
    else:
        typer.echo(_line(strategy, found))
    raise typer.Exit(0 if found.finding is None else 1)


def _line(strategy: str, found: Audit) -> str:
    """All of it in one line."""
    if found.finding is not None and found.finding.defect != "look_ahead":
        return f"{strategy}: {found.finding}"
    unanswered = (
        f"; {found.unanswered} futures could not be tried, first: {found.unanswered_reason}" if found.unanswered else ""
    )
    tried = f"{found.probes - found.unanswered} other futures at {found.moments} moments"
    if found.finding is None:
        more = unanswered + "".join(f"; note: {note}" for note in found.notes)
        return f"{strategy}: no look-ahead found: {tried} changed none of {found.decisions} decisions{more}"
    return f"{strategy}: {found.finding} ({found.changed} of {tried} changed an earlier decision{unanswered})"


def _as_json(found: Audit) -> dict[str, Any]:
    """Times as ISO 8601, and the finding's own sentence."""
    figures = asdict(found)
    figures["clean"] = found.finding is None
    if found.finding is not None:
        finding = figures["finding"]
        finding["message"] = str(found.finding)
        for name in ("time", "moment"):
            moment_us = finding.pop(f"{name}_us")
            finding[name] = None if moment_us is None else iso_time(moment_us)
    return figures


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what to call after each probe, or None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    import rich.progress
    from rich.console import Console

    with rich.progress.Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Rewriting the future", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
