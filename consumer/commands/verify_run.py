"""`backtest replay --verify RUN_ID`: compute a completed run again, and name every figure that differs."""

import asyncio
import json
from dataclasses import asdict

import typer

from consumer.commands.connections import database_settings
from consumer.reports.verification import CompletedRun, completed_run, verify
from consumer.settings import DatabaseSettings, StoreSettings, load_settings
from consumer.wiring.database import open_history
from consumer.wiring.files import instruments_of, market_data_at


def show_verification(run_id: int, *, as_json: bool) -> None:
    """Print what differs, or that nothing does. Raises typer.Exit(1) where something differs."""
    run = asyncio.run(_stored(database_settings(), run_id))
    stores = load_settings(StoreSettings)
    differences = verify(run, market_data_at(stores.market_data_url), instruments_of(stores.instruments_file))
    if as_json:
        told = {"run_id": run_id, "differences": [asdict(difference) for difference in differences]}
        typer.echo(json.dumps(told, default=str))
    for difference in differences:
        typer.echo(
            f"run {run_id}: {difference.figure} is stored as {difference.stored}, computed as {difference.computed}",
            err=True,
        )
    if differences:
        raise typer.Exit(1)
    typer.echo(f"run {run_id}: digest and every figure are the same ({run.row['result_digest']})", err=True)


async def _stored(settings: DatabaseSettings, run_id: int) -> CompletedRun:
    async with open_history(settings) as history:
        return await completed_run(history, run_id)
