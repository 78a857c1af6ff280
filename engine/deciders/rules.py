"""What one decision may say: the order of its levels, its volume, its name, its hour. One set of rules and one wording
for signal files, columns and bar strategies."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernel.layout import BUY_CODE, CLOSE_CODE, SELL_CODE
from engine.market.bars import TIME
from engine.market.instruments import Instrument
from engine.market.lots import volume_problem
from engine.numeric.rounding import round_price
from engine.specification import Specification
from engine.strategy import Decision

CODES = {"BUY": BUY_CODE, "SELL": SELL_CODE, "CLOSE": CLOSE_CODE}
LONGEST_PATTERN_NAME = 50
"""Characters: the column of `backtest_trades` holds no more."""


def unknown_action(action: object) -> str:
    return f"unknown action {action!r}: there are {', '.join(CODES)}"


def scalar_problem(
    code: int, close: float, volume: float | None, stop: float | None, targets: Sequence[float], lot_step: float
) -> str | None:
    """Say what is wrong with one BUY or SELL, or None. A NaN close is unknown: levels are held against each other."""
    numbers = [("volume", volume), ("stop_loss", stop)]
    numbers += [(target_name(j), target) for j, target in enumerate(targets)]
    for name, value in numbers:
        if value is not None and not math.isfinite(value):
            return f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    if volume is not None:
        problem = volume_problem(volume, lot_step)
        if problem:
            return problem
    side, verb = ("BUY", "below") if code == BUY_CODE else ("SELL", "above")
    beyond = "above" if code == BUY_CODE else "below"
    if stop is not None and not (close != close or (close - stop) * code > 0.0):
        return f"{side} needs its stop_loss {verb} the close: {stop} against {close}"
    nearer, nearer_name = close, "the close"
    if close != close and stop is not None:
        nearer, nearer_name = stop, "its stop_loss"
    for j, target in enumerate(targets):
        if not (nearer != nearer or (target - nearer) * code > 0.0):
            return f"{side} needs its {target_name(j)} {beyond} {nearer_name}: {target} against {nearer}"
        nearer, nearer_name = target, target_name(j)
    return None


def carried_by_close(decision: Decision) -> str | None:
    names = [
        name
        for name, value in (
            ("volume", decision.volume),
            ("stop_loss", decision.stop_loss),
            ("take_profit", decision.take_profits or None),
        )
        if value is not None
    ]
    return close_carries(names) if names else None


def close_carries(names: Sequence[str]) -> str:
    return f"CLOSE carries nothing else, but has {', '.join(names)}; it always closes the whole position"


def name_too_long(name: str | None) -> str:
    shown = "" if name is None else f" {name!r}"
    return f"pattern_name{shown} is longer than {LONGEST_PATTERN_NAME} characters"


def with_default_levels(
    code: int,
    close: float,
    stop: float | None,
    targets: list[float],
    specification: Specification,
    instrument: Instrument,
) -> tuple[float | None, list[float]]:
    if stop is None and specification.stop_loss_pips is not None:
        stop = _rounded(close - code * (specification.stop_loss_pips * instrument.pip), instrument)
    if not targets and specification.take_profit_pips is not None:
        targets = [_rounded(close + code * (specification.take_profit_pips * instrument.pip), instrument)]
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
