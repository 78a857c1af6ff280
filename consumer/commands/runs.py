"""`backtest runs`: the runs that the database knows, the newest first; and what retention removes of them."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from consumer.commands.connections import database_settings
from consumer.commands.display.columns import text_columns
from consumer.commands.display.searches import searches_table
from consumer.commands.prune import prune_runs
from consumer.ports.history import History, RunFilter
from consumer.ports.search_history import SearchFilter
from consumer.settings import DatabaseSettings
from consumer.wiring.database import open_history, open_search_history
from schemas.json_text import printable
from schemas.problems import FieldProblem, first_code, summarise

app = typer.Typer(add_completion=False)
app.command("prune")(prune_runs)

_HEADING = (
    "run",
    "strategy",
    "symbol",
    "tf",
    "mode",
    "from",
    "to",
    "deposit",
    "status",
    "%",
    "trades",
    "return %",
    "drawdown %",
)
_WHY_CHARACTERS = 200
"""Of a failure, in a list; `backtest report` and --json have all of it."""


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    status: Annotated[
        Literal["pending", "running", "completed", "failed", "cancelled", "rejected"] | None,
        typer.Option(help="Only these; rejected: the requests that made no run."),
    ] = None,
    searches: Annotated[bool, typer.Option("--searches", help="Searches of parameters in place of runs.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """List runs: what was asked, how far it is, what came out. `prune` removes the files of old ones."""
    if context.invoked_subcommand is not None:
        return
    if searches and status != "rejected":
        found = asyncio.run(_found_searches(database_settings(), status, limit))
        _print(found, searches_table(found), as_json=as_json)
        return
    found = asyncio.run(_found(database_settings(), status, limit))
    table = rejections_table(found) if status == "rejected" else runs_table(found)
    _print(found, table, as_json=as_json)


def _print(found: Sequence[Mapping[str, Any]], table: list[tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(list(found), default=json_text) + "\n")
    elif found:
        typer.echo(text_columns(table))
    else:
        typer.echo("none", err=True)


async def _found_searches(settings: DatabaseSettings, status: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
    async with open_search_history(settings) as history:
        return await history.searches(SearchFilter(status=status), limit=limit)


async def _found(settings: DatabaseSettings, status: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
    async with open_history(settings) as history:
        if status == "rejected":
            return await history.rejected_requests(limit=limit)
        return await with_warnings(history, await history.runs(RunFilter(status=status), limit=limit))


async def with_warnings(history: History, found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs, each with its `warnings`: the figures stand beside those of other runs, and may not be as good."""
    warned = await history.warnings_of([run["id"] for run in found])
    return [{**run, "warnings": list(warned.get(run["id"], ()))} for run in found]


def runs_table(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A heading and a row a run, as text; where one has warnings, how many; where one failed, why it did.

    found: runs of `with_warnings`.
    """
    columns = [[_HEADING, *map(_cells, found)]]
    if any(run["warnings"] for run in found):
        columns.append([("warnings",), *((str(len(run["warnings"]) or ""),) for run in found)])
    if any(run["error_message"] for run in found):
        columns.append([("why",), *((_why(run),) for run in found)])
    return [sum(cells, ()) for cells in zip(*columns, strict=True)]


def rejections_table(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A heading and a row a rejected request, as text."""
    rows = [
        (printable(each["request_id"]), f"{each['received_at']:%Y-%m-%d %H:%M:%S}", printable(why_rejected(each)))
        for each in found
    ]
    return [("request", "received", "why"), *rows]


def why_rejected(rejection: Mapping[str, Any]) -> str:
    """Code and message of a kept rejection."""
    problems = [FieldProblem(**problem) for problem in rejection["problems"]]
    return f"{first_code(problems)}: {summarise(problems)}"


def json_text(value: object) -> str:
    """Times as ISO 8601 with Z."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def day_of(moment: datetime | None) -> str:
    """None: a row of another service says what Python has no date for."""
    return "-" if moment is None else f"{moment:%Y-%m-%d}"


def _why(run: Mapping[str, Any]) -> str:
    told = printable(" ".join((run["error_message"] or "").split()))
    return told if len(told) <= _WHY_CHARACTERS else f"{told[:_WHY_CHARACTERS]}..."


def _cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(run["id"]),
        printable(run["strategy_name"]),
        run["symbol"],
        run["timeframe"],
        run["execution_mode"],
        day_of(run["start_date"]),
        day_of(run["end_date"]),
        f"{run['initial_balance']:,.2f}",
        run["status"],
        str(run["progress_pct"]),
        "" if run["total_trades"] is None else str(run["total_trades"]),
        "" if run["total_return_pct"] is None else f"{run['total_return_pct']:+.2f}",
        "" if run["max_drawdown_pct"] is None else f"{run['max_drawdown_pct']:.2f}",
    )
