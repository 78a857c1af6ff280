"""`backtest runs prune`: remove the files of runs and searches that ended long ago."""

import asyncio
import json
import re
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from consumer.commands.connections import database_settings
from consumer.ports.retention import KeptFiles
from consumer.retention import Pruned, prune
from consumer.settings import DatabaseSettings, StoreSettings, load_settings
from consumer.wiring.artifacts import open_artifacts
from consumer.wiring.database import open_retention

SHORTEST = timedelta(days=1)
_UNITS = {"d": timedelta(days=1), "w": timedelta(weeks=1)}


def prune_runs(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Of the run's end, e.g. 90d or 12w; at least 1d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Remove the artefacts of runs and searches that ended long ago, and bars that no run names any more.

    Rows, trades and requests stay, but for data_file_path and results_file_path, which become null. Safe while workers
    are at work, and to stop and call again. Needs BACKTEST_DATABASE_URL and BACKTEST_ARTIFACTS_URL as the workers have
    them.
    """
    age = _age(older_than)
    settings = database_settings()
    files = open_artifacts(load_settings(StoreSettings).artifacts_url)
    pruned = asyncio.run(_prune(settings, files, age, dry_run=dry_run))
    if as_json:
        figures = {**asdict(pruned), "before": pruned.before.isoformat().replace("+00:00", "Z"), "dry_run": dry_run}
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        typer.echo(_line(pruned, dry_run=dry_run))
    if pruned.foreign_runs:
        typer.echo(
            f"left alone: {pruned.foreign_runs} folders of runs that this database does not know, or whose row names"
            f" bars elsewhere; bars are not removed beside them. One ARTIFACTS_URL is for one database.",
            err=True,
        )
    if pruned.foreign_searches:
        typer.echo(
            f"left alone: {pruned.foreign_searches} folders of searches that this database does not know, or whose row"
            f" names results elsewhere.",
            err=True,
        )


async def _prune(settings: DatabaseSettings, files: KeptFiles, age: timedelta, *, dry_run: bool) -> Pruned:
    async with open_retention(settings) as tables:
        return await prune(tables, files, age, dry_run=dry_run)


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([dw])", text)
    age = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if age < SHORTEST:
        raise typer.BadParameter(f"{text!r} is no age of at least 1d, e.g. 90d or 12w", param_hint="'--older-than'")
    return age


def _line(pruned: Pruned, *, dry_run: bool) -> str:
    return (
        f"{'would remove' if dry_run else 'removed'} the artefacts of {pruned.runs} runs and {pruned.searches} searches"
        f" that ended before {pruned.before:%Y-%m-%d %H:%M} UTC and {pruned.bars} files of bars,"
        f" {pruned.size / 1e6:,.1f} MB; {pruned.rows} rows {'would name' if dry_run else 'name'} no bars any more"
    )
