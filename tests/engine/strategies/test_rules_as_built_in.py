"""The built-in strategies once more, as rules: the same trades to the last digit."""

from importlib import import_module
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from engine.deciders.chosen import choose_strategy
from engine.specification import ExecutionMode, OnOpposite
from engine.strategies.rules import Rules
from tests.engine.run_builders import backtest, sample

BARS = sample("eurusd_h1", 6_000)
LEVELS = {"stop_loss_atr": 2.0, "take_profit_pips": 60.0, "trailing_atr": 3.0}
AS_RULES = {"stop_loss": "2 * atr(14)", "take_profit": "pips(60)", "trailing_stop": "3 * atr(14)"}
MACD, SIGNAL = "macd(close, 12, 26, 9)", "macd_signal(close, 12, 26, 9)"


@pytest.mark.parametrize(
    ("key", "document"),
    [
        ("sma_cross", {
            "indicators": {"f": "sma(close, 10)", "s": "sma(close, 30)"},
            "buy": "crosses_above(f, s)",
            "sell": "crosses_below(f, s)",
        }),
        ("ema_cross", {
            "buy": "crosses_above(ema(close, 12), ema(close, 26))",
            "sell": "crosses_below(ema(close, 12), ema(close, 26))",
        }),
        ("macd", {"buy": f"crosses_above({MACD}, {SIGNAL})", "sell": f"crosses_below({MACD}, {SIGNAL})"}),
        ("rsi_reversion", {
            "buy": "crosses_above(rsi(close, 14), 30)",
            "sell": "crosses_below(rsi(close, 14), 70)",
        }),
        ("bollinger_reversion", {
            "buy": "crosses_above(close, bollinger_lower(close, 20, 2))",
            "sell": "crosses_below(close, bollinger_upper(close, 20, 2))",
        }),
        ("donchian_breakout", {
            "buy": "close > highest(high, 20)[1]",
            "sell": "close < lowest(low, 20)[1]",
            "close_long": "close < lowest(low, 10)[1]",
            "close_short": "close > highest(high, 10)[1]",
        }),
        ("supertrend", {
            "buy": "crosses_above(close, supertrend(10, 3))",
            "sell": "crosses_below(close, supertrend(10, 3))",
        }),
        ("candle_pattern", {"buy": "candle('engulfing') > 0", "sell": "candle('engulfing') < 0"}),
        ("trend_pullback", {
            "indicators": {"trend": {"timeframe": "H4", "value": "ema(close, 50)"}},
            "buy": "crosses_above(rsi(close, 14), 40) and close > trend",
            "sell": "crosses_below(rsi(close, 14), 60) and close < trend",
        }),
    ],
)  # fmt: skip
@pytest.mark.parametrize("on_opposite", [OnOpposite.REVERSE, OnOpposite.IGNORE])
def test_rules_trade_as_the_built_in_strategy(key: str, document: dict[str, Any], on_opposite: OnOpposite) -> None:
    asked: dict[str, Any] = {"execution_mode": ExecutionMode.INTRA_CANDLE, "on_opposite": on_opposite, "volume": 0.1}
    strategy = getattr(import_module(f"engine.strategies.{key}"), key.title().replace("_", ""))
    built_in = backtest(BARS, choose_strategy(strategy, key, LEVELS), **asked).trades
    rules = backtest(BARS, choose_strategy(Rules, "rules", {**document, **AS_RULES}), **asked).trades
    same = [name for name in built_in.columns if not name.startswith("pattern_")]
    assert built_in.height > 30
    assert_frame_equal(rules.select(same), built_in.select(same), check_exact=True)
