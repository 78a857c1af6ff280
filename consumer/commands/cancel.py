"""`backtest cancel`: ask for the end of a run, as any upstream service may."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import database_is_set, database_settings, kafka_settings
from consumer.commands.submitting import SOURCE
from consumer.errors import ConsumerError
from consumer.ports.history import History
from consumer.requests.sending import send_cancel, send_search_cancel
from consumer.wiring.broker import open_topics
from consumer.wiring.database import open_history
from engine.errors import InputRefused
from schemas.cancel_requested import CancelRequested, parse_cancel_requested
from schemas.json_text import printable
from schemas.optimization_cancel_requested import OptimizationCancelRequested
from schemas.problems import InvalidRequestError

app = typer.Typer(add_completion=False)


@app.command()
def cancel(
    run_id: Annotated[int | None, typer.Argument(help="The run.", show_default=False)] = None,
    request_id: Annotated[
        str | None, typer.Option(help="In place of a run or a search: the request that made it, or will.")
    ] = None,
    optimization_id: Annotated[int | None, typer.Option(help="In place of a run: a search.")] = None,
    reason: Annotated[str | None, typer.Option(help="Copied into the run's last event.")] = None,
) -> None:
    """Emit a cancel. One that comes before its request wins over it; one that comes too late changes nothing."""
    if optimization_id is not None:
        if run_id is not None or request_id is not None:
            raise typer.BadParameter("give a run, a search or a request", param_hint="'--optimization-id'")
        asyncio.run(_cancel_search(OptimizationCancelRequested(optimization_id=optimization_id, reason=reason)))
        follow = f"`backtest follow --optimization-id {optimization_id}`"
        typer.echo(f"the cancel of search {optimization_id} is sent; what became of it: {follow}", err=True)
        return
    data: dict[str, Any] = {"run_id": run_id, "request_id": request_id, "reason": reason}
    try:
        parsed = parse_cancel_requested({name: value for name, value in data.items() if value is not None})
    except InvalidRequestError as error:
        raise InputRefused(f"cancel: {error}") from error
    topics = open_topics(kafka_settings())

    async def send() -> None:
        await topics.prepare()
        await send_cancel(topics, parsed, str(uuid4()), source=SOURCE, now=SystemClock().now_utc())

    asyncio.run(send())
    typer.echo(asyncio.run(_what_comes_of_it(parsed)), err=True)


async def _cancel_search(cancel: OptimizationCancelRequested) -> None:
    topics = open_topics(kafka_settings())
    await topics.prepare()
    await send_search_cancel(topics, cancel, str(uuid4()), source=SOURCE, now=SystemClock().now_utc())


async def _what_comes_of_it(cancel: CancelRequested) -> str:
    """What a person can expect, as far as it is known: cancels need no database, but where one is set it is asked."""
    target = f"run {cancel.run_id}" if cancel.run_id is not None else f"request {printable(cancel.request_id or '')}"
    sent = f"the cancel of {target} is sent"
    if not database_is_set():
        return f"{sent}; what became of it: {_follow(cancel)}"
    try:
        async with open_history(database_settings()) as history:
            return f"{sent}; {await expectation(history, cancel)}"
    except (ConsumerError, TimeoutError) as error:
        return f"{sent}; the database was asked about it in vain: {error}"


async def expectation(history: History, cancel: CancelRequested) -> str:
    """What a cancel will do, by what the tables say now."""
    if cancel.run_id is None:
        known = await history.known_requests([cancel.request_id or ""])
        if not known:
            return "no such request has come yet: the cancel is kept and wins over it if it does"
        return f"what became of it: {_follow(cancel)}"
    run = await history.run(cancel.run_id)
    if run is None:
        return "there is no such run: the cancel is kept for a request that names it"
    if run["status"] in {"completed", "failed", "cancelled"}:
        return f"it is {run['status']} already, and stays so"
    if run["request_id"] is None:
        return "no request for it has come yet: the cancel is kept and wins over it if it does"
    return f"it is {run['status']}; what became of it: {_follow(cancel)}"


def _follow(cancel: CancelRequested) -> str:
    if cancel.run_id is not None:
        return f"`backtest follow {cancel.run_id}`"
    return f"`backtest follow --request-id {printable(cancel.request_id or '')}`"
