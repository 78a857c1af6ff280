"""`backtest data`: bring bars into market data at rest, list what is there, and say what is odd about bars."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.data_check import check
from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.wiring.files import (
    BarFile,
    DateOrder,
    import_bars,
    instruments_of,
    market_data_at,
    read_bar_file,
    usual_spacing_us,
)
from engine.market.bars import Bars
from engine.market.timeframes import Timeframe

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Import, list and check market data.")

app.command("check")(check)

_FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
_MarketData = Annotated[
    str, typer.Option("--market-data", envvar="BACKTEST_MARKET_DATA_URL", help="Path or URL of market data at rest.")
]
_Timezone = Annotated[
    str, typer.Option(callback=options.zone_name, help="Zone of times without an offset, e.g. Europe/Athens.")
]


_Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", callback=options.format_name, help="The only format the files may have."),
]
_DateOrder = Annotated[DateOrder | None, typer.Option(help="Of dates such as 02/01/2024, in every file.")]


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="Files of bars, as `backtest run --bars` takes them.")],
    symbol: Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.")],
    timeframe: Annotated[str, typer.Option(help="Candle length of the files, e.g. H1.")],
    market_data: _MarketData,
    bars_timezone: _Timezone = "UTC",
    format_name: _Format = None,
    date_order: _DateOrder = None,
    replace: Annotated[bool, typer.Option("--replace", help="Bars that differ replace stored ones.")] = False,
) -> None:
    """Merge files of bars into <market data>/<SYMBOL>/<TIMEFRAME>/<year>.parquet."""
    of = options.known_timeframe(timeframe)
    read = [read_bar_file(file, bars_timezone, format_name=format_name, date_order=date_order) for file in files]
    sources = [(file.source, file.bars(of)) for file in read]
    for file, (name, bars) in zip(read, sources, strict=True):
        _warn_of_wrong_timeframe(name, bars, of)
        _warn_of_wrong_zone(file, bars, symbol)
    rows = [("file", "bars", "added", "replaced")]
    years = import_bars(market_data, symbol, of, sources, replace=replace)
    rows += [(year.location, str(year.stored), str(year.added), str(year.replaced)) for year in years]
    typer.echo(text_columns(rows))


@app.command("list")
def list_stored(
    market_data: _MarketData,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """List the bars that market data at rest hold: symbol, timeframe, first and last open time, count."""
    stored = market_data_at(options.existing_place(market_data), cache_bytes=1)
    found = []
    for symbol in stored.symbols():
        for name in stored.timeframes(symbol):
            bars = stored.load(symbol, name, _FAR_FUTURE)
            if bars is not None:
                first, last = (_iso(bars.frame["time"][row]) for row in (0, -1))
                found.append({"symbol": symbol, "timeframe": name, "first": first, "last": last, "bars": bars.height})
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found:
        typer.echo(text_columns([tuple(found[0]), *(tuple(str(value) for value in each.values()) for each in found)]))
    else:
        typer.echo(f"no bars in {market_data}", err=True)


def _warn_of_wrong_timeframe(name: str, bars: Bars, of: Timeframe) -> None:
    spacing_us = usual_spacing_us(bars)
    if spacing_us is not None and spacing_us > of.duration_us:
        spacing = timedelta(microseconds=spacing_us)
        typer.echo(f"warning: {name}: bars are mostly {spacing} apart, which is more than {of.name}", err=True)


def _warn_of_wrong_zone(file: BarFile, bars: Bars, symbol: str) -> None:
    """A symbol that no instruments file knows here is taken to trade in the FX week: only such weeks bring advice."""
    known = instruments_of(None).get(symbol)
    advice = file.zone_advice(bars.time_us, known.session if known else "fx")
    for said in (*file.notes, *([advice] if advice else [])):
        typer.echo(f"warning: {file.source}: {said}", err=True)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
