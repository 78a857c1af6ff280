"""`backtest cancel`: ask for the end of a run, as any upstream service may."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import kafka_settings
from consumer.commands.submitting import SOURCE
from consumer.requests.sending import send_cancel
from consumer.wiring.broker import open_topics
from engine.errors import InputRefused
from schemas.cancel_requested import parse_cancel_requested
from schemas.problems import InvalidRequestError

app = typer.Typer(add_completion=False)


@app.command()
def cancel(
    run_id: Annotated[int | None, typer.Argument(help="The run.", show_default=False)] = None,
    request_id: Annotated[
        str | None, typer.Option(help="In place of a run: the request that made it, or will.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Copied into the run's last event.")] = None,
) -> None:
    """Emit a cancel. One that comes before its request wins over it; one that comes too late changes nothing."""
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
    typer.echo("the cancel is sent", err=True)
