"""`backtest data`: bring bars into market data at rest, list what is there, and say what is odd about bars."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.wiring.files import import_bars, instruments_of, market_data_at, read_bars, usual_spacing_us
from engine.errors import NoData
from engine.market.bars import Bars
from engine.market.instruments import instrument_for
from engine.market.passport import data_passport
from engine.market.timeframes import Timeframe

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Import, list and check market data.")

_FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
_MarketData = Annotated[
    str, typer.Option("--market-data", envvar="BACKTEST_MARKET_DATA_URL", help="Path or URL of market data at rest.")
]
_Timezone = Annotated[
    str, typer.Option(callback=options.zone_name, help="Zone of times without an offset, e.g. Europe/Athens.")
]


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="CSV, MetaTrader 5 exports or Parquet.")],
    symbol: Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.")],
    timeframe: Annotated[str, typer.Option(help="Candle length of the files, e.g. H1.")],
    market_data: _MarketData,
    bars_timezone: _Timezone = "UTC",
    replace: Annotated[bool, typer.Option("--replace", help="Bars that differ replace stored ones.")] = False,
) -> None:
    """Merge files of bars into <market data>/<SYMBOL>/<TIMEFRAME>/<year>.parquet."""
    of = options.known_timeframe(timeframe)
    sources = [(str(file), read_bars(file, of, bars_timezone)) for file in files]
    for name, bars in sources:
        _warn_of_wrong_timeframe(name, bars, of)
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


@app.command("check")
def check(
    symbol: Annotated[str, typer.Option(help="Instrument: its trading week decides what is a gap.")],
    timeframe: Annotated[str, typer.Option(help="Candle length, e.g. H1.")],
    file: Annotated[Path | None, typer.Argument(help="CSV, MetaTrader 5 export or Parquet.")] = None,
    market_data: Annotated[
        str | None,
        typer.Option(envvar="BACKTEST_MARKET_DATA_URL", help="In place of a file: path or URL of market data at rest."),
    ] = None,
    bars_timezone: _Timezone = "UTC",
    instruments: Annotated[Path | None, typer.Option(help="TOML file that extends the packaged instruments.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Validate bars and say what is odd about them: gaps in the trading week, stretches without movement, outliers.

    Odd bars are no error: exit status 0. Bad bars are: 2.
    """
    instrument = instrument_for(symbol, instruments_of(instruments))
    of = options.known_timeframe(timeframe)
    bars = _bars_to_check(file, market_data, symbol, of, bars_timezone)
    passport = asdict(data_passport(bars, instrument.session))
    if as_json:
        sys.stdout.write(json.dumps(passport) + "\n")
        return
    listed = [(name.replace("_", " "), str(value)) for name, value in passport.items() if name != "warnings"]
    typer.echo(text_columns([("what", "value"), *listed]))
    for warning in passport["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _bars_to_check(file: Path | None, market_data: str | None, symbol: str, of: Timeframe, timezone: str) -> Bars:
    if file is not None:
        return read_bars(file, of, timezone)
    if market_data is None:
        raise typer.BadParameter("give a FILE or --market-data URL", param_hint="'FILE'")
    bars = market_data_at(options.existing_place(market_data)).load(symbol, of.name, _FAR_FUTURE)
    if bars is None:
        raise NoData(f"no {symbol} {of.name} bars in market data {market_data}")
    return bars


def _warn_of_wrong_timeframe(name: str, bars: Bars, of: Timeframe) -> None:
    spacing_us = usual_spacing_us(bars)
    if spacing_us is not None and spacing_us > of.duration_us:
        spacing = timedelta(microseconds=spacing_us)
        typer.echo(f"warning: {name}: bars are mostly {spacing} apart, which is more than {of.name}", err=True)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
