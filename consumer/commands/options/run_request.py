"""The options of commands that run, audit or search a strategy, as one object.

Apart from the commands because all of them must read the same options in the same way.
"""

import inspect
import os
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

import typer

from consumer.commands.options import run_options as given
from engine.specification import ExecutionMode, OnOpposite, SpreadSource

_PREFIX = "BACKTEST_"
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


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
