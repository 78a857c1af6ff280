"""Run one backtest: decisions in, fills and figures out, chunk by chunk so that it can be watched and stopped."""

from engine.deciders.decider import Asked, Decider
from engine.deciders.decisions import Decisions, one_decision_slot, patterns_of_trades
from engine.kernel.layout import REASONS, SIGNAL
from engine.market.instruments import Instrument
from engine.numeric.sums import sums_by_sign
from engine.prepared import PreparedRun, RunData, prepare_run
from engine.results.digest import input_parts
from engine.results.measuring import Pass, measure
from engine.results.metrics import net_profit
from engine.results.result import BacktestResult
from engine.results.warnings import warnings_of
from engine.simulation import Simulation
from engine.specification import Specification
from engine.watch import CHUNK_BARS, OnProgress, Watch

_AHEAD = 256


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
    run = prepare_run(specification, instrument, data, decider.warm_up(specification))
    watch = Watch(run, on_progress, chunk_bars)
    stop_first = simulate_once(run, decider, watch)
    target_first = stop_first
    if stop_first.ambiguous_bars:
        watch.first_pass = False
        target_first = simulate_once(run, decider, watch, before=stop_first)
    return _result(run, decider, stop_first, target_first)


def simulate_once(run: PreparedRun, decider: Decider, watch: Watch, before: Pass | None = None) -> Pass:
    """Run one simulation to its end; with `before`, which fills the stop first, the target-first one."""
    carrier = _Carrier(run, watch, target_first=before is not None)
    decisions = decider.decide(run, carrier, None if before is None else before.decisions)
    simulation = carrier.simulation
    trail = simulation.trail()
    if decider.closes_as != REASONS[SIGNAL]:
        reasons = trail.rows["exit_reason"]
        reasons[reasons == SIGNAL] = REASONS.index(decider.closes_as)
    orders = None if simulation.orders is None else simulation.orders[0]
    return Pass(decisions, trail, simulation.state[0], orders)


class _Carrier:
    """A simulation that waits for decisions. Implements engine.deciders.decider.Carrier."""

    def __init__(self, run: PreparedRun, watch: Watch, *, target_first: bool) -> None:
        self._run, self._watch, self._target_first = run, watch, target_first
        self.simulation: Simulation
        """There from when one of the methods was called."""

    def carry_out(self, decisions: Decisions) -> None:
        self.simulation = simulation = Simulation(self._run, decisions, target_first=self._target_first)
        watch, bars = self._watch, self._run.bar_count
        while simulation.bars_done < bars and not simulation.ended:
            watch.look(simulation)
            simulation.simulate(min(simulation.bars_done + watch.chunk_bars, bars))
        watch.look(simulation)

    def ask_at_each_close(self, asked: Asked) -> None:
        """The kernel goes ahead over bars on which nothing can happen unless the strategy decides; its answer is then
        carried out where it was given."""
        self.simulation = simulation = Simulation(self._run, one_decision_slot(), target_first=self._target_first)
        watch, bars = self._watch, self._run.bar_count
        bar, quiet_until = 0, 0
        while bar < bars:
            if bar % watch.bars_a_look == 0:
                watch.look(simulation, bar)
            if bar == quiet_until:
                simulation.state["bar"] = bar
                quiet_until = simulation.scan(min(bar + _AHEAD, bars))
            eventful = bar == quiet_until
            if eventful:
                simulation.state["bar"] = bar
                simulation.settle()
                if simulation.ended:
                    break
                asked.show(simulation.position(), simulation.balance)
            decision = asked.ask(bar, simulation.equity_now if eventful else simulation.equity.item(bar))
            if decision is not None or eventful:
                simulation.conclude(bar, decision)
                if simulation.ended:
                    break
                asked.show(simulation.position(), simulation.balance)
                quiet_until = bar + 1
            bar += 1
        if not simulation.ended:
            simulation.state["bar"] = bars
        watch.look(simulation)


def _result(run: PreparedRun, decider: Decider, stop_first: Pass, target_first: Pass) -> BacktestResult:
    trail = stop_first.trail
    given = decider.digest_inputs()
    return BacktestResult(
        specification=run.specification,
        instrument=run.instrument,
        source=decider.source,
        metrics=measure(run, trail),
        ambiguous_bars=stop_first.ambiguous_bars,
        total_slippage_cost=stop_first.slippage_cost,
        net_profit_target_first=net_profit(sums_by_sign(target_first.trail.column("profit"))),
        run_warnings=(*run.warnings, *decider.warnings, *stop_first.decisions.warnings, *warnings_of(run, stop_first)),
        bars=run.bars,
        first_row=run.first,
        days=run.days.of_first(trail.equity.size),
        trail=trail,
        patterns=patterns_of_trades(stop_first.decisions, trail.column("deciding_bar")),
        strategy_version=given.version,
        digest_inputs=lambda: input_parts(
            run.specification,
            given.params,
            run.instrument,
            run.used,
            run.warm_up.bars,
            given.values,
            given.version,
        ),
    )
