"""What goes into the reference simulator and what comes out:

plain data, so that any engine's input and output can be put beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
MONTH_US = 30 * DAY_US
"""MN1 by name; how long one is the calendar says."""

Mode = Literal["close_price", "intra_candle", "next_open"]
Action = Literal["BUY", "SELL", "CLOSE", "MOVE", "CANCEL"]
Direction = Literal["BUY", "SELL"]
OrderKind = Literal["market", "limit", "stop"]
OnOpposite = Literal["reverse", "close", "ignore"]
ExitReason = Literal[
    "stop_loss", "take_profit", "signal", "reverse", "stop_out", "end_of_data", "trailing_stop", "time"
]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    time_us: its open, microseconds since 1970 UTC. Prices are bids; spread_points is the recorded spread, if any. A
    resampled bar brings the moment it closes at, and since when its prices count (before its open, where it holds stray
    bars of a weekend); others leave both to their timeframe.
    """

    time_us: int
    open: float
    high: float
    low: float
    close: float
    spread_points: float | None = None
    close_us: int | None = None
    begins_us: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided at one bar's close. Levels are absolute prices, targets in order; trailing_stop is a distance.

    max_bars, expires_bars: in bars. price: where an order that is no market order fills.
    """

    action: Action
    volume: float | None = None
    stop_loss: float | None = None
    take_profits: tuple[float, ...] = ()
    trailing_stop: float | None = None
    max_bars: int | None = None
    order: OrderKind = "market"
    price: float | None = None
    expires_bars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """An instrument; the defaults are EURUSD's."""

    base: str = "EUR"
    quote: str = "USD"
    pip: float = 0.0001
    contract: float = 100_000
    digits: int = 5
    lot_step: float = 0.01
    session: Literal["fx", "always"] = "fx"
    day_start: str | None = None
    swap_long: float = 0.0
    swap_short: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything of a run but its data. volume None and risk_pct None: 0.1 lots.

    risk_pct is a fraction; commission_pct (of the notional, each side) and stop_out_pct (of the margin) are per cent.
    """

    mode: Mode = "close_price"
    timeframe_us: int = 3_600_000_000
    spread_pips: float = 0.0
    spread_source: Literal["fixed", "bars"] = "fixed"
    commission_per_lot: float = 0.0
    initial_balance: float = 10_000.0
    tp_partial_close_ratio: float = 0.5
    on_opposite: OnOpposite = "reverse"
    stop_to_entry: bool = True
    volume: float | None = None
    risk_pct: float | None = None
    sl_pips: float | None = None
    tp_pips: float | None = None
    instrument: Instrument = field(default_factory=Instrument)
    account_currency: str = "USD"
    skip_hours: tuple[int, ...] = ()
    skip_weekdays: tuple[int, ...] = ()
    skip_timezone: str = "UTC"
    slippage_pips: float = 0.0
    commission_pct: float = 0.0
    leverage: float | None = None
    stop_out_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one timeframe: a conversion pair's, or finer ones of the traded symbol."""

    timeframe_us: int
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Trade:
    """One exit: the columns of backtest_trades that a simulation fills, times as microseconds."""

    position_id: int
    direction: Direction
    entry_time: int
    exit_time: int
    entry_price: float
    exit_price: float
    volume: float
    profit: float
    commission: float
    spread_cost: float
    swap: float
    equity_after: float
    stop_loss: float | None
    take_profit: float | None
    exit_reason: ExitReason


Metric = float | int | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything the rules define about a finished run.

    equity: marked to market at the close of each simulated bar, oldest first (shorter than the bars when a stop-out
    ended the run).
    warnings: counts by kind, kinds that did not occur left out: "stop_out" (the run ended on it), "not_sized" (risk
    sizing opened nothing), "no_margin" (the balance did not cover it), "not_moved" (a MOVE on the wrong sides).
    ratio_noise: see Measured; the compiled engine does not say.
    """

    trades: tuple[Trade, ...]
    equity: tuple[float, ...]
    ambiguous_bars: int
    net_profit: float
    net_profit_stop_first: float
    net_profit_target_first: float
    final_equity: float
    warnings: Mapping[str, int]
    metrics: Mapping[str, Metric]
    null_reasons: Mapping[str, str]
    ratio_noise: float = 0.0
    total_slippage_cost: float = 0.0


class RunRefusedError(Exception):
    """The run cannot give a right number.

    time_us: the bar (its open) or the moment at fault; None when it is the configuration.
    """

    def __init__(self, what: str, time_us: int | None = None) -> None:
        self.what = what
        self.time_us = time_us
        super().__init__(f"{what} (time {time_us})")


class DecisionRefusedError(RunRefusedError):
    """A decision breaks section 2: levels out of order, a volume off the step, a CLOSE that carries something; or 7."""


class NoConversionError(RunRefusedError):
    """A rate was needed before any bar of its pair had closed or long after the last one had, or there is no pair."""

    def __init__(self, currency: str, time_us: int | None) -> None:
        self.currency = currency
        super().__init__(f"no rate for {currency}", time_us)
