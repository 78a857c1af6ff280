"""Money and size outside the compiled loop: its roundings, lot steps, and the figures that a run may ask for."""

import math
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidSpecification
from engine.market.instruments import Instrument
from engine.specification import Specification

LARGEST_STEPS = 2**53


def check_specification(specification: Specification, instrument: Instrument) -> None:
    """Refuse money and mode fields that no simulation can be true to. Raises InvalidSpecification naming the field."""
    s = specification
    _require(s.symbol == instrument.symbol, "symbol", f"{s.symbol} is not the instrument's {instrument.symbol}")
    _require(s.start.utcoffset() is not None and s.end.utcoffset() is not None, "start", "and end must carry an offset")
    _require(s.start < s.end, "start", "must lie before end")
    _require(_is_positive(s.initial_balance), "initial_balance", "must be above 0")
    _require(_is_not_negative(s.spread_pips), "spread_pips", "must be 0 or above")
    _require(_is_not_negative(s.commission_per_lot), "commission_per_lot", "must be 0 or above")
    _require(0.0 <= s.tp_partial_close_ratio <= 1.0, "tp_partial_close_ratio", "must be from 0 to 1")
    if s.risk_pct is not None:
        _require(_is_positive(s.risk_pct) and s.risk_pct <= 1.0, "risk_pct", "is a fraction above 0, at most 1")
    elif s.volume is None:
        _require(False, "volume", "or risk_pct must be given")
    if s.volume is not None:
        problem = volume_problem(s.volume, instrument.lot_step)
        _require(problem is None, "volume", problem or "")
    for name, pips in (("stop_loss_pips", s.stop_loss_pips), ("take_profit_pips", s.take_profit_pips)):
        _require(pips is None or _is_positive(pips), name, "must be above 0")
    _require(all(0 <= hour <= 23 for hour in s.skip_hours), "skip_hours", "are from 0 to 23")
    _require(all(0 <= day <= 6 for day in s.skip_weekdays), "skip_weekdays", "are from 0 (Monday) to 6")
    _require(_is_zone(s.skip_timezone), "skip_timezone", f"{s.skip_timezone!r} is not a known time zone")


def lot_steps(volume: float, lot_step: float) -> int:
    """Return a volume as whole lot steps; only for volumes without a volume_problem."""
    return round(volume / lot_step)


def volume_problem(volume: float, lot_step: float) -> str | None:
    """Say what is wrong with a volume in lots, or None: it must be above 0 and in whole steps, float noise aside."""
    if not math.isfinite(volume) or volume <= 0.0:
        return f"volume {volume} is not above 0"
    steps = volume / lot_step
    if steps > LARGEST_STEPS:
        return f"volume {volume} is too large"
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-9 * max(1.0, steps * 1e-3):
        return f"volume {volume} is not in whole lot steps of {lot_step}"
    return None


def round_price(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to 1e-9, half to even, as kernel.round9 does."""
    rounded: NDArray[np.float64] = np.where(np.abs(prices) < 9e6, np.rint(prices * 1e9) / 1e9, prices)
    return rounded


def round_money(amount: float) -> float:
    """Round to 1e-8, half to even, never -0.0, as kernel.round8 does."""
    return float(np.rint(amount * 1e8) / 1e8 + 0.0) if abs(amount) < 9e7 else amount


def _require(holds: bool, field: str, what: str) -> None:
    if not holds:
        raise InvalidSpecification(f"{field}: {what}")


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0.0


def _is_not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0.0


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
