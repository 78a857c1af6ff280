"""What the demo asks for: runs in each execution mode, one with a mistake in it, one to be cancelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SMA_CROSS: Final = "sma_cross"
RSI_REVERSION: Final = "rsi_reversion"
DONCHIAN_BREAKOUT: Final = "donchian_breakout"
NEAREST_PATTERNS: Final = "nearest_patterns"

STRATEGIES: Final[Mapping[str, dict[str, Any]]] = {
    SMA_CROSS: {"fast": 10, "slow": 30},
    RSI_REVERSION: {"stop_loss_atr": 2.0, "take_profit_atr": 3.0},
    DONCHIAN_BREAKOUT: {"stop_loss_atr": 3.0, "trailing_atr": 4.0},
    NEAREST_PATTERNS: {"length": 24, "memory": 1500, "neighbours": 40},
}
"""Rows of `strategies` that the demo adds: key -> parameters; their timeframe is H1."""


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """One request, and what to call it on the screen."""

    request_id: str
    label: str
    data: dict[str, Any]
    is_cancelled: bool = False
    """Somebody asks for its end while it runs."""


def demo_requests(strategy_ids: Mapping[str, int]) -> tuple[DemoRequest, ...]:
    """The requests, by the ids of the strategies' rows."""
    cross, patterns = strategy_ids[SMA_CROSS], strategy_ids[NEAREST_PATTERNS]
    reversion, breakout = strategy_ids[RSI_REVERSION], strategy_ids[DONCHIAN_BREAKOUT]
    return (
        DemoRequest("demo-close-price", "sma_cross     close_price ", _data(cross, 2015, 2018)),
        DemoRequest(
            "demo-intra-candle",
            "rsi_reversion intra_candle",
            _data(reversion, 2015, 2018, execution_mode="intra_candle"),
        ),
        DemoRequest(
            "demo-next-open",
            "donchian      next_open   ",
            _data(
                breakout,
                2016,
                2018,
                execution_mode="next_open",
                strategy_params={"length": 55, "exit_length": 20},
                risk_pct=0.01,
                commission_per_lot=7.0,
                spread_pips=0.8,
                initial_balance=100_000.0,
            ),
        ),
        DemoRequest(
            "demo-mistake", "with a mistake in it      ", _data(cross, 2018, 2015, execution_mode="close_prize")
        ),
        DemoRequest(
            "demo-patterns",
            "patterns      next_open   ",
            _data(patterns, 2017, 2018, execution_mode="next_open"),
        ),
        DemoRequest(
            "demo-cancelled",
            "patterns      to cancel   ",
            _data(patterns, 2015, 2018, strategy_params={"memory": 20_000, "length": 48}),
            is_cancelled=True,
        ),
    )


def _data(strategy_id: int, first_year: int, end_year: int, **changes: Any) -> dict[str, Any]:
    data = {
        "strategy_id": strategy_id,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "start_date": f"{first_year}-01-01T00:00:00Z",
        "end_date": f"{end_year}-01-01T00:00:00Z",
    }
    return {**data, **changes}
