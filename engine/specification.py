"""What a run is asked to do: every input that decides a figure, and nothing that names the run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.advice import Advice
from engine.errors import InvalidSpecification
from engine.market.instruments import Instrument
from engine.market.lots import volume_problem

MOST_WARM_UP_BARS = 1_000_000
BALANCES = (0.01, 1e15)
LARGEST_SPREAD_PIPS = 1e6
LARGEST_COMMISSION = 1e9
LARGEST_PIPS = 1e9
LARGEST_SLIPPAGE_PIPS = 1e6
LARGEST_COMMISSION_PCT = 100.0
LEVERAGES = (1e-6, 1e6)
LARGEST_STOP_OUT_PCT = 1e6
"""What a request may ask for, ends included: wider than any market, narrow enough that no figure overflows or vanishes
in rounding. schemas.field_types has the same, which knows nothing of the engine."""


class ExecutionMode(StrEnum):
    """When and where a decision is filled."""

    CLOSE_PRICE = "close_price"
    INTRA_CANDLE = "intra_candle"
    NEXT_OPEN = "next_open"


class OnOpposite(StrEnum):
    """What a signal against the open position does."""

    REVERSE = "reverse"
    CLOSE = "close"
    IGNORE = "ignore"


class SpreadSource(StrEnum):
    """Where a bar's spread comes from: `spread_pips` on every bar, or the recorded column."""

    FIXED = "fixed"
    BARS = "bars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """One backtest, fully resolved: no field is left to a default of somewhere else.

    start is inclusive, end exclusive, both aware and UTC, compared with bars' open times.
    """

    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    strategy_key: str | None
    """Registered name; None for a run on signals."""
    strategy_params: dict[str, Any]
    """JSON object, as given; the strategy's own defaults are filled in by its Params."""
    context_timeframes: tuple[str, ...] = ()
    initial_balance: float = 10_000.0
    """Deposit, account currency."""
    account_currency: str = "USD"
    spread_pips: float = 1.5
    spread_source: SpreadSource = SpreadSource.FIXED
    execution_mode: ExecutionMode = ExecutionMode.CLOSE_PRICE
    commission_per_lot: float = 0.0
    """Account currency, round trip."""
    tp_partial_close_ratio: float = 0.5
    volume: float | None = 0.1
    """Lots; None with risk_pct set."""
    risk_pct: float | None = None
    """Fraction of equity risked a trade, 0.01 = 1 %; wins over volume."""
    stop_loss_pips: float | None = None
    """For decisions that bring no stop, from the deciding bar's bid close."""
    take_profit_pips: float | None = None
    on_opposite: OnOpposite = OnOpposite.REVERSE
    stop_to_entry: bool = True
    skip_hours: tuple[int, ...] = ()
    """Hours 0-23 of the decision's close, in skip_timezone, at which no decision is taken."""
    skip_weekdays: tuple[int, ...] = ()
    """0 = Monday."""
    skip_timezone: str = "UTC"
    warm_up_bars: int | None = None
    """Bars before the start that the run sees, on its timeframe and each context's; None: as the strategy needs."""
    slippage_pips: float = 0.0
    """By how much fills at a close or an open, and stops, are worse."""
    commission_pct: float = 0.0
    """Per cent of the notional, on each side, beside commission_per_lot."""
    leverage: float | None = None
    """None: no margin is asked."""
    stop_out_pct: float = 0.0
    """Per cent of the margin at which equity ends the run; only with leverage."""
    advice: Advice | None = None
    """What is left to a language model; None: the rule decides alone. strategy_key is None where there is no rule."""


ACCOUNT_DEFAULTS: Mapping[str, float | None] = {
    "slippage_pips": 0.0, "commission_pct": 0.0, "leverage": None, "stop_out_pct": 0.0,
}  # fmt: skip
"""Costs and limits of the account where none are asked for."""


def check_specification(specification: Specification, instrument: Instrument) -> None:
    """Refuse money and mode fields that no simulation can be true to. Raises InvalidSpecification naming the field."""
    s = specification
    _require(s.symbol == instrument.symbol, "symbol", f"{s.symbol} is not the instrument's {instrument.symbol}")
    _require(s.start.utcoffset() is not None and s.end.utcoffset() is not None, "start", "and end must carry an offset")
    _require(s.start < s.end, "start", "must lie before end")
    _require_within(s.initial_balance, "initial_balance", *BALANCES)
    _require_within(s.spread_pips, "spread_pips", 0.0, LARGEST_SPREAD_PIPS)
    _require_within(s.commission_per_lot, "commission_per_lot", 0.0, LARGEST_COMMISSION)
    _require(0.0 <= s.tp_partial_close_ratio <= 1.0, "tp_partial_close_ratio", "must be from 0 to 1")
    if s.risk_pct is not None:
        _require(_is_positive(s.risk_pct) and s.risk_pct <= 1.0, "risk_pct", "is a fraction above 0, at most 1")
    elif s.volume is None:
        _require(False, "volume", "or risk_pct must be given")
    if s.volume is not None:
        problem = volume_problem(s.volume, instrument.lot_step)
        _require(problem is None, "volume", problem or "")
    for name, pips in (("stop_loss_pips", s.stop_loss_pips), ("take_profit_pips", s.take_profit_pips)):
        is_fine = pips is None or (_is_positive(pips) and pips <= LARGEST_PIPS)
        _require(is_fine, name, f"must be above 0, at most {LARGEST_PIPS:g}")
    _check_account(s)
    _require(all(0 <= hour <= 23 for hour in s.skip_hours), "skip_hours", "are from 0 to 23")
    _require(all(0 <= day <= 6 for day in s.skip_weekdays), "skip_weekdays", "are from 0 (Monday) to 6")
    if s.warm_up_bars is not None:
        _require(0 <= s.warm_up_bars <= MOST_WARM_UP_BARS, "warm_up_bars", f"is from 0 to {MOST_WARM_UP_BARS}")
    _require(_is_zone(s.skip_timezone), "skip_timezone", f"{s.skip_timezone!r} is not a known time zone")


def _check_account(s: Specification) -> None:
    _require_within(s.slippage_pips, "slippage_pips", 0.0, LARGEST_SLIPPAGE_PIPS)
    _require_within(s.commission_pct, "commission_pct", 0.0, LARGEST_COMMISSION_PCT)
    _require_within(s.stop_out_pct, "stop_out_pct", 0.0, LARGEST_STOP_OUT_PCT)
    if s.leverage is not None:
        _require_within(s.leverage, "leverage", *LEVERAGES)
    _require(s.leverage is not None or s.stop_out_pct == 0.0, "stop_out_pct", "needs leverage, of whose margin it is")


def _require(holds: bool, field: str, what: str) -> None:
    if not holds:
        raise InvalidSpecification(f"{field}: {what}")


def _require_within(value: float, field: str, least: float, most: float) -> None:
    # A NaN lies nowhere.
    _require(least <= value <= most, field, f"must be from {least:g} to {most:g}, not {value}")


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0.0


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
