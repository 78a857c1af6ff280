"""`backtest data check`: what a file of bars is taken for, its first bars as understood, and what is odd about them."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.commands.options.instruments import (
    InstrumentClassOption,
    InstrumentsFile,
    QuoteOption,
    found_instrument,
    with_class,
)
from consumer.wiring.files import BarFile, instruments_of, market_data_at, read_bar_file
from consumer.wiring.times import DateOrder, bar_formats
from engine.errors import NoData
from engine.market.bar_length import usual_spacing_us
from engine.market.bars import Bars
from engine.market.instruments import Instrument, Session
from engine.market.passport import data_passport
from engine.market.price_decimals import finer_than_digits
from engine.market.timeframes import TIMEFRAMES, Timeframe

_SHOWN_BARS = 5
_ANY_LENGTH = Timeframe("any", 1)
"""Of bars whose length nobody named: their times must rise, and no more."""


def check(
    file: Annotated[Path | None, typer.Argument(help="A file of bars, as `backtest run --bars` takes it.")] = None,
    symbol: Annotated[
        str | None, typer.Option(help="Instrument: its trading week decides what is a gap and whether the zone fits.")
    ] = None,
    timeframe: Annotated[str | None, typer.Option(help="Candle length, e.g. H1.")] = None,
    market_data: Annotated[
        str | None,
        typer.Option(envvar="BACKTEST_MARKET_DATA_URL", help="In place of a file: path or URL of market data at rest."),
    ] = None,
    bars_timezone: Annotated[
        str,
        typer.Option(
            callback=options.zone_name, help="Zone of times without an offset: Europe/Athens, America/New_York+7."
        ),
    ] = "UTC",
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", callback=options.format_name, help="The only format the file may have."
        ),
    ] = None,
    date_order: Annotated[DateOrder | None, typer.Option(help="Of dates such as 02/01/2024.")] = None,
    instruments: InstrumentsFile = None,
    instrument_class: InstrumentClassOption = None,
    quote: QuoteOption = "USD",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say which format a file of bars is in, show its first bars as understood, and what is odd about them: with
    --symbol whether the zone fits, with --timeframe too gaps in the trading week, stretches without movement, outliers.

    Odd bars are no error: exit status 0. Bad bars are: 2.
    """
    of = options.known_timeframe(timeframe) if timeframe else None

    def found(symbol: str, load_bars: Callable[[], Bars]) -> Instrument:
        registry = with_class(symbol, instruments_of(instruments), instrument_class, quote)
        return found_instrument(symbol, registry, load_bars, as_json=as_json)

    if file is None:
        instrument = found(symbol, lambda: _stored(market_data, symbol, of)) if symbol else None
        bars = _stored(market_data, instrument.symbol if instrument else None, of)
        _show(_passport(bars, instrument.session if instrument else None), [], as_json=as_json)
        return
    read = read_bar_file(file, bars_timezone, format_name=format_name, date_order=date_order)
    bars = read.bars(of or _ANY_LENGTH)
    instrument = found(symbol, lambda: bars) if symbol else None
    session = instrument.session if instrument else None
    described = _described(read, bars) | (_passport(bars, session) if of and session else {})
    warnings = [*read.notes, *_doubts(read, bars, of, instrument), *described.pop("warnings", [])]
    _show(described | {"warnings": warnings}, _table(bars), as_json=as_json)
    if not (of and session):
        wanted = " and ".join(name for name, given in (("--symbol", session), ("--timeframe", of)) if not given)
        zone = f" and whether its times are in {read.timezone}" if not session and read.has_local_times else ""
        typer.echo(f"{wanted} would tell more: gaps in the trading week{zone}", err=True)


def _stored(market_data: str | None, symbol: str | None, of: Timeframe | None) -> Bars:
    if market_data is None:
        raise typer.BadParameter("give a FILE or --market-data URL", param_hint="'FILE'")
    if symbol is None or of is None:
        raise typer.BadParameter("market data are checked by --symbol and --timeframe", param_hint="'--market-data'")
    bars = market_data_at(options.existing_place(market_data)).load(symbol, of.name, options.FAR_FUTURE)
    if bars is None:
        raise NoData(f"no {symbol} {of.name} bars in market data {market_data}")
    return bars


def _passport(bars: Bars, session: Session | None) -> dict[str, Any]:
    return asdict(data_passport(bars, session)) if session else {}


def _described(read: BarFile, bars: Bars) -> dict[str, Any]:
    spacing_us = usual_spacing_us(bars)
    return {
        "file": read.source,
        "format": read.format,
        "looks_like": bar_formats()[read.format],
        "written": list(read.written),
        "times": read.times_described,
        "count": bars.height,
        "first_time": _iso(bars.frame["time"][0]),
        "last_time": _iso(bars.frame["time"][-1]),
        "usual_spacing": None if spacing_us is None else _named_spacing(spacing_us),
        "columns": bars.frame.columns,
    }


def _doubts(read: BarFile, bars: Bars, of: Timeframe | None, instrument: Instrument | None) -> list[str]:
    """What the file itself makes doubtful: the length of its bars, the zone of its times, whose prices they are."""
    said = []
    spacing_us = usual_spacing_us(bars)
    if of is not None and spacing_us is not None and spacing_us > of.duration_us:
        said.append(f"bars are mostly {_named_spacing(spacing_us)} apart, which is more than {of.name}")
    if instrument is not None:
        said += filter(None, [finer_than_digits(bars, instrument), read.zone_advice(bars.time_us, instrument.session)])
    return said


def _named_spacing(spacing_us: int) -> str:
    name = next((each.name for each in TIMEFRAMES.values() if each.duration_us == spacing_us), None)
    spacing = str(timedelta(microseconds=spacing_us))
    return f"{spacing} ({name})" if name else spacing


def _table(bars: Bars) -> list[tuple[str, ...]]:
    """The first bars, times in UTC, values as they were read."""
    columns = [name for name in bars.frame.columns if name != "time"]
    rows = bars.frame.head(_SHOWN_BARS).iter_rows(named=True)
    shown = [(_iso(row["time"]), *(f"{row[name]:.15g}" for name in columns)) for row in rows]
    return [("time (UTC)", *columns), *shown]


def _show(described: dict[str, Any], first_bars: list[tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        header, *rows = first_bars or [()]
        if rows:
            described["first_bars"] = [dict(zip(("time", *header[1:]), row, strict=True)) for row in rows]
        sys.stdout.write(json.dumps(described) + "\n")
        return
    for warning in described["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    listed = [(name.replace("_", " "), _shown(value)) for name, value in described.items() if name != "warnings"]
    typer.echo(text_columns([("what", "value"), *listed]))
    if first_bars:
        typer.echo("\n" + text_columns(first_bars))


def _shown(value: Any) -> str:
    """`-` for what there is none of, such as the first of no outliers."""
    return "-" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
