"""One run made ready: what its deciders see and every array the kernel reads, made once for all its simulations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidSpecification, NoData
from engine.kernel import layout
from engine.market.bars import Bars
from engine.market.conversion import Rates, conversion_rates
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.lots import lot_steps
from engine.market.resampling import resample
from engine.market.sessions import SessionDays, session_days
from engine.market.spread import average_spread
from engine.market.swap import NO_NIGHTS, Nights, nights
from engine.market.timeframes import timeframe
from engine.numeric.times import as_us, iso_time
from engine.specification import (
    ACCOUNT_DEFAULTS,
    ExecutionMode,
    OnOpposite,
    Specification,
    SpreadSource,
    check_specification,
)
from engine.warm_up import WarmUp

_MODES = {
    ExecutionMode.CLOSE_PRICE: layout.CLOSE_PRICE,
    ExecutionMode.INTRA_CANDLE: layout.INTRA_CANDLE,
    ExecutionMode.NEXT_OPEN: layout.NEXT_OPEN,
}
_ON_OPPOSITE = {OnOpposite.REVERSE: layout.REVERSE, OnOpposite.CLOSE: layout.CLOSE, OnOpposite.IGNORE: layout.IGNORE}
_NO_FLOATS = np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """All data of a run.

    bars: the run's timeframe, warm-up included; what lies before it and at or after the run's end is left out by the
    engine. context: given or stored bars by timeframe; a context timeframe that is not here is resampled from bars.
    finer: of finer data the finest, to order what happened inside a bar. conversion: bars by symbol. warnings: what
    whoever put them together noticed.
    """

    bars: Bars
    context: Mapping[str, Bars] = field(default_factory=dict)
    finer: Bars | None = None
    conversion: Mapping[str, Bars] = field(default_factory=dict)
    registry: Mapping[str, Instrument] = field(default_factory=packaged_instruments)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRun:
    """A run's bars and arrays; in the arrays bars are counted from the run's first bar, warm-up left out.

    bars: as many as warm_up says before the start, where there are, none at or after the run's end; first: row of the
    run's first bar. context: by timeframe, the same of theirs. used: every set of bars the run uses, by its role.
    prices: the kernel's seven price arrays. spread_pips: of each bar, or of all; average_spread: theirs. nights, finer:
    as the kernel takes them. night_moments_us: of each night. rates: None where profit is in the account's currency.
    rules: one record, target_first still 0. orders: one record, no position open. days: the trading days of all bars.
    warnings: those of the data.
    """

    specification: Specification
    instrument: Instrument
    bars: Bars
    first: int
    context: Mapping[str, Bars]
    warm_up: WarmUp
    used: Mapping[str, Bars]
    time_us: NDArray[np.int64]
    close_time_us: NDArray[np.int64]
    duration_us: int
    prices: tuple[NDArray[np.float64], ...]
    nights: tuple[NDArray[Any], ...]
    night_moments_us: NDArray[np.int64]
    finer: tuple[NDArray[Any], ...]
    rules: NDArray[Any]
    orders: NDArray[Any]
    rates: Rates | None
    spread_pips: NDArray[np.float64] | float
    average_spread: float
    days: SessionDays
    warnings: tuple[str, ...]

    @property
    def needs_orders(self) -> bool:
        """Whether every simulation needs the loop with orders, whatever is decided."""
        return any(getattr(self.specification, name) != default for name, default in ACCOUNT_DEFAULTS.items())

    @property
    def bar_count(self) -> int:
        """How many bars the run has, warm-up left out."""
        return self.time_us.size


def prepare_run(specification: Specification, instrument: Instrument, data: RunData, warm_up: WarmUp) -> PreparedRun:
    """Check what is asked for and make everything that its simulations read.

    Raises InvalidSpecification, also when the spread is to come from bars that have none; NoData without a bar in the
    range, NoConversion without a pair, UnknownTimeframe for a context that cannot be made of the bars.
    """
    check_specification(specification, instrument)
    whole = _until_end(data.bars, specification)
    bars, first = _seen(whole, specification, warm_up)
    if first >= bars.height:
        raise NoData(f"no {bars.timeframe.name} bars of {instrument.symbol} in the run's range")
    # Asked of the bars, which keep them for their next run, and not of the run's own cut.
    close_time_us = bars.close_time_us[first:]
    run = bars.rows(first, bars.height)
    spread, spread_pips = _spread(specification, instrument, run)
    rates = _rates(specification, instrument, data, bars)
    rate_open = np.ones(1) if rates is None else rates.known_at(run.time_us)
    rate_close = np.ones(1) if rates is None else rates.known_at(close_time_us)
    charged = nights(run) if instrument.swap_long or instrument.swap_short else NO_NIGHTS
    context = _context(specification, instrument, data, whole, warm_up)
    return PreparedRun(
        specification=specification,
        instrument=instrument,
        bars=bars,
        first=first,
        context=context,
        warm_up=warm_up,
        used=_used(data, bars, context),
        time_us=run.time_us,
        close_time_us=close_time_us,
        duration_us=bars.timeframe.duration_us,
        prices=(run.open, run.high, run.low, run.close, spread, rate_open, rate_close),
        nights=_nights(charged, rates),
        night_moments_us=charged.moments_us,
        finer=_finer(run, data.finer),
        rules=_rules(specification, instrument, run.height, spread, rate_close, data.finer is not None),
        orders=_orders(specification, instrument),
        rates=rates,
        spread_pips=spread_pips,
        average_spread=average_spread(spread_pips),
        days=session_days(run.time_us, instrument.session),
        warnings=(*data.warnings, *_short_warm_up(specification, first, warm_up)),
    )


def prepare_again(run: PreparedRun, data: RunData, warm_up: WarmUp) -> PreparedRun:
    """Return what prepare_run makes of the same run with another warm-up; its arrays are shared where they are the
    same.
    """
    if run.rates is not None:  # a rate may come from the bars before the start
        return prepare_run(run.specification, run.instrument, data, warm_up)
    whole = _until_end(data.bars, run.specification)
    bars, first = _seen(whole, run.specification, warm_up)
    context = _context(run.specification, run.instrument, data, whole, warm_up)
    return replace(
        run,
        bars=bars,
        first=first,
        context=context,
        warm_up=warm_up,
        used=_used(data, bars, context),
        warnings=(*data.warnings, *_short_warm_up(run.specification, first, warm_up)),
    )


def _until_end(bars: Bars, specification: Specification) -> Bars:
    """Leave out what is at or after the run's end: a column strategy must not see it."""
    before_end = int(np.searchsorted(bars.time_us, as_us(specification.end)))
    return bars if before_end == bars.height else bars.rows(0, before_end)


def _seen(bars: Bars, specification: Specification, warm_up: WarmUp) -> tuple[Bars, int]:
    """Return the bars from the warm-up on, and the row of the first that opens at or after the start."""
    before = int(np.searchsorted(bars.time_us, as_us(specification.start)))
    unseen = max(0, before - warm_up.bars[bars.timeframe.name])
    return (bars.rows(unseen, bars.height) if unseen else bars), before - unseen


def _context(
    specification: Specification, instrument: Instrument, data: RunData, bars: Bars, warm_up: WarmUp
) -> dict[str, Bars]:
    """Return the bars of every context timeframe, from its own warm-up to the run's end. bars: all that were given."""
    context = {}
    for name in warm_up.contexts(specification):
        own = data.context.get(name)
        longer = resample(bars, timeframe(name), instrument) if own is None else _until_end(own, specification)
        context[name], _ = _seen(longer, specification, warm_up)
    return context


def _short_warm_up(specification: Specification, before: int, warm_up: WarmUp) -> Iterator[str]:
    wanted = warm_up.wanted[specification.timeframe]
    if before < wanted:
        name = specification.timeframe
        lie = {0: f"no {name} bar lies", 1: f"only 1 {name} bar lies"}.get(before, f"only {before} {name} bars lie")
        first = "bar only warms" if wanted - before == 1 else f"{wanted - before} bars only warm"
        yield f"{lie} before the start: the first {first} the strategy's indicators up, which look back over {wanted}"


def _used(data: RunData, bars: Bars, context: Mapping[str, Bars]) -> dict[str, Bars]:
    """Return every set of bars the run used, by its role."""
    used = {"bars": bars} | {f"context {name}": longer for name, longer in context.items()}
    if data.finer is not None:
        used["finer"] = data.finer
    return used | {f"conversion {symbol}": pair for symbol, pair in data.conversion.items()}


def _spread(
    specification: Specification, instrument: Instrument, run: Bars
) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
    """Return spreads as prices (one for all, or one a bar) and as pips."""
    if specification.spread_source is SpreadSource.FIXED:
        return np.array([specification.spread_pips * instrument.pip]), specification.spread_pips
    points = run.spread_points
    if points is None:
        raise InvalidSpecification("spread_source: bars have no recorded spread; spread_source fixed needs none")
    lacking = np.flatnonzero(np.isnan(points))
    if lacking.size:
        raise InvalidSpecification(
            f"spread_source: the bar at {iso_time(int(run.time_us[lacking[0]]))} has no recorded spread,"
            f" {lacking.size} of {run.height} have none; {_where_all_have(lacking, run)}"
        )
    return points * instrument.point, points / instrument.points_per_pip


def _where_all_have(lacking: NDArray[np.int64], run: Bars) -> str:
    """The way on from bars without a spread, of which there is at least one: the longest stretch of none such."""
    edges = np.concatenate(([-1], lacking, [run.height]))
    longest = int(np.argmax(np.diff(edges)))
    first, behind = int(edges[longest]) + 1, int(edges[longest + 1])
    if first == behind:
        return "spread_source fixed needs none"
    end_us = int(run.close_time_us[behind - 1])
    return (
        f"all from {iso_time(int(run.time_us[first]))} to {iso_time(end_us)} have one (start and end), and"
        f" spread_source fixed needs none (--start, --end, --spread-source on the command line)"
    )


def _rates(specification: Specification, instrument: Instrument, data: RunData, bars: Bars) -> Rates | None:
    if instrument.quote == specification.account_currency:
        return None
    return conversion_rates(instrument, specification.account_currency, bars, data.conversion, data.registry)


def _nights(charged: Nights, rates: Rates | None) -> tuple[NDArray[Any], ...]:
    kinds = np.full(charged.rows.size, layout.INSIDE, np.int64)
    kinds[charged.before_open] = layout.BEFORE_OPEN
    kinds[charged.at_close] = layout.AT_CLOSE
    known = np.ones(charged.rows.size) if rates is None else rates.known_at(charged.moments_us)
    return charged.rows, kinds, charged.weights, known


def _finer(run: Bars, finer: Bars | None) -> tuple[NDArray[Any], ...]:
    if finer is None:
        return _NO_FLOATS, _NO_FLOATS, _NO_FLOATS, np.empty((2, 0), np.int64)
    begins_us = run.time_us if run.begins_us is None else run.begins_us
    spans = np.stack([np.searchsorted(finer.time_us, begins_us), np.searchsorted(finer.time_us, run.close_time_us)])
    return finer.open, finer.high, finer.low, np.ascontiguousarray(spans.astype(np.int64))


def _rules(
    specification: Specification,
    instrument: Instrument,
    bars: int,
    spread: NDArray[np.float64],
    rate: NDArray[np.float64],
    has_finer: bool,
) -> NDArray[Any]:
    rules = np.zeros(1, layout.RULES)
    values = {
        "mode": _MODES[specification.execution_mode],
        "on_opposite": _ON_OPPOSITE[specification.on_opposite],
        "stop_to_entry": int(specification.stop_to_entry),
        "last_bar": bars - 1,
        # One bar only: a step of 0 or 1 is the same then.
        "spread_step": int(spread.size > 1),
        "rate_step": int(rate.size > 1),
        "has_finer": int(has_finer),
        "scale": instrument.price_scale,
        "deposit": specification.initial_balance,
        "commission_half": specification.commission_per_lot / 2.0,
        "partial_ratio": specification.tp_partial_close_ratio,
        "lot_step": instrument.lot_step,
        "contract": instrument.contract,
        "swap_long": instrument.swap_long * instrument.point,
        "swap_short": instrument.swap_short * instrument.point,
    }
    if specification.risk_pct is not None:
        values["risk_pct"] = specification.risk_pct
    elif specification.volume is not None:
        values["fixed_steps"] = lot_steps(specification.volume, instrument.lot_step)
    for name, value in values.items():
        rules[name] = value
    return rules


def _orders(specification: Specification, instrument: Instrument) -> NDArray[Any]:
    orders = np.zeros(1, layout.ORDERS)
    orders["coming"] = orders["resting"] = -1
    orders["slippage"] = specification.slippage_pips * instrument.pip
    orders["commission_share"] = specification.commission_pct / 100.0
    orders["leverage"] = specification.leverage or 0.0
    orders["stop_out_share"] = specification.stop_out_pct / 100.0
    return orders
