"""The flips of the Supertrend."""

import polars as pl
from pydantic import Field

from engine.indicators import supertrend_flips
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategy import Instrument, Market, StrategyParams


class _Bands(StrategyParams):
    length: int = Field(default=10, ge=1, le=LONGEST, description="Bars of the average true range")
    multiplier: float = Field(default=3.0, gt=0, description="Average true ranges of the bands from the bar's middle")


class Supertrend:
    """BUY where the Supertrend turns up, SELL where it turns down; its first direction is no turn."""

    class Params(Levels, _Bands):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        del timeframe
        return params.longest(params.length)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        bars, asked = market.bars, self._params
        flips = supertrend_flips(bars["high"], bars["low"], bars["close"], asked.length, asked.multiplier)
        return self._openings.decided(market, flips)
