"""`backtest report`: one run in words and tables: what was asked, the figures, its trades, its drawdowns."""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from consumer.commands.connections import database_settings
from consumer.commands.display.columns import text_columns
from consumer.commands.display.searches import search_sections
from consumer.commands.runs import day_of, json_text
from consumer.errors import NoSuchRun, NoSuchSearch
from consumer.ports.run_files import RunFiles
from consumer.preparation.full_params import full_params
from consumer.preparation.snapshot import specification_from_json
from consumer.reports.beside_models import net_profit_of
from consumer.reports.drawdowns import Drawdown
from consumer.reports.figure_groups import ambiguity, figure_groups
from consumer.reports.figures import RunReport, TradeGroup, run_ledger, run_report
from consumer.reports.heading import heading
from consumer.reports.spread import spread_text
from consumer.rules.columns import METRIC_COLUMNS
from consumer.settings import DatabaseSettings, StoreSettings, load_settings
from consumer.wiring.artifacts import (
    check_picture_path,
    check_table_path,
    open_artifacts,
    write_picture,
    write_table,
)
from consumer.wiring.database import open_history, open_search_history
from engine.errors import BadInstruments, InputRefused, InvalidSpecification
from engine.market.instruments import Instrument
from engine.specification import Specification
from schemas.json_text import printable

app = typer.Typer(add_completion=False)


@app.command()
def report(
    run_id: Annotated[int | None, typer.Argument(help="The run.", show_default=False)] = None,
    optimization_id: Annotated[int | None, typer.Option(help="In place of a run: a search.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Write every booked item to this .csv or .parquet file, in place of the report.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw equity, drawdown, months and key figures, warnings first."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the report: one file that opens without a network.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="RUN_ID,...", help="Runs beside it: in the report, or as a table.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say how a run went, by its row, its trades, and the equity among its artefacts; or what a search found."""
    if compare is not None:
        if optimization_id is not None or ledger is not None:
            alone = "goes without --compare"
            raise typer.BadParameter(alone, param_hint="'--ledger'" if ledger is not None else "'--optimization-id'")
        compared(run_id, compare, html, png, as_json=as_json)
        return
    if (run_id is None) == (optimization_id is None):
        raise typer.BadParameter("give a run, or a search", param_hint="'RUN_ID'")
    if run_id is None:
        if ledger is not None or png is not None or html is not None:
            of_runs = "is of a run; `backtest optimize --plot` draws a search"
            raise typer.BadParameter(of_runs, param_hint=_first_given(ledger, png))
        report_search(optimization_id or 0, as_json=as_json)
        return
    settings = database_settings()
    files = open_artifacts(load_settings(StoreSettings).artifacts_url)
    if ledger is not None:
        check_table_path(ledger)
        write_table(asyncio.run(_ledger(settings, files, run_id)), ledger)
        return
    if png is not None:
        check_picture_path(png)
    if html is not None:
        write_html_report([run_id], html)
    report_run(asyncio.run(_report(settings, files, run_id)), png, as_json=as_json)


def report_run(found: RunReport, png: Path | None, *, as_json: bool) -> None:
    """Draw a run where asked to, and print it, as JSON or in words."""
    if found.missing:
        typer.echo(f"no drawdowns without the run's artefacts (BACKTEST_ARTIFACTS_URL): {found.missing}", err=True)
    if png is not None:
        _draw(found, png)
    if as_json:
        told = {
            "run": found.row,
            "specification": found.specification,
            "metrics": found.metrics,
            "warnings": found.warnings,
            "groups": [asdict(group) for group in found.groups],
            "drawdowns": [asdict(fall) for fall in found.drawdowns],
            "rule_alone": found.rule_alone,
        }
        sys.stdout.write(json.dumps(told, default=json_text) + "\n")
        return
    typer.echo("\n\n".join(report_sections(found, instrument_of(found.row["symbol"]))))


def _first_given(ledger: Path | None, png: Path | None) -> str:
    return "'--ledger'" if ledger is not None else "'--png'" if png is not None else "'--html'"


def write_html_report(run_ids: Sequence[int], html: Path) -> None:
    """Write the HTML report of the first run, beside the others."""
    from consumer.commands.html_report import check_html_path, write_report_of_runs  # late: it loads the engine

    check_html_path(html)
    write_report_of_runs(database_settings(), run_ids, html)


def compared(run_id: int | None, compare: str, html: Path | None, png: Path | None, *, as_json: bool) -> None:
    """Print the runs side by side; with html in a report of the first, of which png is the picture."""
    run_ids = [*([run_id] if run_id is not None else []), *run_ids_in(compare)]
    if not run_ids:
        raise typer.BadParameter("give a run", param_hint="'--compare'")
    if png is not None:
        check_picture_path(png)
    if html is not None:
        write_html_report(run_ids, html)
    if png is not None:
        files = open_artifacts(load_settings(StoreSettings).artifacts_url)
        _draw(asyncio.run(_report(database_settings(), files, run_ids[0])), png)
    rows = asyncio.run(_rows(database_settings(), dict.fromkeys(run_ids)))
    if as_json:
        sys.stdout.write(json.dumps(rows, default=json_text) + "\n")
        return
    typer.echo(text_columns(list(beside_each_other(rows))))


def run_ids_in(text: str) -> list[int]:
    """The runs of --compare. Raises BadParameter."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise typer.BadParameter("write run ids with commas between: 1,2,3", param_hint="'--compare'")
    return [int(part) for part in parts]


def beside_each_other(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line a figure, a column a run."""
    yield ("run", *(str(row["id"]) for row in rows))
    for name in ("strategy_name", "symbol", "timeframe", "status"):
        yield (name.replace("_", " "), *(printable(str(row[name])) for row in rows))
    for name in METRIC_COLUMNS:
        cells = ("-" if row[name] is None else f"{row[name]:,.10g}" for row in rows)
        yield (name.replace("_", " "), *cells)


async def _rows(settings: DatabaseSettings, run_ids: Iterable[int]) -> list[Mapping[str, Any]]:
    found = []
    async with open_history(settings) as history:
        for run_id in run_ids:
            row = await history.run(run_id)
            if row is None:
                raise NoSuchRun(run_id)
            found.append(row)
    return found


def report_search(optimization_id: int, *, as_json: bool) -> None:
    """Print a search's row, as JSON or in words."""
    row = asyncio.run(_search(database_settings(), optimization_id))
    if as_json:
        sys.stdout.write(json.dumps(row, default=json_text) + "\n")
        return
    typer.echo("\n\n".join(search_sections(row)))


async def _search(settings: DatabaseSettings, optimization_id: int) -> Mapping[str, Any]:
    async with open_search_history(settings) as history:
        found = await history.search(optimization_id)
    if found is None:
        raise NoSuchSearch(optimization_id)
    return found


async def _ledger(settings: DatabaseSettings, files: RunFiles, run_id: int) -> pl.DataFrame:
    async with open_history(settings) as history:
        return await run_ledger(history, files, run_id)


async def _report(settings: DatabaseSettings, files: RunFiles, run_id: int) -> RunReport:
    async with open_history(settings) as history:
        return await run_report(history, files, run_id)


def _draw(found: RunReport, png: Path) -> None:
    """Draw the run's picture. Raises InputRefused for one that left nothing to draw."""
    from consumer.commands.display.run_plot import RunPicture, plot_run  # late: a second of imports

    if found.equity is None:
        why = found.missing or f"it is {found.row['status']}"
        raise InputRefused(f"run {found.row['id']} has no equity to draw: {why}")
    title = f"run {found.row['id']}: {printable(found.row['strategy_name'])}"
    told, *filled = map(printable, _asked(found, instrument_of(found.row["symbol"])))
    picture = RunPicture(
        [f"{title}; {told}", *filled],
        list(map(printable, found.warnings)),
        found.metrics,
        found.currency,
        found.row["initial_balance"],
        found.equity,
        found.exits,
    )
    write_picture(plot_run(picture), png)


def instrument_of(symbol: str) -> Instrument | None:
    """As the service's instruments have it; None where they do not know it, or cannot be read: it is only a remark."""
    from consumer.wiring.files import instruments_of  # here: --json and the ledger need no engine

    try:
        registry = instruments_of(load_settings(StoreSettings).instruments_file)
    except BadInstruments:
        return None
    return registry.get(symbol)


def report_sections(found: RunReport, instrument: Instrument | None) -> Iterator[str]:
    """What is shown of a run, an empty line between. instrument: None where it is not known."""
    yield _heading(found, instrument)
    for group in figure_groups(found.metrics, found.currency):
        yield text_columns([(group.title, ""), *group.rows])
    if found.groups:
        cells = map(_group_cells, found.groups)
        yield text_columns([("trades", "count", "wins", "net profit", "best", "worst"), *cells])
    if found.equity is not None and found.equity.height:
        yield f"equity  {sparkline(found.equity['equity'].to_list())}"
    if found.drawdowns:
        cells = map(_fall_cells, found.drawdowns)
        yield text_columns([("drawdown %", "amount", "peak", "trough", "recovered"), *cells])
    if found.row["data_file_path"]:
        yield f"bars: {found.row['data_file_path']}"
    if identity := list(_identity(found.row)):
        yield "\n".join(identity)


def _heading(found: RunReport, instrument: Instrument | None) -> str:
    """What was asked; then what a careful person would want to know before believing a figure."""
    row = found.row
    lines = [f"run {row['id']}: {printable(row['strategy_name'])}, {row['status']} ({row['progress_pct']} %)"]
    lines += map(printable, _asked(found, instrument))
    if row["error_message"]:
        lines.append(printable(row["error_message"]))
    lines += [f"warning: {printable(warning)}" for warning in found.warnings]
    lines += filter(None, [ambiguity(found.metrics, found.currency)])
    if (alone := found.rule_alone) is not None:
        earned = net_profit_of(alone)
        lines.append(
            f"the rule alone, without the model: net profit {earned:,.2f} {found.currency},"
            f" {alone['total_trades']} trades (run {alone['id']})"
        )
    return "\n".join(lines)


def _asked(found: RunReport, instrument: Instrument | None) -> list[str]:
    """What the run executes; by its row alone where no request for it was accepted, or one of another release."""
    row = found.row
    try:
        if found.specification is not None:
            asked = specification_from_json(dict(found.specification))
            return heading(asked, _full_params(asked, row["strategy_version"]), instrument)
    except InvalidSpecification:
        pass  # the row is there whatever the release
    costs = f"{spread_text(row['spread_pips'], instrument)}, commission {row['commission_per_lot']:,.2f} a lot"
    return [
        f"{row['symbol']} {row['timeframe']}, {day_of(row['start_date'])} to {day_of(row['end_date'])}",
        f"{row['execution_mode']}, {costs}, deposit {row['initial_balance']:,.2f}",
    ]


def _full_params(asked: Specification, version: str | None) -> Mapping[str, Any] | None:
    if asked.strategy_key is None:
        return {}
    with redirect_stdout(sys.stderr):  # a strategy's code may print when it is imported
        return full_params(asked.strategy_key, asked.strategy_params, version)


def _identity(row: Mapping[str, Any]) -> Iterator[str]:
    """What to compare runs by, whole and each on a line of its own."""
    for name in ("result_digest", "strategy_version", "engine_version"):
        if row[name]:
            yield f"{name.replace('_', ' ')}: {row[name]}"


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The course of the values in `width` characters at most: the last value of each stretch."""
    picked = (
        [values[(column + 1) * len(values) // width - 1] for column in range(width)] if len(values) > width else values
    )
    low, high = min(picked), max(picked)
    steps = "▁▂▃▄▅▆▇█"
    return "".join(
        steps[round((value - low) / (high - low) * (len(steps) - 1)) if high > low else 0] for value in picked
    )


def _group_cells(group: TradeGroup) -> tuple[str, ...]:
    money = (f"{value:+,.2f}" for value in (group.net_profit, group.best, group.worst))
    return (group.group, str(group.trades), str(group.wins), *money)


def _fall_cells(fall: Drawdown) -> tuple[str, ...]:
    times = (
        f"{each:%Y-%m-%d %H:%M}" if each is not None else "not yet" for each in (fall.peak, fall.trough, fall.recovered)
    )
    return (f"{fall.percent:.2f}", f"{fall.amount:,.2f}", *times)
