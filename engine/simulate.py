"""Run one backtest: decisions in, fills and figures out, chunk by chunk so that it can be watched and stopped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from engine.deciders.bar_by_bar import Asking, guarded
from engine.deciders.decisions import Decisions, Signals, decisions_from_columns, patterns_of_trades
from engine.errors import InvalidParams, ParameterProblem, StrategyError
from engine.market.bars import Bars
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.resampling import join_context, resample
from engine.market.timeframes import timeframe
from engine.numeric.sums import sums_by_sign
from engine.numeric.times import as_us, iso_time
from engine.prepared import Machine, Simulation, build_machine, one_decision_slot
from engine.results.digest import input_parts
from engine.results.metrics import Metrics, compute_metrics, net_profit
from engine.results.result import BacktestResult, Ledger
from engine.specification import Specification, check_specification
from engine.strategy import BarStrategy, Market, StrategyParams
from engine.watch import CHUNK_BARS, Cancelled, OnProgress, Progress, Watch

__all__ = [
    "Cancelled",
    "ChosenStrategy",
    "Decider",
    "OnProgress",
    "Progress",
    "RunData",
    "choose_strategy",
    "finest",
    "run_backtest",
]

_AHEAD = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """All data of a run.

    bars: the run's timeframe, warm-up included; bars at or after the run's end are left out by the engine. context:
    given or stored bars by timeframe; a context timeframe that is not here is resampled from bars. finer: of finer data
    the finest (see finest), to order what happened inside a bar. conversion: bars by symbol. warnings: what whoever
    put them together noticed.
    """

    bars: Bars
    context: Mapping[str, Bars] = field(default_factory=dict)
    finer: Bars | None = None
    conversion: Mapping[str, Bars] = field(default_factory=dict)
    registry: Mapping[str, Instrument] = field(default_factory=packaged_instruments)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ChosenStrategy:
    """A strategy class and its validated parameters; each simulation makes its own object. See choose_strategy."""

    strategy: Callable[[Any, Instrument], Any]
    params: StrategyParams


Decider = ChosenStrategy | Signals


def run_backtest(
    specification: Specification,
    instrument: Instrument,
    data: RunData,
    decider: Decider,
    *,
    on_progress: OnProgress | None = None,
    chunk_bars: int = CHUNK_BARS,
) -> BacktestResult:
    """Simulate a run and return its figures. The chunk size changes nothing but how often on_progress is called.

    Where bars stay ambiguous a second, full simulation gives net_profit_target_first; a bar strategy is asked again.
    Raises InputRefused or RunFailed (engine.errors), and Cancelled.
    """
    check_specification(specification, instrument)
    bars = bars_until_end(data.bars, specification)
    machine = build_machine(specification, instrument, bars, data.finer, data.conversion, data.registry)
    context = context_bars(specification, instrument, data, bars)
    watch = Watch(machine, on_progress, chunk_bars)
    stop_first = simulate_once(machine, bars, context, decider, watch)
    target_first = stop_first
    if stop_first.ambiguous_bars:
        watch.first_pass = False
        target_first = simulate_once(machine, bars, context, decider, watch, reuse=stop_first)
    return _result(machine, data, bars, context, decider, stop_first, target_first)


def choose_strategy(strategy: Any, strategy_key: str, params: Mapping[str, Any]) -> ChosenStrategy:
    """Validate parameters against the strategy's Params. Raises InvalidParams naming every field at fault."""
    try:
        return ChosenStrategy(strategy, strategy.Params.model_validate(dict(params)))
    except ValidationError as error:
        problems = tuple(
            ParameterProblem(".".join(str(part) for part in found["loc"]) or "params", found["msg"])
            for found in error.errors()
        )
        raise InvalidParams(strategy_key, problems) from error


def finest(candidates: Mapping[str, Bars], run_timeframe: str) -> Bars | None:
    """Return the bars of the shortest timeframe below the run's, None without any. candidates: by timeframe."""
    longest = timeframe(run_timeframe).duration_us
    finer = [bars for name, bars in candidates.items() if timeframe(name).duration_us < longest and bars.height]
    return min(finer, key=lambda bars: bars.timeframe.duration_us, default=None)


# ------------------------------------------------------------------------------------------- one simulation


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One finished simulation, and the decisions it carried out."""

    decisions: Decisions
    ledger: Ledger
    state: Any

    @property
    def ambiguous_bars(self) -> int:
        return int(self.state["ambiguous_bars"])


def simulate_once(
    machine: Machine,
    bars: Bars,
    context: Mapping[str, Bars],
    decider: Decider,
    watch: Watch,
    reuse: Pass | None = None,
) -> Pass:
    """Run one simulation to its end; with `reuse` the target-first one, on the same decisions where they don't depend
    on fills."""
    target_first = reuse is not None
    strategy = None
    if isinstance(decider, ChosenStrategy):
        strategy = guarded(lambda: decider.strategy(decider.params, machine.instrument), "making the strategy")
        if not hasattr(strategy, "decide_all"):
            simulation = Simulation(machine, one_decision_slot(), target_first=target_first)
            said = _ask_bar_by_bar(simulation, strategy, bars, context, watch)
            return Pass(said, simulation.ledger(), simulation.state[0])
    if reuse is not None:
        decisions = reuse.decisions
    elif isinstance(decider, Signals):
        decisions = decider.decisions
    else:
        decisions = _decide_all(machine, strategy, bars, context)
    simulation = Simulation(machine, decisions, target_first=target_first)
    while simulation.bars_done < machine.bars and not simulation.ended:
        watch.look(simulation)
        simulation.simulate(min(simulation.bars_done + watch.chunk_bars, machine.bars))
    watch.look(simulation)
    return Pass(decisions, simulation.ledger(), simulation.state[0])


def _decide_all(machine: Machine, strategy: Any, bars: Bars, context: Mapping[str, Bars]) -> Decisions:
    """Ask a column strategy once, for all bars."""

    def asked() -> pl.DataFrame:
        market = Market(bars.frame, {name: join_context(bars, longer) for name, longer in context.items()})
        frame = guarded(lambda: strategy.decide_all(market), "decide_all")
        if not isinstance(frame, pl.DataFrame):
            raise StrategyError(f"decide_all returned {type(frame).__name__}, not a polars DataFrame")
        return frame

    return decisions_from_columns(asked(), bars, machine.first, machine.specification, machine.instrument)


def _ask_bar_by_bar(
    simulation: Simulation, strategy: BarStrategy, bars: Bars, context: Mapping[str, Bars], watch: Watch
) -> Decisions:
    """Ask at every close. The kernel goes ahead over bars on which nothing can happen unless the strategy decides;
    its answer is then carried out where it was given."""
    machine = simulation.machine
    asking = Asking(machine, strategy, bars, context)
    bar, quiet_until = 0, 0
    while bar < machine.bars:
        if bar % watch.bars_a_look == 0:
            watch.look(simulation, bar)
        if bar == quiet_until:
            simulation.state["bar"] = bar
            quiet_until = simulation.scan(min(bar + _AHEAD, machine.bars))
        eventful = bar == quiet_until
        if eventful:
            simulation.state["bar"] = bar
            simulation.settle()
            if simulation.ended:
                break
            asking.look_at(simulation)
        asking.view.equity = simulation.equity_now if eventful else simulation.equity.item(bar)
        decision = asking.ask(bar)
        if decision is not None and asking.changes_nothing(decision):
            decision = None
        if decision is not None or eventful:
            simulation.conclude(bar, decision)
            if simulation.ended:
                break
            asking.look_at(simulation)
            quiet_until = bar + 1
        bar += 1
    if not simulation.ended:
        simulation.state["bar"] = machine.bars
    watch.look(simulation)
    return asking.said()


# ------------------------------------------------------------------------------------------- before and after


def bars_until_end(bars: Bars, specification: Specification) -> Bars:
    """Leave out what is at or after the run's end: a column strategy must not see it."""
    before_end = int(np.searchsorted(bars.time_us, as_us(specification.end)))
    return bars if before_end == bars.height else bars.rows(0, before_end)


def context_bars(specification: Specification, instrument: Instrument, data: RunData, bars: Bars) -> dict[str, Bars]:
    """Return the bars of every context timeframe, given ones cut at the run's end too."""
    context = {}
    for name in specification.context_timeframes:
        own = data.context.get(name)
        if own is None:
            context[name] = resample(bars, timeframe(name), instrument)
        else:
            context[name] = bars_until_end(own, specification)
    return context


def _result(
    machine: Machine,
    data: RunData,
    bars: Bars,
    context: Mapping[str, Bars],
    decider: Decider,
    stop_first: Pass,
    target_first: Pass,
) -> BacktestResult:
    specification = machine.specification
    ledger = stop_first.ledger
    metrics = measure(machine, ledger)
    by_signals = isinstance(decider, Signals)
    return BacktestResult(
        specification=specification,
        instrument=machine.instrument,
        source="signals" if by_signals else "rule",
        metrics=metrics,
        ambiguous_bars=stop_first.ambiguous_bars,
        net_profit_target_first=net_profit(sums_by_sign(target_first.ledger.column("profit"))),
        run_warnings=(*data.warnings, *_warnings(machine, stop_first)),
        bars=bars,
        first_row=machine.first,
        days=machine.days.of_first(ledger.equity.size),
        ledger=ledger,
        patterns=patterns_of_trades(stop_first.decisions, ledger.column("deciding_bar")),
        digest_inputs=lambda: input_parts(
            specification,
            {} if isinstance(decider, Signals) else decider.params.model_dump(mode="json"),
            machine.instrument,
            _used(data, bars, context),
            decider.values if isinstance(decider, Signals) else (),
        ),
    )


def measure(machine: Machine, ledger: Ledger) -> Metrics:
    """Return the metrics of one simulation."""
    simulated = ledger.equity.size
    # The average over all bars is made once for all simulations of a run; after a stop-out it is one over fewer.
    spread_pips = machine.spread_pips if simulated < machine.bars else machine.average_spread
    return compute_metrics(
        profits=ledger.column("profit"),
        equity=ledger.equity,
        days=machine.days.of_first(simulated),
        deposit=machine.specification.initial_balance,
        session=machine.instrument.session,
        duration_us=machine.duration_us,
        spread_pips=spread_pips[:simulated] if isinstance(spread_pips, np.ndarray) else spread_pips,
    )


def _used(data: RunData, bars: Bars, context: Mapping[str, Bars]) -> dict[str, Bars]:
    """Return every set of bars the run used, by its role."""
    used = {"bars": bars} | {f"context {name}": longer for name, longer in context.items()}
    if data.finer is not None:
        used["finer"] = data.finer
    return used | {f"conversion {symbol}": pair for symbol, pair in data.conversion.items()}


def _warnings(machine: Machine, finished: Pass) -> tuple[str, ...]:
    """Say what a user should know about the run, with counts."""
    state, said = finished.state, []
    reasons = (
        ("refused_without_stop", "no stop to size the risk by"),
        ("refused_stop_beyond", "stop at or beyond the entry"),
        ("refused_below_step", "less than one lot step"),
    )
    counted = [(int(state[name]), reason) for name, reason in reasons if state[name]]
    if counted:
        total = sum(count for count, _ in counted)
        listed = ", ".join(f"{count} {reason}" for count, reason in counted)
        said.append(f"{total} decision{'s' if total > 1 else ''} opened nothing: {listed}")
    if finished.ambiguous_bars:
        count = finished.ambiguous_bars
        said.append(
            f"{count} bar{'s' if count > 1 else ''} reached both stop and target in an order not known:"
            " net_profit counts the stop first, net_profit_target_first the other way round"
        )
    if state["stopped_out"]:
        time = iso_time(int(machine.time_us[finished.ledger.equity.size - 1]))
        said.append(f"stopped out: no equity was left at the close of the bar at {time}, the run ended there")
    return tuple(said)
