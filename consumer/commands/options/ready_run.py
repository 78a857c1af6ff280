"""From the options of a command to a run that is ready: specification, data, and who decides."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from consumer.commands.options import values as options
from consumer.commands.options.advice_request import advice_asked, mode_of
from consumer.commands.options.instruments import print_guess, with_class
from consumer.commands.options.run_request import RunRequest
from consumer.preparation.inputs import assemble, extent_us, what_there_is
from consumer.preparation.strategy import strategy_in_file, strategy_with
from consumer.preparation.strategy_file import names_a_file
from consumer.rules.advice import RULE_ONLY
from consumer.wiring.files import (
    ConversionFile,
    NamedBarFiles,
    instruments_of,
    market_data_at,
    read_bars,
    read_rules,
    read_signals,
)
from engine.advice import DecidedBy as Mode
from engine.deciders.advised.terms import split_params
from engine.deciders.chosen import ChosenStrategy
from engine.deciders.decider import Decider
from engine.deciders.signals import signals_from_frame
from engine.errors import NoData, UnknownSymbol
from engine.expressions.document import KEY as RULES
from engine.expressions.merging import with_params
from engine.market.bars import Bars
from engine.market.instruments import Instrument, closest_symbols, instrument_for, symbol_in
from engine.market.timeframes import Timeframe
from engine.numeric.times import as_us
from engine.prepared import RunData
from engine.specification import Specification, check_specification
from engine.warm_up import WarmUp, most_of, signals_warm_up

if TYPE_CHECKING:
    from consumer.commands.options.row_request import RowOfRun, SearchOfRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class ReadyRun:
    """What run_backtest takes. rule: who decides, alone or with a model; None where a model decides alone."""

    specification: Specification
    instrument: Instrument
    data: RunData
    rule: Decider | None


def show_unknown_symbol(request: RunRequest) -> None:
    """Print on stdout what could stand in the instruments file for the request's symbol, where it is not known."""
    registry = _registry(request)
    if symbol_in(registry, request.symbol) is None:
        print_guess(request.symbol, registry, lambda: _some_bars(request))


@dataclass(frozen=True, slots=True, eq=False)
class AskedRun:
    """What the options ask for, checked; no bar of the run is read yet."""

    specification: Specification
    instrument: Instrument
    source: NamedBarFiles
    registry: Mapping[str, Instrument]
    decided_by: "DecidedBy"
    row: "RowOfRun | None" = None

    def data(self, needed: WarmUp) -> RunData:
        """Read the bars, those of the warm-up included. Raises what `assemble` raises, and UnknownSymbol."""
        with _nearest_named(self.source, self.specification.symbol):
            data = assemble(self.specification, self.source, self.registry, needed)
        return replace(data, warnings=(*data.warnings, *self.source.warnings(self.instrument.session)))


def read_run(request: RunRequest) -> ReadyRun:
    """Check the options, read the files and choose who decides. Raises what each step refuses, and NoData."""
    asked = read_asked(request)
    specification, instrument = asked.specification, asked.instrument
    by = asked.decided_by.by
    if isinstance(by, Path):
        data = asked.data(signals_warm_up(specification))
        return ReadyRun(specification, instrument, data, _signals(by, specification, instrument, data, request))
    rule = None if by is None else by()
    needed = [] if rule is None else [rule.warm_up(specification)]
    if specification.advice is not None:
        from engine.deciders.advised.warm_up import advice_warm_up  # late: it loads what evaluates expressions

        needed.append(advice_warm_up(specification))
    return ReadyRun(specification, instrument, asked.data(most_of(needed)), rule)


def read_asked(request: RunRequest, *, search: "SearchOfRow | None" = None, row: "RowOfRun | None" = None) -> AskedRun:
    """Check the options against each other and the files. Raises what each step refuses, and NoData.

    search: what is searched. row: that of --strategy-id, where it was read already.
    """
    registry = _registry(request)
    instrument = instrument_for(request.symbol, registry)
    request = replace(request, symbol=instrument.symbol)
    row = row or _row_named(request, search)
    if row is None and request.timeframe is None:
        raise typer.BadParameter("is required, e.g. H1", param_hint="'--timeframe'")
    run_timeframe = options.known_timeframe(row.timeframe if row is not None else request.timeframe or "")
    source = _source(request, run_timeframe, registry)
    if row is None:
        decided_by = _decided_by(request)
        specification = _specification(request, decided_by, source, run_timeframe)
    else:
        contexts = _contexts("", source, run_timeframe)
        bounds = _bounds(request, source, run_timeframe)
        specification = row.specification(request.symbol, *bounds, contexts, registry)
        decided_by = _of_specification(specification)
    check_specification(specification, instrument)
    return AskedRun(specification, instrument, source, registry, decided_by, row)


def _row_named(request: RunRequest, search: "SearchOfRow | None") -> "RowOfRun | None":
    if request.strategy_id is None:
        return None
    named = {"--strategy": request.strategy, "--rules": request.rules, "--signals": request.signals}
    for option, value in named.items():
        if value is not None:
            raise typer.BadParameter("stands beside --strategy-id: one of them", param_hint=f"'{option}'")
    # Late: a run without a row needs nothing of what holds requests to rows.
    from consumer.commands.options.row_request import read_row

    return read_row(request, search)


def _of_specification(specification: Specification) -> "DecidedBy":
    key, params = specification.strategy_key, specification.strategy_params
    return DecidedBy(key, params, None if key is None else partial(strategy_with, key, params))


def _bounds(request: RunRequest, source: NamedBarFiles, run_timeframe: Timeframe) -> tuple[datetime, datetime]:
    with _nearest_named(source, request.symbol):
        return _range(
            options.utc_moment(request.start, "--start"),
            options.utc_moment(request.end, "--end"),
            source,
            request.symbol,
            run_timeframe,
        )


def _specification(
    request: RunRequest, decided_by: "DecidedBy", source: NamedBarFiles, run_timeframe: Timeframe
) -> Specification:
    advice = advice_asked(request, decided_by.llm)
    start_utc, end_utc = _bounds(request, source, run_timeframe)
    return Specification(
        symbol=request.symbol,
        timeframe=run_timeframe.name,
        start=start_utc,
        end=end_utc,
        strategy_key=decided_by.name,
        strategy_params=decided_by.params,
        context_timeframes=_contexts(request.context_timeframes, source, run_timeframe),
        initial_balance=request.initial_balance,
        account_currency=request.account_currency or "USD",
        spread_pips=request.spread_pips,
        spread_source=request.spread_source,
        execution_mode=request.execution_mode,
        commission_per_lot=request.commission_per_lot,
        tp_partial_close_ratio=request.tp_partial_close_ratio,
        volume=_fixed_volume(request.volume, request.risk_pct),
        risk_pct=request.risk_pct,
        stop_loss_pips=request.sl_pips,
        take_profit_pips=request.tp_pips,
        on_opposite=request.on_opposite,
        stop_to_entry=request.stop_to_entry,
        warm_up_bars=request.warm_up_bars,
        slippage_pips=request.slippage_pips,
        commission_pct=request.commission_pct,
        leverage=request.leverage,
        stop_out_pct=request.stop_out_pct,
        advice=advice,
    )


def _registry(request: RunRequest) -> Mapping[str, Instrument]:
    return with_class(request.symbol, instruments_of(request.instruments), request.instrument_class, request.quote)


def _some_bars(request: RunRequest) -> Bars | None:
    """All bars of the symbol that the request names, whatever the range."""
    if request.timeframe is None:
        return None
    of = options.known_timeframe(request.timeframe)
    if request.bars is not None:
        return read_bars(
            request.bars, of, request.bars_timezone, format_name=request.format_name, date_order=request.date_order
        )
    return (
        market_data_at(request.market_data).load(request.symbol, of.name, options.FAR_FUTURE)
        if request.market_data
        else None
    )


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """Who decides: a strategy with parameters, or a signal file.

    name: the key of a registered strategy, the class of one in a file, since a digest names no path. by: finds the
    strategy and holds the parameters to it; or the signal file; None where a model decides alone. llm: what stands
    under that name among the parameters.
    """

    name: str | None
    params: dict[str, Any]
    by: Callable[[], ChosenStrategy] | Path | None
    llm: Any = None


def _source(request: RunRequest, run_timeframe: Timeframe, registry: Mapping[str, Instrument]) -> NamedBarFiles:
    if (request.bars is None) == (request.market_data is None):
        raise typer.BadParameter(
            "give either --bars FILE or --market-data URL (or set BACKTEST_MARKET_DATA_URL)", param_hint="'--bars'"
        )
    files = {run_timeframe.name: request.bars} if request.bars else {}
    for text in request.context_bars or ():
        name, path = options.context_file(text, "--context-bars")
        if name in files or name == run_timeframe.name:
            raise typer.BadParameter(f"there are bars of {name} already", param_hint="'--context-bars'")
        files[name] = path
    conversion = {}
    for text in request.conversion_bars or ():
        pair, own_timeframe, path = options.conversion_file(text, "--conversion-bars")
        known = symbol_in(registry, pair)
        if known is None:
            raise UnknownSymbol(f"--conversion-bars: unknown symbol {pair!r}{closest_symbols(pair, registry)}")
        pair = known
        if pair in conversion:
            raise typer.BadParameter(f"there are bars of {pair} already", param_hint="'--conversion-bars'")
        conversion[pair] = ConversionFile(path, own_timeframe)
    for path in (*files.values(), *(each.path for each in conversion.values())):
        options.readable_file(path)
    stored = market_data_at(options.existing_place(request.market_data)) if request.market_data else None
    return NamedBarFiles(
        symbol=request.symbol,
        by_timeframe=files,
        conversion=conversion,
        timezone=request.bars_timezone,
        format_name=request.format_name,
        date_order=request.date_order,
        stored=stored,
    )


def _decided_by(request: RunRequest) -> DecidedBy:
    mode = mode_of(request)
    named = [each for each in (request.strategy, request.rules, request.signals) if each is not None]
    if mode in _ALONE and not named:
        if request.params is not None:
            raise typer.BadParameter("are a --strategy's; what decides alone has --llm", param_hint="'--params'")
        return DecidedBy(None, {}, None)
    if len(named) != 1:
        ways = "give either --strategy KEY, --rules FILE or --signals FILE"
        raise typer.BadParameter(ways, param_hint="'--strategy'")
    if mode is Mode.LLM_ONLY:
        raise typer.BadParameter(f"mode {mode} has no use for a rule", param_hint="'--decided-by'")
    if request.signals is not None:
        if request.params is not None:
            raise typer.BadParameter("are of a --strategy; --signals has none", param_hint="'--params'")
        if mode is not None:
            raise typer.BadParameter("is of a --strategy or --rules, not of --signals", param_hint="'--decided-by'")
        return DecidedBy(None, {}, request.signals)
    params = options.json_object(request.params, "--params") if request.params else {}
    if request.rules is not None:
        document, llm = _split(read_rules(options.readable_file(request.rules)), request)
        document = with_params(document, params) if params else document
        return DecidedBy(RULES, document, partial(strategy_with, RULES, document), llm)
    key = request.strategy or ""
    params, llm = _split(params, request)
    if names_a_file(key):
        return DecidedBy(key.rpartition(":")[2], params, partial(strategy_in_file, key, params), llm)
    return DecidedBy(key, params, partial(strategy_with, key, params), llm)


def _split(params: Mapping[str, Any], request: RunRequest) -> tuple[dict[str, Any], Any]:
    """Part `llm` from a rule's own parameters; one that asks nobody is told that it is none of them."""
    return (dict(params), None) if request.decided_by in (None, RULE_ONLY) else split_params(params)


_ALONE = (Mode.LLM_ONLY, Mode.MULTI_AGENT)


def _range(
    start: datetime | None, end: datetime | None, source: NamedBarFiles, symbol: str, run_timeframe: Timeframe
) -> tuple[datetime, datetime]:
    """The range asked for; a side left out is that of all the bars there are. Raises NoData when these lie outside."""
    if start is not None and end is not None:
        return start, end
    extent = extent_us(source, symbol, run_timeframe)
    if extent is None:
        there_is = what_there_is(source, symbol, run_timeframe)
        raise NoData(f"no {symbol} {run_timeframe.name} bars in {source}: {there_is}")
    first, behind = (_EPOCH + timedelta(microseconds=each) for each in extent)
    if (start or first) >= (end or behind):
        raise NoData(
            f"no {symbol} {run_timeframe.name} bars in that range of {source}:"
            f" {what_there_is(source, symbol, run_timeframe)}"
        )
    return start or first, end or behind


@contextmanager
def _nearest_named(source: NamedBarFiles, symbol: str) -> Iterator[None]:
    """Where there is no bar because market data have nothing of the symbol, it was the wrong one: UnknownSymbol, with
    those that may have been meant.
    """
    try:
        yield
    except NoData as error:
        if source.stored is None or source.timeframes(symbol):
            raise
        meant = closest_symbols(symbol, source.stored.symbols())
        message = f"no bars of {symbol!r} in {source.stored}{meant}; `backtest data import` stores bars"
        raise UnknownSymbol(message) from error


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


def _signals(
    file: Path, specification: Specification, instrument: Instrument, data: RunData, request: RunRequest
) -> Decider:
    first, _ = data.bars.between(as_us(specification.start), as_us(specification.end))
    frame = read_signals(file, request.bars_timezone, date_order=request.date_order)
    return signals_from_frame(frame, str(file), data.bars, first, specification, instrument)
