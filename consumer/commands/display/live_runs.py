"""How commands show runs while they live: progress bars on a terminal, a line an event elsewhere, or JSON."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, assert_never

import typer
from rich.progress import Progress, TaskID

from consumer.commands.display.live_bars import live_bars
from consumer.requests.states import RunKey, is_terminal, key_of
from consumer.requests.watching import Show
from schemas import cancelled, completed, failed, progress, rejected, started
from schemas.json_text import printable
from schemas.outgoing import EventData
from schemas.run_event import AdvisedRunEvent

BARS_OF_ENDED_RUNS = 12
"""More of them scroll away above, so that the running ones stay in sight."""


@contextmanager
def run_bars(labels: dict[str, str] | None = None) -> Iterator[Show]:
    """One live bar a run on standard error where that is a terminal; else lines, for each tenth and each change.

    labels: what to call the run of each request_id; with labels, each gets its bar at once.
    """
    named = labels or {}
    if not sys.stderr.isatty():
        yield _RunLines(named).show
        return
    with live_bars() as bars:
        yield _RunBars(bars, named).show


def json_line(value: bytes | None) -> str:
    """The event as the topic has it, on one line."""
    return json.dumps(json.loads(value or b"null"), ensure_ascii=True)


def event_line(event: EventData, label: str | None = None) -> str:
    """One line for people: which run, and what is new of it."""
    return f"{label or title(event)}: {news(event)}"


def warning_lines(event: EventData) -> list[str]:
    """What a careful person would want to know before believing the figures of a run that completed."""
    return (
        [printable(f"  warning: {each}") for each in event.warnings] if isinstance(event, completed.Completed) else []
    )


def title(event: EventData) -> str:
    """Which run or request the event is about."""
    if isinstance(event, rejected.Rejected):
        return printable(f"request {event.request_id}")
    return printable(f"run {event.run_id} {event.symbol} {event.timeframe}")


def news(event: EventData) -> str:
    """What the event says, in a few words."""
    match event:
        case started.Started():
            return "started" if event.attempt == 1 else f"started again (attempt {event.attempt})"
        case progress.Progress():
            at = f" at {event.simulated_time:%Y-%m-%d}" if event.simulated_time is not None else ""
            equity = f", equity {event.equity:,.2f}" if event.equity is not None else ""
            return f"{event.progress_pct} %{at}{equity}, {_trades(event.trades)}{_calls(event)}"
        case completed.Completed():
            trades, profit = event.metrics.get("total_trades"), event.metrics.get("net_profit")
            gained = f", net profit {profit:+,.2f}" if isinstance(profit, int | float) else ""
            return f"completed: {_trades(trades)}{gained}{_calls(event)} ({event.duration_seconds:.2f} s)"
        case failed.Failed() | rejected.Rejected():
            return printable(f"{event.status}: {event.error.code}: {event.error.message}")
        case cancelled.Cancelled():
            return printable(f"cancelled: {event.reason}")
        case _:
            assert_never(event)


def _calls(event: AdvisedRunEvent) -> str:
    """Of a run that a language model has a say in: how often it was asked, and what that cost."""
    if "llm_calls_used" not in event.model_fields_set:
        return ""
    cost = "" if event.llm_cost is None else f", {event.llm_cost:.4f}"
    cached = f" and {event.llm_calls_cached} cached" if event.llm_calls_cached else ""
    return f", {event.llm_calls_used} model call{'' if event.llm_calls_used == 1 else 's'}{cached}{cost}"


def _trades(count: Any) -> str:
    return f"{count} trade" if count == 1 else f"{count} trades"


@dataclass(slots=True)
class _RunLines:
    """A line for each event that a reader of a log would miss."""

    labels: dict[str, str]
    tenths: dict[RunKey, tuple[int, int]] = field(default_factory=dict, init=False)
    """(attempt, tenths of the run) last told."""

    def show(self, event: EventData) -> None:
        reached = (event.attempt, event.progress_pct // 10)
        if isinstance(event, progress.Progress) and self.tenths.get(key_of(event)) == reached:
            return
        self.tenths[key_of(event)] = reached
        label = self.labels.get(event.request_id)
        for line in (event_line(event, label and label.rstrip()), *warning_lines(event)):
            typer.echo(line, err=True)


@dataclass(slots=True)
class _RunBars:
    """Which bar is whose. A bar goes by request_id until the run is known, since that is what the sender knows."""

    bars: Progress
    labels: dict[str, str]
    tasks: dict[RunKey, TaskID] = field(default_factory=dict, init=False)
    waiting: dict[str, TaskID] = field(default_factory=dict, init=False)
    ended: list[RunKey] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.waiting = {
            request_id: self.bars.add_task(label, total=100, start=False, news="queued")
            for request_id, label in self.labels.items()
        }

    def show(self, event: EventData) -> None:
        task = self._task_of(event)
        self.bars.update(task, completed=event.progress_pct, news=news(event))
        if is_terminal(event):
            self.bars.stop_task(task)
            self._warn(event)
            self._retire(key_of(event))

    def _warn(self, event: EventData) -> None:
        """Above the bars, and so with the run's name; bars come and go, what stands above them stays."""
        for line in warning_lines(event):
            told = f"{title(event)}: {line.strip()}"
            self.bars.console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _task_of(self, event: EventData) -> TaskID:
        key = key_of(event)
        if key not in self.tasks:
            waiting = self.waiting.pop(event.request_id, None)
            new = waiting if waiting is not None else self.bars.add_task(title(event), total=100, start=False, news="")
            self.tasks[key] = new
            self.bars.start_task(new)
        return self.tasks[key]

    def _retire(self, key: RunKey) -> None:
        self.ended.append(key)
        if not self.labels and len(self.ended) > BARS_OF_ENDED_RUNS:
            self.bars.remove_task(self.tasks.pop(self.ended.pop(0)))
