"""`backtest rerun`: run again what a run was, as a new request; a row itself executes once."""

import asyncio
import json
from typing import Annotated, Any
from uuid import uuid4

import typer

from consumer.adapters.postgres.reading import find_run, request_of
from consumer.commands.connections import database_settings
from consumer.commands.sending import submit_and_report
from consumer.rules.columns import REPEATABLE_COLUMNS
from engine.errors import InputRefused
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested

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
    status = asyncio.run(
        _rerun(settings.database_url.get_secret_value(), run_id, wait=wait, wait_timeout=wait_timeout, as_json=as_json)
    )
    raise typer.Exit(status)


async def _rerun(database_url: str, run_id: int, *, wait: bool, wait_timeout: float | None, as_json: bool) -> int:
    row = await find_run(database_url, run_id)
    if row is None:
        raise InputRefused(f"there is no run {run_id}")
    request = repeated_request(row, await request_of(database_url, run_id) or {})
    return await submit_and_report(
        request,
        str(uuid4()),
        is_new=True,
        wait=wait or wait_timeout is not None,
        wait_timeout=wait_timeout,
        as_json=as_json,
    )


def repeated_request(row: dict[str, Any], content: dict[str, Any]) -> BacktestRequested:
    """A request without run_id that asks for what the row and the content of its request say. Raises InputRefused."""
    beside = {name: value for name, value in content.items() if name not in {"run_id", "request_id", "primary_tf"}}
    columns = {name: row[name] for name in REPEATABLE_COLUMNS}
    try:
        return parse_requested({**beside, **columns, "context_tfs": json.loads(row["context_tfs"])})
    except (InvalidRequestError, ValueError) as error:
        raise InputRefused(f"run {row['id']} cannot be asked for again: {error}") from error
