"""What a careful person would want to know before believing a run's figures, in short sentences with counts."""

from collections.abc import Iterator

import numpy as np

from engine.deciders.decisions import Decisions
from engine.kernel.layout import BUY_CODE, SELL_CODE
from engine.market.conversion import pegged_warning
from engine.market.timeframes import DAY_US
from engine.numeric.times import as_us, iso_time
from engine.prepared import PreparedRun
from engine.results.measuring import Pass
from engine.results.trail import Trail

_BEYOND_US = 4 * DAY_US
"""A weekend with a holiday on both sides."""
_LARGEST_RISK = 0.2
_LARGEST_NOTIONAL = 100.0
"""Times equity."""
_FARTHEST = 0.5
"""Of the close: where a level is farther away, a price may have been given for a distance."""


def warnings_of(run: PreparedRun, finished: Pass) -> tuple[str, ...]:
    """Say what a user should know about the run, with counts."""
    return (
        *_beyond_the_data(run),
        *_rates(run),
        *_sizes(run, finished.trail),
        *_far_levels(run, finished.decisions),
        *_opened_nothing(finished),
        *_ends(run, finished),
    )


def _beyond_the_data(run: PreparedRun) -> Iterator[str]:
    """Where the range asked for is longer than its bars. Above D1 a bar may open its own length after the start."""
    longer_us = run.duration_us if run.duration_us > DAY_US else 0
    sides = (
        ("begins", "before its first bar", int(run.time_us[0]) - as_us(run.specification.start), int(run.time_us[0])),
        ("ends", "after its last bar", as_us(run.specification.end) - int(run.close_time_us[-1]), int(run.time_us[-1])),
    )
    for does, where, beyond_us, bar_us in sides:
        if beyond_us > _BEYOND_US + longer_us:
            yield f"the range asked for {does} {beyond_us / DAY_US:.0f} days {where}, which opens at {iso_time(bar_us)}"


def _rates(run: PreparedRun) -> Iterator[str]:
    """Where profit counts as another currency's, or is converted by bars that are not there for all of the run."""
    pegged = pegged_warning(run.instrument, run.specification.account_currency)
    if pegged is not None:
        yield pegged
    for symbol, pair in run.rates.pairs.items() if run.rates is not None else ():
        if symbol == run.instrument.symbol or not pair.height:
            continue
        newest = np.searchsorted(pair.close_time_us, run.close_time_us, side="right") - 1
        if newest[0] < 0:
            yield f"conversion {symbol}: its bars begin at {iso_time(int(pair.time_us[0]))}, no rate is known before"
        ages_us = np.where(newest >= 0, run.close_time_us - pair.close_time_us[newest], 0)
        if int(ages_us[-1]) > _BEYOND_US:
            yield f"conversion {symbol}: its bars end at {iso_time(int(pair.close_time_us[-1]))}, before the run does"
        oldest = int(np.argmax(ages_us))
        if int(ages_us[oldest]) > max(_BEYOND_US, 2 * pair.timeframe.duration_us):
            days, at = int(ages_us[oldest]) / DAY_US, iso_time(int(run.close_time_us[oldest]))
            yield f"conversion {symbol}: its newest rate is up to {days:.0f} days old, at {at}"


def _sizes(run: PreparedRun, trail: Trail) -> Iterator[str]:
    """A risk written as a percentage, and positions that no broker would open."""
    risk = run.specification.risk_pct
    if risk is not None and risk > _LARGEST_RISK:
        yield f"risk_pct {risk:g} risks {risk * 100:g} % of equity a trade: it is a fraction, 0.01 is 1 %"
    largest, bar = _largest_notional(run, trail)
    if largest > _LARGEST_NOTIONAL:
        yield f"a position was {largest:,.0f} times equity, the largest at {iso_time(int(run.time_us[bar]))}"


def _largest_notional(run: PreparedRun, trail: Trail) -> tuple[float, int]:
    """Contract * volume * entry price, converted, over equity at the close before: the largest, and its entry bar."""
    if not trail.rows.size or _is_surely_small(run, trail):
        return 0.0, 0
    positions = trail.column("position_id")
    first = np.flatnonzero(np.diff(positions, prepend=-1))
    volume = np.add.reduceat(trail.column("volume"), first)
    entry_bar, entry_price = trail.column("entry_bar")[first], trail.column("entry_price")[first]
    rates = run.prices[-1]
    rate = rates[entry_bar] if rates.size > 1 else rates[0]
    deposit = run.specification.initial_balance
    before = np.where(entry_bar > 0, trail.equity[np.maximum(entry_bar - 1, 0)], deposit)
    with np.errstate(all="ignore"):
        ratios = run.instrument.contract * volume * entry_price * rate / before
    ratios = np.where(np.isfinite(ratios) & (before > 0), ratios, 0.0)
    at = int(np.argmax(ratios))
    return float(ratios[at]), int(entry_bar[at])


def _is_surely_small(run: PreparedRun, trail: Trail) -> bool:
    """Whether the largest of everything over the smallest equity is no large notional: most runs end here, in a tenth
    of the time. Only where each position has one row, whose volume is then the position's.
    """
    rows = trail.rows
    if int(rows["position_id"][-1]) != rows.size:
        return False
    largest = run.instrument.contract * rows["volume"].max() * rows["entry_price"].max() * run.prices[-1].max()
    smallest = min(trail.equity.min(), run.specification.initial_balance)
    return bool(smallest > 0 and largest <= _LARGEST_NOTIONAL * smallest)


def _far_levels(run: PreparedRun, decisions: Decisions) -> Iterator[str]:
    """Levels of decisions to open that hardly any market reaches. Not of bar strategies, whose levels are not kept."""
    opens = np.flatnonzero((decisions.actions == BUY_CODE) | (decisions.actions == SELL_CODE))
    if not opens.size:
        return
    close = run.prices[3][decisions.rows[opens]]
    away = np.abs(decisions.levels[opens] - close[:, None])
    distances = {"stop_loss": away[:, 0]}
    if away.shape[1] > 1:
        distances["take_profit"] = np.fmax.reduce(away[:, 1:], axis=1)
    if decisions.terms is not None:
        trail = distances["trailing_stop"] = decisions.terms["trailing_stop"][opens]
        # A trail without a stop of its own begins as one, which nobody wrote.
        distances["stop_loss"] = np.where(np.abs(away[:, 0] - trail) < run.instrument.pip, 0.0, away[:, 0])
    for name, distance in distances.items():
        far = np.flatnonzero(distance > _FARTHEST * close)
        if far.size:
            at = far[np.argmax(distance[far])]
            pips, share = float(distance[at]) / run.instrument.pip, float(distance[at] / close[at])
            yield (
                f"{name} is up to {pips:,.0f} pips ({share * 100.0:,.1f} %) from the close, far in {far.size} of"
                f" {opens.size} decisions: rules take it as a distance, such as 2 * atr(14) or pips(30)"
            )


def _opened_nothing(finished: Pass) -> Iterator[str]:
    """Decisions without effect that were meant to have one; entry orders count where they fill."""
    state, orders = finished.state, finished.orders
    reasons = (
        (int(state["refused_without_stop"]), "had no stop to size the risk by"),
        (int(state["refused_stop_beyond"]), "had a stop at or beyond the entry"),
        (int(state["refused_below_step"]), "came to less than one lot step"),
        (
            0 if orders is None else int(orders["refused_without_margin"]),
            "needed more margin than the balance covers (leverage, volume)",
        ),
    )
    met = [(count, reason) for count, reason in reasons if count]
    if met:
        total = sum(count for count, _ in met)
        what = f"{total} decision{'s' if total > 1 else ''} opened nothing"
        # With one reason its count is the total already said.
        counted = [(("it" if count == 1 else "they") if len(met) == 1 else count, why) for count, why in met]
        yield f"{what}: {', '.join(f'{subject} {why}' for subject, why in counted)}"
    not_moved = 0 if orders is None else int(orders["not_moved"])
    if not_moved:
        what = (
            "1 MOVE did nothing: its levels were" if not_moved == 1 else f"{not_moved} MOVEs did nothing: levels were"
        )
        yield f"{what} on the wrong sides for the position met"


def _ends(run: PreparedRun, finished: Pass) -> Iterator[str]:
    """What finer bars would have to tell, and an end before the data's."""
    if finished.ambiguous_bars:
        count = finished.ambiguous_bars
        yield (
            f"{count} bar{'s' if count > 1 else ''} reached both stop and target in an order not known:"
            " net_profit counts the stop first, net_profit_target_first the other way round"
        )
    if finished.state["stopped_out"]:
        yield f"stopped out: {_stop_out(run, finished)}"


def _stop_out(run: PreparedRun, finished: Pass) -> str:
    trail, orders = finished.trail, finished.orders
    time, left = iso_time(int(run.time_us[trail.equity.size - 1])), float(trail.equity[-1])
    if orders is None or left <= 0.0:
        return f"no equity was left at the close of the bar at {time}, the run ended there"
    # What was open went whole, in the last row.
    least = float(orders["stop_out_share"]) * float(orders["margin_lot"]) * float(trail.rows["volume"][-1])
    return (
        f"equity was at or below {least:,.2f}, {run.specification.stop_out_pct:g} % of the margin, at the close of the"
        f" bar at {time}, the run ended there with {left:,.2f}"
    )
