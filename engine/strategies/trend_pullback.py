"""A pullback within a longer trend: the RSI turns while the close is on the side of the trend."""

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from engine.indicators import as_floats, ema, rsi
from engine.market.timeframes import TIMEFRAMES
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategies.turns import LowAndHigh, turns
from engine.strategy import Instrument, Market, StrategyParams


class _Context(StrategyParams):
    context: str = Field(default="H4", description="Timeframe of the trend")
    trend_length: int = Field(default=50, ge=1, le=LONGEST, description="Bars of it that the EMA averages")
    rsi_length: int = Field(default=14, ge=2, le=LONGEST, description="Bars of the run's timeframe")

    @field_validator("context")
    @classmethod
    def is_a_timeframe(cls, value: str) -> str:
        if value not in TIMEFRAMES:
            raise ValueError(f"unknown timeframe {value!r}: there are {', '.join(TIMEFRAMES)}")
        return value


class _Marks(LowAndHigh):
    low: float = Field(default=40.0, ge=0, le=100, description="BUY where the RSI crosses above it")
    high: float = Field(default=60.0, ge=0, le=100, description="SELL where the RSI crosses below it")


class TrendPullback:
    """BUY where the RSI crosses above `low` while the close is above the EMA of the context timeframe, SELL where it
    crosses below `high` while the close is below it. The context needs no list of its own.
    """

    class Params(Levels, _Marks, _Context):
        pass

    @staticmethod
    def context_timeframes(params: Params) -> tuple[str, ...]:
        return (params.context,)

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        """Of the context its EMA, and, since the context may be the run's own timeframe, what that needs."""
        of_run = params.longest(params.rsi_length)
        return max(params.trend_length, of_run) if timeframe == params.context else of_run

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        asked, close = self._params, market.bars["close"]
        trend = market.on(asked.context, lambda bars: ema(bars["close"], asked.trend_length))
        side = np.sign(np.nan_to_num(as_floats(close) - as_floats(trend)))
        codes = turns(rsi(close, asked.rsi_length), asked.low, asked.high)
        return self._openings.decided(market, np.where(codes == side, codes, np.int8(0)))
