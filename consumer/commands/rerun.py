"""`backtest rerun`: run again what a run was, as a new request."""

import asyncio
from typing import Annotated
from uuid import uuid4

import typer

from consumer.commands.connections import database_settings
from consumer.commands.submitting import submit_and_report
from consumer.requests.repeating import repeat_run
from consumer.settings import DatabaseSettings
from consumer.wiring.database import open_history

app = typer.Typer(add_completion=False)


@app.command()
def rerun(
    run_id: Annotated[int, typer.Argument(help="The run to repeat.")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow the new run to its end.")] = False,
    wait_timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As `backtest submit --json`.")] = False,
) -> None:
    """Emit a new request with the configuration of a run: its row, and what its request said beside the row.

    The strategy is taken as it is now; where it or the bars changed since, the result digest tells.
    """
    settings = database_settings()
    status = asyncio.run(_rerun(settings, run_id, wait=wait, wait_timeout=wait_timeout, as_json=as_json))
    raise typer.Exit(status)


async def _rerun(
    settings: DatabaseSettings, run_id: int, *, wait: bool, wait_timeout: float | None, as_json: bool
) -> int:
    async with open_history(settings) as history:
        request = await repeat_run(history, run_id)
    return await submit_and_report(
        request,
        str(uuid4()),
        is_new=True,
        wait=wait or wait_timeout is not None,
        wait_timeout=wait_timeout,
        as_json=as_json,
    )
