"""What a run is asked to do: every input that decides a figure, and nothing that names the run."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class ExecutionMode(StrEnum):
    """When and where a decision is filled (ENGINE_RULES section 3)."""

    CLOSE_PRICE = "close_price"
    INTRA_CANDLE = "intra_candle"
    NEXT_OPEN = "next_open"


class OnOpposite(StrEnum):
    """What a signal against the open position does (ENGINE_RULES section 2)."""

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
