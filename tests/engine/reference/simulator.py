"""The run, bar by bar and in exact numbers: slow, and meant to be read beside docs/engine-rules.md."""

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction

from tests.engine.reference.calendar import trading_day
from tests.engine.reference.metrics import measure
from tests.engine.reference.model import DAY_US, MONTH_US, Bar, Config, Decision, RunRefusedError, Series, Simulation
from tests.engine.reference.numbers import exact
from tests.engine.reference.run import Run

MOST_DIGITS = 12


def simulate(
    bars: Sequence[Bar],
    decisions: Sequence[Decision | None],
    config: Config,
    *,
    first_bar: int = 0,
    conversion_bars: Mapping[str, Series] | None = None,
    finer_bars: Series | None = None,
) -> Simulation:
    """Simulate a fixed sequence of decisions, one a bar.

    bars: warm-up first; simulated from index first_bar to the end. conversion_bars: by symbol, which is base then
    quote ("USDJPY").
    finer_bars: of the traded symbol, any range. Raises RunRefusedError (and its kinds) where a run is refused or fails.
    """
    if len(bars) != len(decisions) or not 0 <= first_bar < len(bars):
        raise RunRefusedError("one decision a bar, and at least one simulated bar")
    _refuse_bad_settings(config)
    stop_first = Run(bars, decisions, config, first_bar, conversion_bars or {}, finer_bars, "stop_first").play()
    target_first = Run(bars, decisions, config, first_bar, conversion_bars or {}, finer_bars, "target_first").play()
    books = stop_first.books
    profits = [row.profit for row in books.exits]
    simulated = bars[first_bar : first_bar + len(stop_first.equity)]
    measured = measure(
        books.deposit,
        profits,
        stop_first.equity,
        _periods(simulated, config),
        [stop_first.dealer.spread(bar) / exact(config.instrument.pip) for bar in simulated],
        _periods_a_year(config),
    )
    net_profit = float(sum(profits, Fraction(0)))
    return Simulation(
        trades=tuple(row.as_trade() for row in books.exits),
        equity=tuple(float(value) for value in stop_first.equity),
        ambiguous_bars=stop_first.ambiguous_bars,
        net_profit=net_profit,
        net_profit_stop_first=net_profit,
        net_profit_target_first=float(sum((row.profit for row in target_first.books.exits), Fraction(0))),
        final_equity=float(stop_first.equity[-1]),
        warnings=dict(stop_first.dealer.warnings),
        metrics=measured.values,
        null_reasons=measured.null_reasons,
        ratio_noise=measured.ratio_noise,
        total_slippage_cost=float(sum((row.slippage_cost for row in books.exits), Fraction(0))),
    )


def _periods(bars: Sequence[Bar], config: Config) -> Sequence[Hashable]:
    """What a return is taken over: a day, or a bar that is longer than one."""
    if config.timeframe_us > DAY_US:
        return range(len(bars))
    return [trading_day(bar.time_us, config.instrument.session) for bar in bars]


def _periods_a_year(config: Config) -> Fraction:
    if config.timeframe_us == MONTH_US:
        return Fraction(12)
    if config.timeframe_us > DAY_US:
        return Fraction("365.25") * DAY_US / config.timeframe_us
    return Fraction(365 if config.instrument.session == "always" else 252)


def _refuse_bad_settings(config: Config) -> None:
    if config.instrument.digits > MOST_DIGITS:
        raise RunRefusedError("more digits than prices are rounded to")
    volume = config.volume
    if volume is not None and (volume <= 0 or exact(volume) % exact(config.instrument.lot_step) != 0):
        raise RunRefusedError("volume off the lot step")
    if min(config.slippage_pips, config.commission_pct, config.stop_out_pct) < 0:
        raise RunRefusedError("a cost or limit below 0")
    if config.leverage is not None and config.leverage <= 0:
        raise RunRefusedError("leverage not above 0")
    if config.leverage is None and config.stop_out_pct != 0:
        raise RunRefusedError("stop_out_pct without leverage")
