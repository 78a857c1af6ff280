"""Reversion into the Bollinger bands, with the middle band as target."""

import numpy as np
import polars as pl
from pydantic import Field

from engine.indicators import as_floats, bollinger_lower, bollinger_upper, crosses, sma
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategy import Instrument, Market, StrategyParams


class _Bands(StrategyParams):
    length: int = Field(default=20, ge=1, le=LONGEST, description="Bars")
    deviations: float = Field(default=2.0, gt=0, description="Standard deviations of the bands from their middle")


class BollingerReversion:
    """BUY where the close crosses above the lower band, SELL where it crosses below the upper one. The target is the
    middle band at the decision, where it is on the right side; a take_profit of the parameters goes in its place.
    """

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
        close, length, deviations = market.bars["close"], self._params.length, self._params.deviations
        up = crosses(close, bollinger_lower(close, length, deviations), close) > 0
        down = crosses(close, bollinger_upper(close, length, deviations), close) < 0
        codes = up.astype(np.int8) - down.astype(np.int8)
        return self._openings.decided(market, codes, target=as_floats(sma(close, length)))
