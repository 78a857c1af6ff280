"""The moving-average cross: BUY when the fast average crosses above the slow one, SELL when below."""

import polars as pl
from pydantic import Field

from engine.indicators import sma_crosses
from engine.strategies.averages import FastAndSlow
from engine.strategies.levels import Levels, Openings
from engine.strategy import Instrument, Market


class _Lengths(FastAndSlow):
    fast: int = Field(default=10, ge=1, le=1_000_000, description="Bars")
    slow: int = Field(default=30, ge=2, le=1_000_000, description="Bars; more than fast")


class SmaCross:
    """BUY where the fast simple average of the closes crosses above the slow one, SELL where it crosses below; ties
    within 1e-9 of the close are no crossings.
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
        codes = sma_crosses(market.bars["close"], self._params.fast, self._params.slow)
        return self._openings.decided(market, codes)
