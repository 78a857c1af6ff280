"""`backtest data import`, `list` and `remove`: what lies in market data at rest."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.commands.options.instruments import (
    InstrumentClassOption,
    InstrumentsFile,
    QuoteOption,
    print_guess,
    with_class,
)
from consumer.wiring.files import (
    ImportedYear,
    described,
    import_bar_files,
    instruments_of,
    market_data_at,
    read_bar_file,
    remove_bars,
    replaced_note,
    spelled,
)
from consumer.wiring.times import DateOrder
from engine.errors import UnknownSymbol
from engine.market.instruments import Instrument, closest_symbols, symbol_in

MarketDataPlace = Annotated[
    str, typer.Option("--market-data", envvar="BACKTEST_MARKET_DATA_URL", help="Path or URL of market data at rest.")
]
BarsTimezone = Annotated[
    str,
    typer.Option(
        callback=options.zone_name, help="Zone of times without an offset: Europe/Athens, America/New_York+7."
    ),
]


def import_files(
    files: Annotated[list[Path], typer.Argument(help="Bars of one symbol, as `backtest run --bars` takes them.")],
    symbol: Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.")],
    timeframe: Annotated[str, typer.Option(help="Candle length of the files, e.g. H1.")],
    market_data: MarketDataPlace,
    bars_timezone: BarsTimezone = "UTC",
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", callback=options.format_name, help="The only format the files may have."
        ),
    ] = None,
    date_order: Annotated[DateOrder | None, typer.Option(help="Of dates such as 02/01/2024, in every file.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the months that the files touch, remove what is stored.")
    ] = False,
    instruments: InstrumentsFile = None,
    instrument_class: InstrumentClassOption = None,
    quote: QuoteOption = "USD",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Merge files of bars into <market data>/<SYMBOL>/<TIMEFRAME>/<year>.parquet.

    The zone is kept beside the bars. Bars of another zone or length, or that differ from those stored at the same
    times, are refused; --replace makes the months that the files touch hold these bars alone.
    """
    of = options.known_timeframe(timeframe)
    registry = with_class(symbol, instruments_of(instruments), instrument_class, quote)
    name = _spelled(symbol, registry, market_data)
    read = [read_bar_file(file, bars_timezone, format_name=format_name, date_order=date_order) for file in files]
    made = import_bar_files(market_data, name, of, read, registry, replace=replace)
    for each in made.doubts:
        typer.echo(f"warning: {each}", err=True)
    if as_json:
        listed = [asdict(year) for year in made.years]
        sys.stdout.write(json.dumps({"symbol": name, "timeframe": of.name, "years": listed}) + "\n")
    else:
        _print_years(made.years)
    for each in made.notes:
        typer.echo(f"warning: {each}", err=True)
    if replace:
        typer.echo(replaced_note(made), err=True)
    if made.unknown is not None:
        typer.echo(f"warning: {made.unknown}", err=True)
        if not as_json:
            print_guess(name, registry, lambda: made.sources[0].bars)


def list_stored(
    market_data: MarketDataPlace,
    instruments: InstrumentsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """List the bars that market data at rest hold: range, count, zone of import, gaps in the trading week."""
    registry = instruments_of(instruments)
    stored = market_data_at(options.existing_place(market_data), cache_bytes=1)
    found = []
    for symbol in stored.symbols():
        for name in stored.timeframes(symbol):
            told = described(stored, symbol, name, registry)
            if told is not None:
                times = {each: _iso(told[each]) for each in ("first", "last")}
                found.append({each: value for each, value in (told | times).items() if each != "passport"})
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found:
        rows = [tuple("-" if value is None else str(value) for value in each.values()) for each in found]
        typer.echo(text_columns([tuple(name.replace("_", " ") for name in found[0]), *rows]))
    else:
        typer.echo(f"no bars in {market_data}", err=True)


def remove_stored(
    symbol: Annotated[str, typer.Argument(help="Instrument, e.g. EURUSD.")],
    market_data: MarketDataPlace,
    timeframe: Annotated[str | None, typer.Argument(help="Candle length, e.g. H1. Default: all there are.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="First open time; UTC without an offset.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End, exclusive; UTC without an offset.")] = None,
    instruments: InstrumentsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """Remove stored bars, at once and without a question; say what went."""
    of = options.known_timeframe(timeframe, "TIMEFRAME").name if timeframe else None
    stored = market_data_at(options.existing_place(market_data), cache_bytes=1)
    name = _spelled(symbol, instruments_of(instruments), market_data)
    if name not in stored.symbols():
        raise UnknownSymbol(f"no bars of {symbol!r} in {market_data}{closest_symbols(symbol, stored.symbols())}")
    removed = remove_bars(market_data, name, of, options.utc_moment(since, "--from"), options.utc_moment(until, "--to"))
    if as_json:
        rows = [{**asdict(each), "first": _iso(each.first), "last": _iso(each.last)} for each in removed]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    for each in removed:
        typer.echo(
            f"{name} {each.timeframe}: {each.count} bars from {_iso(each.first)} to {_iso(each.last)} went,"
            f" {each.left} stay"
        )
    if not removed:
        typer.echo(f"no bars of {name} {of or ''} in that range: nothing went".replace("  ", " "), err=True)


def _spelled(symbol: str, registry: Mapping[str, Instrument], market_data: str) -> str:
    """The symbol as the registry or the store spells it; as given where neither knows it in any case."""
    if "://" not in market_data and not Path(market_data).expanduser().is_dir():
        return symbol_in(registry, symbol) or symbol
    return spelled(market_data_at(market_data, cache_bytes=1), symbol, registry)


def _print_years(years: Sequence[ImportedYear]) -> None:
    rows = [("file", "bars", "added", "went")]
    rows += [(year.location, str(year.stored), str(year.added), str(year.removed)) for year in years]
    typer.echo(text_columns(rows))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
