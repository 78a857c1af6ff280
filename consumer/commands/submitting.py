"""Sends a request and, where asked to, shows it to its end: what `backtest submit` and `backtest rerun` share. How an
end is told they share with `submit-optimization`.
"""

import json
import sys
from typing import Any, Final

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import kafka_settings
from consumer.commands.display.live_runs import run_bars
from consumer.requests.search_states import SearchEnd
from consumer.requests.sending import send_request
from consumer.requests.watching import SILENCE_SECONDS, DeadLettered, deadline_after, watch_request
from consumer.wiring.broker import open_topics
from schemas.completed import Completed
from schemas.optimization_events import OptimizationCompleted
from schemas.outgoing import TerminalEvent
from schemas.requested import BacktestRequested
from schemas.topics import Topic

SOURCE: Final = "backtest-cli"


async def submit_and_report(
    request: BacktestRequested,
    request_id: str,
    *,
    is_new: bool,
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
    source: str = SOURCE,
) -> int:
    """Send the request, print its id, wait where asked to, and return the exit status.

    is_new: the id was made just now, so that no answers to it can be there already.
    """
    clock = SystemClock()
    topics = open_topics(kafka_settings())
    await topics.prepare()
    if not wait:
        partition, offset = await send_request(topics, request, request_id, source=source, now=clock.now_utc())
        sent = {"request_id": request_id, "topic": str(Topic.REQUESTED), "partition": partition, "offset": offset}
        typer.echo(json.dumps(sent) if as_json else request_id)
        return 0
    async with watch_request(topics, request_id, clock, may_be_known=not is_new) as watch:
        sent_to = await send_request(topics, request, request_id, source=source, now=clock.now_utc())
        if not as_json:
            typer.echo(request_id)
            sys.stdout.flush()
        with run_bars() as show:
            ended = await watch.until_end(sent_to, show, deadline_after(wait_timeout, clock), say_nobody_answers)
    return report_end(ended, request_id, wait_timeout, as_json=as_json)


def say_nobody_answers() -> None:
    """The request waits in the topic for as long as it takes; who waits for it should know what for."""
    typer.echo(
        f"backtest: nothing has answered for {SILENCE_SECONDS:g} s; the queue may be long, or no worker is running"
        " (see `backtest doctor`; `backtest worker` starts one). Still waiting",
        err=True,
    )


def report_end(
    ended: TerminalEvent | SearchEnd | DeadLettered | None,
    request_id: str,
    wait_timeout: float | None,
    *,
    as_json: bool,
) -> int:
    """Say how a run or a search that was waited for has ended; None: not in time. Returns the exit status."""
    match ended:
        case None:
            data: dict[str, Any] = {"request_id": request_id, "status": "timeout"}
            typer.echo(f"backtest: not ended after {wait_timeout:g} s; it goes on", err=True)
        case DeadLettered(reason, message):
            data = {"request_id": request_id, "status": "dead_lettered", "reason": reason, "message": message}
            typer.echo(f"backtest: the request went to the dead-letter topic: {reason}: {message}", err=True)
        case _:
            data = ended.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(data))
    return 0 if isinstance(ended, (Completed, OptimizationCompleted)) else 1
