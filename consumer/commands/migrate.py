"""`backtest migrate`: bring the database to this release's tables."""

import asyncio
from typing import Annotated

import typer

from consumer.commands.connections import database_settings
from consumer.wiring.schema import MigrationReport
from consumer.wiring.schema import migrate as migrate_database

app = typer.Typer(add_completion=False)


@app.command()
def migrate(
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Add what tables of another service lack, columns and defaults, where that is safe."
        ),
    ] = False,
) -> None:
    """Create or update the tables in BACKTEST_DATABASE_URL. May be run again, and by several at once."""
    report = asyncio.run(migrate_database(database_settings(), adopt=adopt))
    for line in _told(report):
        typer.echo(line, err=True)


def _told(report: MigrationReport) -> list[str]:
    lines = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("made", report.created_tables),
            ("adopted as they are", report.adopted_tables),
            ("added", report.added),
        )
        if names
    ]
    lines += [f"note: {note}" for note in report.notes]
    state = f"at revision {report.to_revision}"
    return [*lines, f"the database is {state}" if report.is_changed else f"nothing to do, the database is {state}"]
