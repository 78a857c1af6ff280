"""`backtest run`: one backtest of files or of market data at rest, without Kafka and without a database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from consumer.adapters.instrument_files import read_instruments
from consumer.adapters.named_bar_files import ConversionFile, NamedBarFiles
from consumer.adapters.parquet_market_data import ParquetMarketData, microseconds
from consumer.adapters.signal_files import read_signals
from consumer.adapters.trade_files import check_trade_path, write_trades
from consumer.commands import options
from consumer.commands.run_output import print_json, print_table, progress_bar
from consumer.run_inputs import assemble
from consumer.strategies import load_strategy
from engine.decisions import signals_from_frame
from engine.errors import NoData, UnknownSymbol
from engine.instruments import Instrument, instrument_for
from engine.money import check_specification
from engine.simulate import Decider, RunData, choose_strategy, run_backtest
from engine.specification import ExecutionMode, OnOpposite, Specification, SpreadSource
from engine.timeframes import Timeframe

app = typer.Typer(add_completion=False)

_BARS, _STRATEGY, _MONEY, _FILLS, _OUTPUT = "Bars", "Decisions", "Money", "Fills", "Output"
_FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)


@app.command()
def run(
    symbol: Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.", rich_help_panel=_BARS)],
    timeframe: Annotated[str, typer.Option(help="Candle length, e.g. M15, H1, D1.", rich_help_panel=_BARS)],
    bars: Annotated[
        Path | None, typer.Option(help="CSV (own columns or a MetaTrader 5 export) or Parquet.", rich_help_panel=_BARS)
    ] = None,
    market_data: Annotated[
        str | None,
        typer.Option(help="In place of --bars: path or URL of market data at rest.", rich_help_panel=_BARS),
    ] = None,
    context_bars: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIMEFRAME=FILE",
            help="Context bars from a file; of a shorter timeframe than the run's: what happens inside its bars.",
            rich_help_panel=_BARS,
        ),
    ] = None,
    context_timeframes: Annotated[
        str, typer.Option(help="Context made of the bars (or stored), e.g. H4,D1.", rich_help_panel=_BARS)
    ] = "",
    conversion_bars: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL[:TIMEFRAME]=FILE",
            help="Bars that convert profit to the account currency.",
            rich_help_panel=_BARS,
        ),
    ] = None,
    bars_timezone: Annotated[
        str,
        typer.Option(
            callback=options.zone_name,
            help="Zone of times without an offset, in every file (not in --start and --end).",
            rich_help_panel=_BARS,
        ),
    ] = "UTC",
    start: Annotated[
        str | None,
        typer.Option(
            help="First open time, inclusive; UTC without an offset. Default: the first bar.", rich_help_panel=_BARS
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            help="End, exclusive; UTC without an offset. Default: the last bar's close.", rich_help_panel=_BARS
        ),
    ] = None,
    instruments: Annotated[
        Path | None, typer.Option(help="TOML file that extends the packaged instruments.", rich_help_panel=_BARS)
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Registered strategy (`backtest strategy list`).", rich_help_panel=_STRATEGY)
    ] = None,
    params: Annotated[
        str | None, typer.Option(help="Its parameters, a JSON object.", rich_help_panel=_STRATEGY)
    ] = None,
    signals: Annotated[
        Path | None,
        typer.Option(help="In place of --strategy: decisions from a CSV or Parquet file.", rich_help_panel=_STRATEGY),
    ] = None,
    execution_mode: Annotated[
        ExecutionMode, typer.Option(help="When decisions are filled.", rich_help_panel=_FILLS)
    ] = ExecutionMode.CLOSE_PRICE,
    on_opposite: Annotated[
        OnOpposite, typer.Option(help="What a signal against the open position does.", rich_help_panel=_FILLS)
    ] = OnOpposite.REVERSE,
    sl_pips: Annotated[
        float | None,
        typer.Option(callback=options.above_zero, help="Stop of decisions that bring none.", rich_help_panel=_FILLS),
    ] = None,
    tp_pips: Annotated[
        float | None,
        typer.Option(callback=options.above_zero, help="Target of decisions that bring none.", rich_help_panel=_FILLS),
    ] = None,
    tp_partial_close_ratio: Annotated[
        float,
        typer.Option(callback=options.ratio, help="Share closed at each target but the last.", rich_help_panel=_FILLS),
    ] = 0.5,
    stop_to_entry: Annotated[
        bool,
        typer.Option("--stop-to-entry/--keep-stop", help="Move the stop after a target.", rich_help_panel=_FILLS),
    ] = True,
    initial_balance: Annotated[
        float, typer.Option(callback=options.above_zero, help="Deposit.", rich_help_panel=_MONEY)
    ] = 10_000.0,
    account_currency: Annotated[str, typer.Option(help="Currency of the account.", rich_help_panel=_MONEY)] = "USD",
    volume: Annotated[
        float | None,
        typer.Option(callback=options.above_zero, help="Lots a trade. [default: 0.1]", rich_help_panel=_MONEY),
    ] = None,
    risk_pct: Annotated[
        float | None,
        typer.Option(
            callback=options.fraction_above_zero,
            help="Fraction of equity risked a trade (0.01 is 1 %); wins over --volume.",
            rich_help_panel=_MONEY,
        ),
    ] = None,
    spread_pips: Annotated[
        float, typer.Option(callback=options.at_least_zero, help="Spread on every bar.", rich_help_panel=_MONEY)
    ] = 1.5,
    spread_source: Annotated[
        SpreadSource, typer.Option(help="bars: the spread recorded in the bars.", rich_help_panel=_MONEY)
    ] = SpreadSource.FIXED,
    commission_per_lot: Annotated[
        float,
        typer.Option(callback=options.at_least_zero, help="Round trip, account currency.", rich_help_panel=_MONEY),
    ] = 0.0,
    trades: Annotated[
        Path | None, typer.Option(help="Write the trades to this .csv or .parquet file.", rich_help_panel=_OUTPUT)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Run one backtest here and now, without any server.

    Bars before --start warm indicators up. Exit status: 0 done, 1 the run failed, 2 bad input.
    """
    registry = read_instruments(instruments)
    instrument = instrument_for(symbol, registry)
    run_timeframe = options.known_timeframe(timeframe)
    source = _source(
        _Places(bars, market_data, tuple(context_bars or ()), tuple(conversion_bars or ()), bars_timezone),
        symbol,
        run_timeframe,
        registry,
    )
    decided_by = _decided_by(strategy, params, signals)
    if trades is not None:
        check_trade_path(trades)
    start_utc, end_utc = _range(
        options.utc_moment(start, "--start"), options.utc_moment(end, "--end"), source, symbol, run_timeframe
    )
    specification = Specification(
        symbol=symbol,
        timeframe=run_timeframe.name,
        start=start_utc,
        end=end_utc,
        strategy_key=decided_by.key,
        strategy_params=decided_by.params,
        context_timeframes=_contexts(context_timeframes, source, run_timeframe),
        initial_balance=initial_balance,
        account_currency=account_currency,
        spread_pips=spread_pips,
        spread_source=spread_source,
        execution_mode=execution_mode,
        commission_per_lot=commission_per_lot,
        tp_partial_close_ratio=tp_partial_close_ratio,
        volume=_fixed_volume(volume, risk_pct),
        risk_pct=risk_pct,
        stop_loss_pips=sl_pips,
        take_profit_pips=tp_pips,
        on_opposite=on_opposite,
        stop_to_entry=stop_to_entry,
    )
    check_specification(specification, instrument)
    data = assemble(specification, source, registry)
    decider = _decider(decided_by, specification, instrument, data, bars_timezone)
    with progress_bar() as show:
        result = run_backtest(specification, instrument, data, decider, on_progress=show)
    if trades is not None:
        write_trades(result.trades, trades)
    (print_json if as_json else print_table)(result)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the bars are, as named on the command line."""

    bars: Path | None
    market_data: str | None
    context: tuple[str, ...]
    conversion: tuple[str, ...]
    timezone: str


@dataclass(frozen=True, slots=True)
class _DecidedBy:
    """Who decides: a registered strategy with parameters, or a signal file."""

    key: str | None
    params: dict[str, Any]
    signals: Path | None


def _source(
    places: _Places, symbol: str, run_timeframe: Timeframe, registry: Mapping[str, Instrument]
) -> NamedBarFiles:
    if (places.bars is None) == (places.market_data is None):
        raise typer.BadParameter("give either --bars FILE or --market-data URL", param_hint="'--bars'")
    files = {run_timeframe.name: places.bars} if places.bars else {}
    for text in places.context:
        name, path = options.context_file(text, "--context-bars")
        if name in files or name == run_timeframe.name:
            raise typer.BadParameter(f"there are bars of {name} already", param_hint="'--context-bars'")
        files[name] = path
    conversion = {}
    for text in places.conversion:
        pair, own_timeframe, path = options.conversion_file(text, "--conversion-bars")
        if pair not in registry:
            raise UnknownSymbol(f"--conversion-bars: unknown symbol {pair!r}")
        if pair in conversion:
            raise typer.BadParameter(f"there are bars of {pair} already", param_hint="'--conversion-bars'")
        conversion[pair] = ConversionFile(path, own_timeframe)
    for path in (*files.values(), *(each.path for each in conversion.values())):
        options.readable_file(path)
    stored = ParquetMarketData(options.existing_place(places.market_data)) if places.market_data else None
    return NamedBarFiles(
        symbol=symbol, by_timeframe=files, conversion=conversion, timezone=places.timezone, stored=stored
    )


def _decided_by(strategy: str | None, params: str | None, signals: Path | None) -> _DecidedBy:
    if (strategy is None) == (signals is None):
        raise typer.BadParameter("give either --strategy KEY or --signals FILE", param_hint="'--strategy'")
    if signals is not None and params is not None:
        raise typer.BadParameter("are of a --strategy; --signals has none", param_hint="'--params'")
    return _DecidedBy(strategy, options.json_object(params, "--params") if params else {}, signals)


def _range(
    start: datetime | None, end: datetime | None, source: NamedBarFiles, symbol: str, run_timeframe: Timeframe
) -> tuple[datetime, datetime]:
    """The range asked for; a side left out is that of all the bars there are. Raises NoData when these lie outside."""
    if start is not None and end is not None:
        return start, end
    bars = source.load(symbol, run_timeframe.name, _FAR_FUTURE)
    if bars is None:
        raise NoData(f"no {symbol} {run_timeframe.name} bars in {source}")
    first, last = bars.frame["time"][0], bars.frame["time"][-1]
    behind = last + timedelta(microseconds=run_timeframe.duration_us)
    if (start or first) >= (end or behind):
        raise NoData(
            f"no {symbol} {run_timeframe.name} bars in that range: those in {source} are from {first} to {behind}"
        )
    return start or first, end or behind


def _contexts(listed: str, source: NamedBarFiles, run_timeframe: Timeframe) -> tuple[str, ...]:
    """Those listed and those with a file, shortest first; a file of a shorter timeframe only orders what happens
    inside a bar, unless it is listed too."""
    names = {*options.timeframe_list(listed, "--context-timeframes")}
    names |= {name for name in source.by_timeframe if options.known_timeframe(name) != run_timeframe}
    asked = {name for name in names if name in listed.split(",") or _is_longer(name, run_timeframe)}
    return tuple(sorted(asked, key=lambda name: options.known_timeframe(name).duration_us))


def _is_longer(name: str, run_timeframe: Timeframe) -> bool:
    return options.known_timeframe(name).duration_us > run_timeframe.duration_us


def _fixed_volume(volume: float | None, risk_pct: float | None) -> float | None:
    """risk_pct wins, so that a volume beside it decides nothing and must not enter the digest."""
    if risk_pct is not None:
        return None
    return 0.1 if volume is None else volume


def _decider(
    decided_by: _DecidedBy, specification: Specification, instrument: Instrument, data: RunData, timezone: str
) -> Decider:
    if decided_by.signals is None:
        key = decided_by.key or ""
        return choose_strategy(load_strategy(key), key, decided_by.params)
    first, _ = data.bars.between(microseconds(specification.start), microseconds(specification.end))
    frame = read_signals(decided_by.signals, timezone)
    return signals_from_frame(frame, str(decided_by.signals), data.bars, first, specification, instrument)
