"""The cross of exponential averages."""

import polars as pl
from pydantic import Field

from engine.indicators import crosses, ema
from engine.strategies.averages import FastAndSlow
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategy import Instrument, Market


class _Lengths(FastAndSlow):
    fast: int = Field(default=12, ge=1, le=LONGEST, description="Bars")
    slow: int = Field(default=26, ge=2, le=LONGEST, description="Bars; more than fast")


class EmaCross:
    """BUY where the fast exponential average of the closes crosses above the slow one, SELL where it crosses below;
    ties within 1e-9 of the close are no crossings.
    """

    class Params(Levels, _Lengths):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        del timeframe
        return params.longest(params.slow)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        close = market.bars["close"]
        codes = crosses(ema(close, self._params.fast), ema(close, self._params.slow), close)
        return self._openings.decided(market, codes)
