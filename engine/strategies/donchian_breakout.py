"""The breakout of a channel of highs and lows."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from engine.indicators import as_floats, highest, lowest
from engine.numeric.arrays import Floats
from engine.strategies.levels import LONGEST, Levels, Openings
from engine.strategy import Instrument, Market, StrategyParams


class _Channels(StrategyParams):
    length: int = Field(default=20, ge=1, le=LONGEST, description="Bars of the channel, before the deciding one")
    exit_length: int = Field(default=10, ge=1, le=LONGEST, description="Bars of the channel that a position is left by")


class DonchianBreakout:
    """BUY on a close above the highest high of the `length` bars before it, SELL on one below their lowest low. A long
    is closed on a close below the lowest low of the `exit_length` bars before, a short above their highest high. An
    entry goes before an exit at the same bar; where it meets an open position that it may not reverse, the exit closes.
    """

    class Params(Levels, _Channels):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        del timeframe
        return params.longest(params.length, params.exit_length)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        close, asked = as_floats(market.bars["close"]), self._params
        codes, exits = (_left(market.bars, close, length) for length in (asked.length, asked.exit_length))
        return self._openings.decided(market, codes, exits=-exits)


def _left(bars: pl.DataFrame, close: Floats, length: int) -> NDArray[np.int8]:
    """Return +1 where the close is above all of the `length` bars before it, -1 where below them, else 0."""
    top, bottom = highest(bars["high"], length).shift(1), lowest(bars["low"], length).shift(1)
    return (close > as_floats(top)).astype(np.int8) - (close < as_floats(bottom)).astype(np.int8)
