"""One strategy twice, as rules and as a column strategy written by hand: five indicators, three conditions."""

from typing import Any, Final

import numpy as np
import polars as pl

from engine.indicators import as_floats, atr, crosses, ema, rsi, sma
from engine.numeric.rounding import round_price
from engine.strategy import Instrument, Market, StrategyParams

DOCUMENT: Final[dict[str, Any]] = {
    "indicators": {"quick": "sma(close, 10)", "calm": "sma(close, 30)", "trend": "ema(close, 200)"},
    "buy": "crosses_above(quick, calm) and close > trend and rsi(close, 14) < 70",
    "sell": "crosses_below(quick, calm) and close < trend and rsi(close, 14) > 30",
    "close": "hour >= 20",
    "stop_loss": "2 * atr(14)",
}


class ByHand:
    """The same decisions, in the way of docs/strategies.md."""

    class Params(StrategyParams):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        return 200

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._scale = instrument.price_scale

    def decide_all(self, market: Market) -> pl.DataFrame:
        bars = market.bars
        close = as_floats(bars["close"])
        codes = crosses(sma(close, 10), sma(close, 30), close)
        trend, strength = ema(close, 200).to_numpy(), rsi(close, 14).to_numpy()
        evening = (bars["time"].dt.offset_by("1m").dt.hour() >= 20).to_numpy()
        buys = (codes > 0) & (close > trend) & (strength < 70) & ~evening
        sells = (codes < 0) & (close < trend) & (strength > 30) & ~evening
        rows = np.flatnonzero(buys | sells)
        distance = 2 * atr(bars["high"], bars["low"], close, 14).to_numpy()[rows]
        stop = np.full(close.size, np.nan)
        stop[rows] = round_price(close[rows] - np.where(buys[rows], distance, -distance), self._scale)
        action = (
            pl.when(pl.Series(buys))
            .then(pl.lit("BUY"))
            .when(pl.Series(sells))
            .then(pl.lit("SELL"))
            .when(pl.Series(evening))
        ).then(pl.lit("CLOSE"))
        return pl.DataFrame({"stop_loss": stop}).with_columns(action=action)
