"""How commands show searches while they live: a line an event; the verdict stands before the best figure."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, assert_never

import typer
from rich.progress import Progress, TaskID

from consumer.commands.display.live_bars import live_bars
from consumer.requests.search_states import is_end_of_search
from schemas import optimization_events as events
from schemas.json_text import printable
from schemas.outgoing import SearchEventData


@contextmanager
def search_bar() -> Iterator[Callable[[SearchEventData], None]]:
    """Yield what shows the events of one search: a live bar on standard error where that is a terminal; else lines, for
    each tenth and each change. The end is told in lines, verdict first, either way.
    """
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    with live_bars() as bars:
        yield _Bar(bars).show


@dataclass(slots=True)
class _Lines:
    """A line for each event that a reader of a log would miss."""

    tenth: int | None = None

    def show(self, event: SearchEventData) -> None:
        reached = event.progress_pct // 10
        if isinstance(event, events.OptimizationProgress) and self.tenth == reached:
            return
        self.tenth = reached
        typer.echo("\n".join(search_lines(event)), err=True)


@dataclass(slots=True)
class _Bar:
    """The bar of the one search."""

    bars: Progress
    task: TaskID | None = field(default=None, init=False)

    def show(self, event: SearchEventData) -> None:
        if is_end_of_search(event):
            if self.task is not None:
                self.bars.remove_task(self.task)
            for line in search_lines(event):
                self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        if self.task is None:
            self.task = self.bars.add_task(_title(event), total=100, news="")
        self.bars.update(self.task, completed=event.progress_pct, news=_in_work(event))


def search_lines(event: SearchEventData) -> list[str]:
    """What the event says, for people: verdict and warnings first."""
    told = f"{_title(event)}: {_news(event)}"
    if not isinstance(event, events.OptimizationCompleted):
        return [told]
    verdict = event.statistics.get("verdict")
    first = [printable(f"{_title(event)}: verdict: {verdict}")] if verdict else []
    warnings = [printable(f"  warning: {each}") for each in event.warnings]
    return [*first, *warnings, told]


def params_text(params: Mapping[str, Any] | None) -> str:
    """Parameters on one line."""
    if params is None:
        return "none"
    return printable(", ".join(f"{name} {json.dumps(value)}" for name, value in params.items()))


def _title(event: SearchEventData) -> str:
    if isinstance(event, events.OptimizationRejected):
        return printable(f"request {event.request_id}")
    return printable(f"search {event.optimization_id} {event.symbol} {event.timeframe}")


def _in_work(event: SearchEventData) -> str:
    """What a search that goes on says beside its bar."""
    if not isinstance(event, events.OptimizationProgress):
        return "started"
    pace = event.combinations_per_second
    rate = f", {pace:,.0f} a second" if pace and pace >= 10 else f", {pace:.2g} a second" if pace else ""
    left = f", {event.eta_seconds:,.0f} s left" if event.eta_seconds is not None else ""
    best = f", best so far {event.best_value:.4g}" if event.best_value is not None else ""
    return f"{event.combinations_done:,} of {event.combinations_total:,} combinations{rate}{left}{best}"


def _news(event: SearchEventData) -> str:
    match event:
        case events.OptimizationStarted():
            return "started"
        case events.OptimizationProgress():
            return f"{event.progress_pct} %, {_in_work(event)}"
        case events.OptimizationCompleted():
            failed = f", {event.failed_combinations:,} failed" if event.failed_combinations else ""
            if event.best_value is None:
                return f"completed: there is no best{failed} ({event.duration_seconds:.1f} s)"
            best = f"best {event.best_value:.4g} with {params_text(event.best_params)}"
            run = f", run {event.best_run_id}" if event.best_run_id is not None else ""
            return f"completed: {best}{run}{failed} ({event.duration_seconds:.1f} s)"
        case events.OptimizationFailed() | events.OptimizationRejected():
            return printable(f"{event.status}: {event.error.code}: {event.error.message}")
        case events.OptimizationCancelled():
            return printable(f"cancelled: {event.reason}")
        case _:
            assert_never(event)
