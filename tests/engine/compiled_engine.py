"""The compiled engine behind the reference's face: the same plain data in and out, so that the two can be compared.

A scripted run may be given to it as a column strategy, a bar strategy or a signal file; all must come to the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

from engine.deciders.chosen import ChosenStrategy
from engine.deciders.decider import Decider
from engine.deciders.signals import signals_from_frame
from engine.errors import EngineError
from engine.market.bars import Bars, bars_from_frame
from engine.market.conversion import pairs_wanted
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.timeframes import TIMEFRAMES, Timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, OnOpposite, Specification, SpreadSource
from engine.strategy import Decision, Market, StrategyParams, View
from engine.watch import CHUNK_BARS, OnProgress
from tests.engine import reference

Style = Literal["columns", "bars", "signals"]
STYLES: tuple[Style, ...] = ("columns", "bars", "signals")
KNOWS_ORDERS = True
"""Whether goldens and random runs ask the engine for trails, time exits, moves, entry orders, slippage and leverage.
Set once the engine knows them."""
SYMBOL = "TESTED"
_BY_DURATION = {each.duration_us: each for each in TIMEFRAMES.values()} | {reference.MONTH_US: TIMEFRAMES["MN1"]}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WARNING_PATTERNS = {
    "stop_out": "stopped out",
    "opened_nothing": r"(\d+) decisions? opened nothing",
    "no_margin": r"(?:.* opened nothing: .*?)?(\d+) (?:decisions? opened nothing: (?:it|they) )?needed more margin",
    "not_moved": r"(\d+) MOVE",
}


class NoParams(StrategyParams):
    """A scripted strategy has nothing to set."""


class ScriptedColumns:
    """Decides for each bar what the script says, in columns."""

    def __init__(self, script: Sequence[reference.Decision | None]) -> None:
        self.script = script

    def decide_all(self, market: Market) -> pl.DataFrame:
        assert market.bars.height == len(self.script)
        return script_columns(self.script)


class ScriptedBars:
    """Decides for each bar what the script says, bar by bar; it must be asked exactly once at each."""

    def __init__(self, script: Sequence[reference.Decision | None], first_bar: int) -> None:
        self.script = script
        self.asked = first_bar

    def decide(self, view: View) -> Decision | None:
        self.asked += 1
        assert view.close.size == self.asked
        scripted = self.script[self.asked - 1]
        if scripted is None:
            return None
        values: dict[str, Any] = {
            "action": scripted.action,
            "volume": scripted.volume,
            "stop_loss": scripted.stop_loss,
            "take_profits": scripted.take_profits,
        }
        return Decision(**values, **_order_fields(scripted))


def simulate(*arguments: Any, **options: Any) -> reference.Simulation:
    """Run the engine on the reference's input (`run`) and return the reference's output."""
    return as_simulation(run(*arguments, **options))


def run(
    bars: Sequence[reference.Bar],
    decisions: Sequence[reference.Decision | None],
    config: reference.Config,
    *,
    first_bar: int = 0,
    conversion_bars: Mapping[str, reference.Series] | None = None,
    finer_bars: reference.Series | None = None,
    style: Style = "columns",
    chunk_bars: int = CHUNK_BARS,
    on_progress: OnProgress | None = None,
    decided_by: Callable[[Decider], Decider] | None = None,
) -> BacktestResult:
    """Run the engine on the reference's input. decided_by: who decides in place of the script's decider."""
    timeframe = timeframe_of(config.timeframe_us)
    instrument = Instrument(symbol=symbol_of(config), **_given(config.instrument))
    specification = _specification(bars, config, first_bar, timeframe)
    run_bars = make_bars(bars, timeframe)
    registry = {**packaged_instruments(), instrument.symbol: instrument}
    data = RunData(
        bars=run_bars,
        finer=None if finer_bars is None else make_bars(finer_bars.bars, timeframe_of(finer_bars.timeframe_us)),
        conversion={
            symbol: make_bars(series.bars, timeframe_of(series.timeframe_us))
            for symbol, series in (conversion_bars or {}).items()
        },
        registry=registry,
    )
    assert pairs_wanted(instrument, config.account_currency, registry) is not None
    decider = _decider(style, run_bars, decisions, first_bar, specification, instrument)
    decider = decider if decided_by is None else decided_by(decider)
    return run_backtest(specification, instrument, data, decider, on_progress=on_progress, chunk_bars=chunk_bars)


def as_simulation(result: BacktestResult) -> reference.Simulation:
    """Return a result in the reference's terms."""
    return reference.Simulation(
        trades=tuple(_trade(row) for row in result.trades.iter_rows(named=True)),
        equity=tuple(result.trail.equity.tolist()),
        ambiguous_bars=result.ambiguous_bars,
        net_profit=result.net_profit,
        net_profit_stop_first=result.net_profit_stop_first,
        net_profit_target_first=result.net_profit_target_first,
        final_equity=result.final_equity,
        warnings=_warnings(result),
        metrics={name: value for name, value in asdict(result.metrics).items() if name != "null_reasons"},
        null_reasons=result.null_reasons,
        total_slippage_cost=result.total_slippage_cost,
    )


def timeframe_of(length_us: int) -> Timeframe:
    """The engine's timeframe of that length, MN1's being the reference's name for it."""
    return _BY_DURATION[length_us]


def make_bars(bars: Sequence[reference.Bar], timeframe: Timeframe) -> Bars:
    columns: dict[str, Any] = {
        "time": pl.Series([bar.time_us for bar in bars], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
    }
    for name in ("open", "high", "low", "close"):
        columns[name] = [float(getattr(bar, name)) for bar in bars]
    if all(bar.spread_points is not None for bar in bars):
        columns["spread"] = [float(bar.spread_points or 0.0) for bar in bars]
    return bars_from_frame(pl.DataFrame(columns), timeframe, "test")


def script_columns(script: Sequence[reference.Decision | None]) -> pl.DataFrame:
    """Return a script as decide_all would: one row a bar."""
    most = max((len(each.take_profits) for each in script if each is not None), default=0)
    columns: dict[str, pl.Series] = {
        "action": pl.Series([None if each is None else each.action for each in script], dtype=pl.String),
        "volume": pl.Series([None if each is None else each.volume for each in script], dtype=pl.Float64),
        "stop_loss": pl.Series([None if each is None else each.stop_loss for each in script], dtype=pl.Float64),
    }
    for j in range(most):
        name = "take_profit" if j == 0 else f"take_profit_{j + 1}"
        targets = [None if each is None or len(each.take_profits) <= j else each.take_profits[j] for each in script]
        columns[name] = pl.Series(targets, dtype=pl.Float64)
    orders = [{} if each is None else _order_fields(each) for each in script]
    for name in sorted({name for each in orders for name in each}):
        columns[name] = pl.Series([each.get(name) for each in orders])
    return pl.DataFrame(columns)


def _order_fields(decision: reference.Decision) -> dict[str, Any]:
    """What a decision says beyond action, volume and levels."""
    names = ("trailing_stop", "max_bars", "order", "price", "expires_bars")
    given = {name: getattr(decision, name) for name in names}
    return {name: value for name, value in given.items() if value is not None and value != "market"}


def _given(instrument: reference.Instrument) -> dict[str, Any]:
    """Only what the instrument says: the engine has defaults of its own for the rest."""
    return {name: value for name, value in asdict(instrument).items() if value is not None}


def symbol_of(config: reference.Config) -> str:
    """The symbol under which a pair's own bars are found as a conversion pair."""
    return config.instrument.base + config.instrument.quote


def _specification(
    bars: Sequence[reference.Bar], config: reference.Config, first_bar: int, timeframe: Timeframe
) -> Specification:
    no_size = config.volume is None and config.risk_pct is None
    return Specification(
        symbol=symbol_of(config),
        timeframe=timeframe.name,
        start=_EPOCH + timedelta(microseconds=bars[first_bar].time_us),
        end=_EPOCH + timedelta(microseconds=bars[-1].time_us + 1),
        strategy_key="scripted",
        strategy_params={},
        initial_balance=config.initial_balance,
        account_currency=config.account_currency,
        spread_pips=config.spread_pips,
        spread_source=SpreadSource(config.spread_source),
        execution_mode=ExecutionMode(config.mode),
        commission_per_lot=config.commission_per_lot,
        tp_partial_close_ratio=config.tp_partial_close_ratio,
        volume=0.1 if no_size else config.volume,
        risk_pct=config.risk_pct,
        stop_loss_pips=config.sl_pips,
        take_profit_pips=config.tp_pips,
        on_opposite=OnOpposite(config.on_opposite),
        stop_to_entry=config.stop_to_entry,
        skip_hours=config.skip_hours,
        skip_weekdays=config.skip_weekdays,
        skip_timezone=config.skip_timezone,
        **_account_fields(config),
    )


def _account_fields(config: reference.Config) -> dict[str, Any]:
    """Costs and limits of the account, those that are not off."""
    names = ("slippage_pips", "commission_pct", "leverage", "stop_out_pct")
    return {name: getattr(config, name) for name in names if getattr(config, name)}


def _decider(
    style: Style,
    bars: Bars,
    script: Sequence[reference.Decision | None],
    first_bar: int,
    specification: Specification,
    instrument: Instrument,
) -> Decider:
    match style:
        case "columns":
            return ChosenStrategy(lambda _params, _instrument: ScriptedColumns(script), NoParams())
        case "bars":
            return ChosenStrategy(lambda _params, _instrument: ScriptedBars(script, first_bar), NoParams())
        case "signals":
            frame = script_columns(script).insert_column(0, bars.frame["time"])
            frame = frame.filter(pl.col("action").is_not_null())
            return signals_from_frame(frame, "signals", bars, first_bar, specification, instrument)


def _trade(row: dict[str, Any]) -> reference.Trade:
    values = {each.name: row[each.name] for each in fields(reference.Trade)}
    for name in ("entry_time", "exit_time"):
        values[name] = (values[name] - _EPOCH) // timedelta(microseconds=1)
    return reference.Trade(**values)


def _warnings(result: BacktestResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for warning in result.run_warnings:
        for kind, pattern in _WARNING_PATTERNS.items():
            found = re.match(pattern, warning)
            if found:
                counts[kind] = int(found[1]) if found.groups() else 1
    sized = counts.pop("opened_nothing", 0) - counts.get("no_margin", 0)
    return counts | ({"not_sized": sized} if sized else {})


__all__ = [
    "KNOWS_ORDERS",
    "STYLES",
    "EngineError",
    "Style",
    "as_simulation",
    "make_bars",
    "script_columns",
    "simulate",
    "timeframe_of",
]
