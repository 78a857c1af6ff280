"""`backtest replay --verify RUN_ID`: compute a completed run again, and name every figure that differs."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer

from consumer.commands.connections import database_settings
from consumer.preparation.snapshot import specification_from_json
from consumer.reports.verification import CompletedRun, completed_run, verify
from consumer.settings import DatabaseSettings, ModelSettings, StoreSettings, load_settings
from consumer.wiring.database import open_history
from consumer.wiring.files import instruments_of, market_data_at
from engine.deciders.advised.advisor import Advisor


def show_verification(run_id: int, *, as_json: bool) -> None:
    """Print what differs, or that nothing does. Raises typer.Exit(1) where something differs."""
    run = asyncio.run(_stored(database_settings(), run_id))
    stores = load_settings(StoreSettings)
    market_data, registry = market_data_at(stores.market_data_url), instruments_of(stores.instruments_file)
    with _advisor_of(run) as advisor:
        differences = verify(run, market_data, registry, advisor)
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


@contextmanager
def _advisor_of(run: CompletedRun) -> Iterator[Advisor | None]:
    """The answers that the run had, by the ledger; None where it asked no model. Nobody is asked again."""
    specification = specification_from_json(dict(run.specification))
    if specification.advice is None:
        yield None
        return
    # Late: most runs ask no model.
    from consumer.wiring.local_advice import open_local_advisor

    settings = load_settings(ModelSettings)
    with open_local_advisor(specification, None, settings, replays=True, of_run=run.row["id"]) as advisor:
        yield advisor


async def _stored(settings: DatabaseSettings, run_id: int) -> CompletedRun:
    async with open_history(settings) as history:
        return await completed_run(history, run_id)
