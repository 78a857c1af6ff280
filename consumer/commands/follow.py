"""`backtest follow`: watch runs live, or rebuild what became of them from the topics."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import kafka_settings
from consumer.commands.display.live_runs import event_line, json_line, run_bars, warning_lines
from consumer.commands.display.live_searches import search_bar, search_lines
from consumer.ports import Clock
from consumer.ports.requests import Topics
from consumer.requests.event_feed import RUNS, EventFeed, News
from consumer.requests.search_states import SearchEnd
from consumer.requests.search_watching import follow_searches
from consumer.requests.states import is_terminal
from consumer.requests.watching import DeadLettered, Show, deadline_after
from consumer.wiring.broker import open_topics
from schemas.completed import Completed
from schemas.optimization_events import OptimizationCompleted
from schemas.outgoing import EventData, SearchEventData, TerminalEvent
from schemas.topics import Topic

app = typer.Typer(add_completion=False)

Wanted = Callable[[EventData], bool]
Ended = TerminalEvent | SearchEnd | DeadLettered | None


@app.command()
def follow(
    run_id: Annotated[int | None, typer.Argument(help="One run; without it, all of them.", show_default=False)] = None,
    request_id: Annotated[
        str | None, typer.Option(help="In place of a run: what became of one request, for a run or for a search.")
    ] = None,
    optimization_id: Annotated[int | None, typer.Option(help="In place of a run: one search.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="All that the topics hold, not only what comes from now on.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which to stop.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON line on stdout.")] = False,
) -> None:
    """Show each event of runs and searches once and in order, whatever the topics repeat. Ctrl-C stops it.

    One run, search or request is looked up in all that the topics hold, and followed to its end; exit status 0 when it
    completed, 1 when it ended otherwise or the time was over.
    """
    named = [each for each in (run_id, request_id, optimization_id) if each is not None]
    if len(named) > 1:
        raise typer.BadParameter("give a run, a search or a request, not both", param_hint="'--request-id'")
    topics, clock, is_one = open_topics(kafka_settings()), SystemClock(), bool(named)

    def is_wanted(event: EventData) -> bool:
        return not is_one or (event.request_id == request_id if run_id is None else event.run_id == run_id)

    def is_wanted_search(event: SearchEventData) -> bool:
        if optimization_id is None:
            return not is_one or event.request_id == request_id
        return event.optimization_id == optimization_id

    async def follow_both() -> Ended:
        """Of one that is named the first end counts: its id is a run's or a search's."""
        deadline = deadline_after(timeout, clock)
        say_nothing = _SayNothing(2 if request_id is not None else 1)
        begin = from_beginning or is_one
        ways: list[Coroutine[Any, Any, Ended]] = []
        if optimization_id is None:
            ways.append(
                follow_topics(
                    topics,
                    is_wanted,
                    clock,
                    from_beginning=begin,
                    until_end=is_one,
                    deadline=deadline,
                    as_json=as_json,
                    on_nothing=say_nothing,
                )
            )
        if run_id is None:
            # Where runs may come too, their bars have the terminal.
            has_terminal = sys.stdout.isatty() and sys.stderr.isatty()
            has_bar = optimization_id is not None and has_terminal and not as_json
            with search_bar() if has_bar else nullcontext() as bar:
                following = follow_searches(
                    topics,
                    is_wanted_search,
                    clock,
                    partial(show_search, bar=bar, as_json=as_json),
                    from_beginning=begin,
                    until_end=is_one,
                    deadline=deadline,
                    on_skipped=partial(typer.echo, err=True),
                    on_nothing=say_nothing if is_one else lambda: None,
                )
                return await _first_end([*ways, following])
        return await _first_end(ways)

    try:
        ended = asyncio.run(follow_both())
    except KeyboardInterrupt:
        return
    if is_one and not isinstance(ended, Completed | OptimizationCompleted):
        raise typer.Exit(1)


async def _first_end(ways: "list[Coroutine[Any, Any, Ended]]") -> "Ended":
    """What the first of them to find an end finds; None where none does."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        for next_one in asyncio.as_completed(tasks):
            if (ended := await next_one) is not None:
                return ended
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True)
class _SayNothing:
    """Called by each way that has read all and found nothing, it says so when all of them have."""

    ways: int

    def __call__(self) -> None:
        self.ways -= 1
        if self.ways == 0:
            typer.echo("nothing is known of it yet; waiting", err=True)


def show_search(
    news: News[SearchEventData], *, as_json: bool, bar: Callable[[SearchEventData], None] | None = None
) -> None:
    """A search's event on its bar, else on stdout."""
    if bar is not None:
        bar(news.event)
        return
    typer.echo(json_line(news.record.value) if as_json else "\n".join(search_lines(news.event)))
    sys.stdout.flush()


async def follow_topics(
    topics: Topics,
    is_wanted: Wanted,
    clock: Clock,
    *,
    from_beginning: bool,
    until_end: bool,
    deadline: float,
    as_json: bool,
    on_nothing: Callable[[], None] = lambda: None,
) -> TerminalEvent | None:
    """Show wanted events until the deadline, or the first terminal one, which is returned.

    on_nothing: called once where all is read and the one that is followed is nowhere.
    """
    async with topics.reading((Topic.PROGRESS, Topic.COMPLETED), from_beginning=from_beginning) as reader:
        feed = EventFeed(RUNS, reader, clock, on_skipped=partial(typer.echo, err=True))
        told_of_nothing = not until_end
        with _display(as_json=as_json, is_live=not from_beginning or until_end) as show:
            while (now := clock.monotonic()) < deadline:
                wanted = [news for news in await feed.read(min(0.5, deadline - now)) if is_wanted(news.event)]
                for news in wanted:
                    _show(news, show, as_json=as_json)
                    told_of_nothing = True
                    if until_end and is_terminal(news.event):
                        return news.event
                if feed.has_caught_up and not told_of_nothing:
                    told_of_nothing = True
                    on_nothing()
    return None


def _display(*, as_json: bool, is_live: bool) -> AbstractContextManager[Show | None]:
    """Bars for what is alive, on a terminal; a replay, and what a program reads, goes to stdout line by line."""
    has_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return run_bars() if is_live and has_terminal and not as_json else nullcontext(None)


def _show(news: News[EventData], show: Show | None, *, as_json: bool) -> None:
    if show is not None:
        show(news.event)
    else:
        lines = [json_line(news.record.value)] if as_json else [event_line(news.event), *warning_lines(news.event)]
        typer.echo("\n".join(lines))
        sys.stdout.flush()
