"""Reversion of the RSI: the way back from oversold and overbought."""

import polars as pl
from pydantic import Field

from engine.indicators import rsi
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategies.turns import LowAndHigh, turns
from engine.strategy import Instrument, Market, StrategyParams


class _Length(StrategyParams):
    length: int = Field(default=14, ge=2, le=LONGEST, description="Bars of the RSI")


class _Marks(LowAndHigh):
    low: float = Field(default=30.0, ge=0, le=100, description="BUY where the RSI crosses above it")
    high: float = Field(default=70.0, ge=0, le=100, description="SELL where the RSI crosses below it")


class RsiReversion:
    """BUY where the RSI crosses above `low`, SELL where it crosses below `high`."""

    class Params(Levels, _Marks, _Length):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        del timeframe
        return params.longest(params.length)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        index = rsi(market.bars["close"], self._params.length)
        return self._openings.decided(market, turns(index, self._params.low, self._params.high))
