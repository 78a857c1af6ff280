"""From the options of a command to a run that is ready: specification, data, and who decides.

Apart from the commands because `backtest run` and `backtest audit` must read the same options in the same way.
"""

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from consumer.commands.options import run_options as given
from consumer.commands.options import values as options
from consumer.commands.options.advice_request import advice_asked, mode_of
from consumer.commands.options.instruments import print_guess, with_class
from consumer.preparation.inputs import assemble, extent_us, what_there_is
from consumer.preparation.strategy import strategy_in_file, strategy_with
from consumer.preparation.strategy_file import names_a_file
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
from engine.deciders.advised.warm_up import advice_warm_up
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
from engine.specification import ExecutionMode, OnOpposite, Specification, SpreadSource, check_specification
from engine.warm_up import WarmUp, most_of, signals_warm_up

if TYPE_CHECKING:
    from consumer.commands.options.row_request import RowOfRun

_PREFIX = "BACKTEST_"
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Options as given, with their defaults, not yet checked against each other or any file."""

    symbol: given.SymbolOption
    timeframe: given.TimeframeOption = None
    bars: given.BarsOption = None
    market_data: given.MarketDataOption = None
    context_bars: given.ContextBarsOption = None
    context_timeframes: given.ContextTimeframesOption = ""
    conversion_bars: given.ConversionBarsOption = None
    bars_timezone: given.BarsTimezoneOption = "UTC"
    format_name: given.FormatOption = None
    date_order: given.DateOrderOption = None
    start: given.StartOption = None
    end: given.EndOption = None
    warm_up_bars: given.WarmUpBarsOption = None
    instruments: given.InstrumentsOption = None
    instrument_class: given.InstrumentClassOption = None
    quote: given.QuoteOption = "USD"
    strategy: given.StrategyOption = None
    strategy_id: given.StrategyIdOption = None
    rules: given.RulesOption = None
    params: given.ParamsOption = None
    signals: given.SignalsOption = None
    execution_mode: given.ExecutionModeOption = ExecutionMode.CLOSE_PRICE
    on_opposite: given.OnOppositeOption = OnOpposite.REVERSE
    sl_pips: given.SlPipsOption = None
    tp_pips: given.TpPipsOption = None
    tp_partial_close_ratio: given.TpPartialCloseRatioOption = 0.5
    stop_to_entry: given.StopToEntryOption = True
    initial_balance: given.InitialBalanceOption = 10_000.0
    account_currency: given.AccountCurrencyOption = None
    volume: given.VolumeOption = None
    risk_pct: given.RiskPctOption = None
    spread_pips: given.SpreadPipsOption = 1.5
    spread_source: given.SpreadSourceOption = SpreadSource.FIXED
    commission_per_lot: given.CommissionPerLotOption = 0.0
    slippage_pips: given.SlippagePipsOption = 0.0
    commission_pct: given.CommissionPctOption = 0.0
    leverage: given.LeverageOption = None
    stop_out_pct: given.StopOutPctOption = 0.0
    decided_by: given.DecidedByOption = None
    llm: given.LlmOption = None
    max_llm_calls: given.MaxLlmCallsOption = None
    custom_prompt: given.CustomPromptOption = None
    custom_prompt_file: given.CustomPromptFileOption = None
    llm_ledger: given.LlmLedgerOption = None
    llm_replay: given.LlmReplayOption = False
    skip_llm: given.SkipLlmOption = False
    explicit: frozenset[str] = frozenset()
    """No option: the names of those that were given, whatever their value."""

    @property
    def named_files(self) -> tuple[Path | None, ...]:
        """The files that the options name for reading."""
        after_equals = [text.partition("=")[2] for text in (*(self.context_bars or ()), *(self.conversion_bars or ()))]
        own = (self.bars, self.signals, self.rules, self.instruments, self.custom_prompt_file, self.llm_ledger)
        return (*own, *map(Path, after_equals))


def with_run_options(*, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Give a command these options, all but some: it takes them as a RunRequest, its first parameter.

    typer reads signatures, so the command's is made of the request's fields and its own other parameters.
    """
    given_fields = [field for field in fields(RunRequest) if field.name not in {*without, "explicit"}]

    def decorate(command: Callable[..., None]) -> Any:
        def called(**values: Any) -> None:
            context = values.pop(_CONTEXT)
            explicit = frozenset(name for name in values if _was_given(context, name))
            given_values = {field.name: values.pop(field.name) for field in given_fields}
            request = RunRequest(**given_values, explicit=explicit)
            command(_with_environment(request), **values)

        own = list(inspect.signature(command).parameters.values())[1:]
        context = inspect.Parameter(_CONTEXT, _KEYWORD, annotation=typer.Context)
        parameters = [context, *map(_as_parameter, given_fields), *(each.replace(kind=_KEYWORD) for each in own)]
        adapted: Any = called
        adapted.__name__, adapted.__doc__ = command.__name__, command.__doc__
        adapted.__signature__ = inspect.Signature(parameters)
        adapted.__annotations__ = {each.name: each.annotation for each in parameters}
        return adapted

    return decorate


_CONTEXT = "context"
ADVICE_OPTIONS = (
    *("decided_by", "llm", "max_llm_calls", "custom_prompt", "custom_prompt_file"),
    *("llm_ledger", "llm_replay", "skip_llm"),
)
"""Those that concern a language model: no search asks one, and none is audited."""


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _with_environment(request: RunRequest) -> RunRequest:
    """The request with what its options leave open as the environment has it; bars from files need no market data."""
    if not any(name.startswith(_PREFIX) for name in os.environ):
        return request
    # Late: reading settings takes a tenth of a second, which a run without variables of ours need not pay.
    from consumer.settings import StoreSettings, load_settings

    settings = load_settings(StoreSettings)
    is_set = settings.model_fields_set
    market_data, instruments, currency = request.market_data, request.instruments, request.account_currency
    if market_data is None and request.bars is None and "market_data_url" in is_set:
        market_data = settings.market_data_url
    if instruments is None:
        instruments = settings.instruments_file
    if currency is None and "account_currency" in is_set:
        currency = settings.account_currency
    return replace(request, market_data=market_data, instruments=instruments, account_currency=currency)


def _as_parameter(field: Field[Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, _KEYWORD, default=default, annotation=field.type)


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

    def data(self, needed: WarmUp) -> RunData:
        """Read the bars, those of the warm-up included. Raises what `assemble` raises."""
        data = assemble(self.specification, self.source, self.registry, needed)
        return replace(data, warnings=(*data.warnings, *self.source.warnings(self.instrument.session)))


def read_run(request: RunRequest) -> ReadyRun:
    """Check the options, read the files and choose who decides. Raises what each step refuses, and NoData."""
    asked = read_asked(request)
    specification, instrument = asked.specification, asked.instrument
    by = asked.decided_by.by
    if by is None:
        data = asked.data(advice_warm_up(specification))
        return ReadyRun(specification, instrument, data, None)
    if isinstance(by, Path):
        data = asked.data(signals_warm_up(specification))
        return ReadyRun(specification, instrument, data, _signals(by, specification, instrument, data, request))
    chosen = by()
    needed = chosen.warm_up(specification)
    if specification.advice is not None:
        needed = most_of([needed, advice_warm_up(specification)])
    return ReadyRun(specification, instrument, asked.data(needed), chosen)


def read_asked(request: RunRequest) -> AskedRun:
    """Check the options against each other and the files. Raises what each step refuses, and NoData."""
    registry = _registry(request)
    instrument = instrument_for(request.symbol, registry)
    request = replace(request, symbol=instrument.symbol)
    row = _row_named(request)
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
    return AskedRun(specification, instrument, source, registry, decided_by)


def _row_named(request: RunRequest) -> "RowOfRun | None":
    if request.strategy_id is None:
        return None
    named = {"--strategy": request.strategy, "--rules": request.rules, "--signals": request.signals}
    for option, value in named.items():
        if value is not None:
            raise typer.BadParameter("stands beside --strategy-id: one of them", param_hint=f"'{option}'")
    # Late: a run without a row needs nothing of what holds requests to rows.
    from consumer.commands.options.row_request import read_row

    return read_row(request)


def _of_specification(specification: Specification) -> "DecidedBy":
    key, params = specification.strategy_key, specification.strategy_params
    return DecidedBy(key, params, None if key is None else partial(strategy_with, key, params))


def _bounds(request: RunRequest, source: NamedBarFiles, run_timeframe: Timeframe) -> tuple[datetime, datetime]:
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
        document, llm = split_params(read_rules(options.readable_file(request.rules)))
        document = with_params(document, params) if params else document
        return DecidedBy(RULES, document, partial(strategy_with, RULES, document), llm)
    key = request.strategy or ""
    params, llm = split_params(params)
    if names_a_file(key):
        return DecidedBy(key.rpartition(":")[2], params, partial(strategy_in_file, key, params), llm)
    return DecidedBy(key, params, partial(strategy_with, key, params), llm)


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
