"""What one decision may say: the order of its levels, its volume, its name, its hour. One set of rules and one wording
for signal files, columns and bar strategies."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernel.layout import (
    BUY_CODE,
    CANCEL_CODE,
    CLOSE_CODE,
    LIMIT,
    MARKET,
    MOVE_CODE,
    SELL_CODE,
    STOP_ORDER,
)
from engine.market.bars import TIME
from engine.market.instruments import Instrument
from engine.market.lots import volume_problem
from engine.numeric.rounding import round_price
from engine.specification import Specification
from engine.strategy import Decision

CODES = {"BUY": BUY_CODE, "SELL": SELL_CODE, "CLOSE": CLOSE_CODE, "MOVE": MOVE_CODE, "CANCEL": CANCEL_CODE}
ORDERS = {"market": MARKET, "limit": LIMIT, "stop": STOP_ORDER}
TERM_NUMBERS = ("trailing_stop", "max_bars", "price", "expires_bars")
"""What a decision to open may carry beyond volume and levels, beside its order: all above 0."""
WHOLE_TERMS = ("max_bars", "expires_bars")
LONGEST_PATTERN_NAME = 50
"""Characters: the column of `backtest_trades` holds no more."""


def decision_problem(decision: Decision, close: float, instrument: Instrument) -> str | None:
    """Say what is wrong with one decision, its name aside, or None. A NaN close is unknown: levels are held against
    each other."""
    match CODES.get(decision.action):
        case None:
            return unknown_action(decision.action)
        case code if code in (CLOSE_CODE, CANCEL_CODE):
            carried = carried_names(decision)
            return carries_nothing_else(decision.action, carried) if carried else None
        case code if code == MOVE_CODE:
            return _move_problem(decision, close)
        case code:
            return _opening_problem(decision, code, close, instrument)


def unknown_action(action: object) -> str:
    return f"unknown action {action!r}: there are {', '.join(CODES)}"


def carried_names(decision: Decision) -> list[str]:
    """Return the columns of what a decision carries, patterns aside."""
    names = [name for name in ("volume", "stop_loss") if getattr(decision, name) is not None]
    names += [target_name(j) for j in range(len(decision.take_profits))]
    names += [name for name in TERM_NUMBERS if getattr(decision, name) is not None]
    return names + ["order"] * (decision.order != "market")


def carries_nothing_else(action: str, names: Sequence[str]) -> str:
    why = "; it always closes the whole position" if action == "CLOSE" else ""
    return f"{action} carries nothing else, but has {', '.join(names)}{why}"


def _move_problem(decision: Decision, close: float) -> str | None:
    stop, targets = decision.stop_loss, decision.take_profits
    levels = {"stop_loss", *(target_name(j) for j in range(len(targets)))}
    others = [name for name in carried_names(decision) if name not in levels]
    if others:
        return f"MOVE carries levels only, but has {', '.join(others)}"
    if stop is None and not targets:
        return "MOVE needs a stop_loss or a take_profit"
    problem = _not_finite(decision)
    if problem is None and move_side(close, stop, targets) == 0:
        listed = [f"stop_loss {stop}"] * (stop is not None) + [f"{target_name(j)} {t}" for j, t in enumerate(targets)]
        problem = f"no position takes the levels of this MOVE: {', '.join(listed)} against the close {close}"
    return problem


def move_side(close: float, stop: float | None, targets: Sequence[float]) -> int:
    """Return the direction of the position that a MOVE is meant for, +1 or -1; 0 where its levels are out of order."""
    ladder = [level for level in (stop, close) if level is not None and not math.isnan(level)] + list(targets)
    steps = [higher - lower for lower, higher in pairwise(ladder)]
    if all(step > 0.0 for step in steps):
        return 1
    return -1 if all(step < 0.0 for step in steps) else 0


def _opening_problem(decision: Decision, code: int, close: float, instrument: Instrument) -> str | None:
    problem = _not_finite(decision)
    if problem is None and decision.volume is not None:
        problem = volume_problem(decision.volume, instrument.lot_step)
    problem = problem or _terms_problem(decision, code, close)
    if problem is not None:
        return problem
    middle, middle_name = (close, "the close") if decision.order == "market" else (decision.price or 0.0, "its price")
    problem = _levels_problem(decision, code, middle, middle_name)
    if problem is None and decision.stop_loss is None and decision.trailing_stop is not None and not math.isnan(middle):
        stop = _rounded(middle - code * decision.trailing_stop, instrument)
        if not (middle - stop) * code > 0.0:
            problem = f"trailing_stop {decision.trailing_stop} is less than prices are rounded to"
    return problem


def _not_finite(decision: Decision) -> str | None:
    numbers = [("volume", decision.volume), ("stop_loss", decision.stop_loss)]
    numbers += [(target_name(j), target) for j, target in enumerate(decision.take_profits)]
    for name, value in numbers:
        if value is not None and not math.isfinite(value):
            return f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    return None


def _terms_problem(decision: Decision, code: int, close: float) -> str | None:
    """Say what is wrong with an opening's trail, time or order."""
    for name in TERM_NUMBERS:
        value = getattr(decision, name)
        problem = None if value is None else _term_problem(name, value)
        if problem:
            return problem
    kind = ORDERS.get(decision.order)
    if kind is None:
        return f"unknown order {decision.order!r}: there are {', '.join(ORDERS)}"
    if kind == MARKET:
        waits = [name for name in ("price", "expires_bars") if getattr(decision, name) is not None]
        return f"{waits[0]} without an order, which is limit or stop" if waits else None
    if decision.price is None:
        return f"a {decision.order} order needs a price"
    # A BUY limit and a SELL stop wait for a lower price.
    verb = "below" if (kind == LIMIT) == (code == BUY_CODE) else "above"
    if (decision.price >= close) if verb == "below" else (decision.price <= close):
        return f"{decision.action} {decision.order} needs its price {verb} the close: {decision.price} against {close}"
    return None


def _term_problem(name: str, value: float) -> str | None:
    if isinstance(value, bool) or not math.isfinite(value):
        return f"{name} is {value if isinstance(value, bool) else 'NaN' if math.isnan(value) else 'infinite'}"
    if not value > 0:
        return f"{name} {value} is not above 0"
    if name in WHOLE_TERMS and value != int(value):
        return f"{name} {value} is not a whole number of bars"
    return None


def _levels_problem(decision: Decision, code: int, middle: float, middle_name: str) -> str | None:
    """Say which level of an opening is out of order. middle: what lies between its stop and its targets."""
    stop, side = decision.stop_loss, decision.action
    verb, beyond = ("below", "above") if code == BUY_CODE else ("above", "below")
    if stop is not None and not (math.isnan(middle) or (middle - stop) * code > 0.0):
        return f"{side} needs its stop_loss {verb} {middle_name}: {stop} against {middle}"
    nearer, nearer_name = middle, middle_name
    if math.isnan(middle) and stop is not None:
        nearer, nearer_name = stop, "its stop_loss"
    for j, target in enumerate(decision.take_profits):
        if not (math.isnan(nearer) or (target - nearer) * code > 0.0):
            return f"{side} needs its {target_name(j)} {beyond} {nearer_name}: {target} against {nearer}"
        nearer, nearer_name = target, target_name(j)
    return None


def name_too_long(name: str | None) -> str:
    shown = "" if name is None else f" {name!r}"
    return f"pattern_name{shown} is longer than {LONGEST_PATTERN_NAME} characters"


def with_default_levels(
    decision: Decision, code: int, close: float, specification: Specification, instrument: Instrument
) -> tuple[float | None, list[float]]:
    """Return an opening's stop and targets, where it brings none those of its trail or in pips."""
    stop, targets = decision.stop_loss, list(decision.take_profits)
    middle = close if decision.price is None else decision.price
    distance = decision.trailing_stop
    if distance is None and specification.stop_loss_pips is not None:
        distance = specification.stop_loss_pips * instrument.pip
    if stop is None and distance is not None:
        stop = _rounded(middle - code * distance, instrument)
    if not targets and specification.take_profit_pips is not None:
        targets = [_rounded(middle + code * (specification.take_profit_pips * instrument.pip), instrument)]
    return stop, targets


def _rounded(price: float, instrument: Instrument) -> float:
    return float(round_price(np.array(price), instrument.price_scale))


def skips_any(specification: Specification) -> bool:
    """Whether any hour or weekday is skipped."""
    return bool(specification.skip_hours or specification.skip_weekdays)


def skipped(close_time_us: NDArray[np.int64], specification: Specification) -> NDArray[np.bool_]:
    """Return where no decision is taken, by hour and weekday of the decision's close in skip_timezone.

    A skipped decision does nothing at all: one against the open position neither reverses nor closes it, and a CLOSE
    is a decision too. Stops, targets, swap and stop-out go on.
    """
    if not skips_any(specification):
        return np.zeros(close_time_us.size, bool)
    local = pl.Series(close_time_us).cast(TIME).dt.convert_time_zone(specification.skip_timezone)
    hours, weekdays = local.dt.hour().to_numpy(), local.dt.weekday().to_numpy() - 1
    at: NDArray[np.bool_] = np.isin(hours, specification.skip_hours) | np.isin(weekdays, specification.skip_weekdays)
    return at


def target_name(j: int) -> str:
    """Return the column of target j, counted from 0: take_profit, take_profit_2, ..."""
    return "take_profit" if j == 0 else f"take_profit_{j + 1}"
