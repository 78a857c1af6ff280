"""The MACD and its signal line."""

import polars as pl
from pydantic import Field

from engine.indicators import crosses, macd, macd_signal
from engine.strategies.averages import FastAndSlow
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategy import Instrument, Market


class _Lengths(FastAndSlow):
    fast: int = Field(default=12, ge=1, le=LONGEST, description="Bars")
    slow: int = Field(default=26, ge=2, le=LONGEST, description="Bars; more than fast")
    signal: int = Field(default=9, ge=1, le=LONGEST, description="Values of the line that its signal line averages")


class Macd:
    """BUY where the MACD line crosses above its signal line, SELL where it crosses below; ties within 1e-9 of the close
    are no crossings.
    """

    class Params(Levels, _Lengths):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        """The signal line is an average of averages."""
        del timeframe
        return params.longest(params.slow + params.signal)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        close, lengths = market.bars["close"], (self._params.fast, self._params.slow, self._params.signal)
        # Differences of averages of prices: what is noise depends on the prices' size, not on theirs.
        codes = crosses(macd(close, *lengths), macd_signal(close, *lengths), close)
        return self._openings.decided(market, codes)
