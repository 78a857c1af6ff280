"""Nearest patterns: BUY when most of the past stretches that looked like the last bars were followed by a rise."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engine.specification import MOST_WARM_UP_BARS
from engine.strategy import Decision, Instrument, StrategyParams, View


class NearestPatterns:
    """Bar strategy. Compares the shape of the newest closes with that of every stretch in its memory, at each bar.

    Work is memory * length for each bar: about half a millisecond for 10 000 * 24. Only sums of whole columns are
    taken, in a fixed order, so that every machine finds the same neighbours.
    """

    class Params(StrategyParams):
        length: int = Field(24, ge=2, le=500, description="Bars of a pattern")
        memory: int = Field(5_000, ge=100, le=1_000_000, description="Bars back in which patterns are looked for")
        neighbours: int = Field(40, ge=1, le=10_000, description="Patterns that vote, the most alike first")
        horizon: int = Field(8, ge=1, le=500, description="Bars after a pattern over which it rose or fell")
        share: float = Field(0.6, gt=0.5, le=1, description="Of the votes that a side needs; with less it closes")

    @staticmethod
    def warm_up_bars(params: Params, timeframe: str) -> int:
        """Its memory, and a pattern before it: nothing older is looked at, so no more is needed of it."""
        del timeframe
        return min(params.memory + params.length + params.horizon, MOST_WARM_UP_BARS)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        del instrument
        self._params = params

    def decide(self, view: View) -> Decision | None:
        asked = self._params
        closes = view.close[-(asked.memory + asked.length + asked.horizon) :]
        candidates = closes.size - asked.length - asked.horizon + 1
        if candidates < asked.neighbours:
            return None
        distances = _distances(closes, asked.length)[:candidates]
        furthest = np.partition(distances, asked.neighbours - 1)[asked.neighbours - 1]
        ends = np.flatnonzero(distances <= furthest) + asked.length - 1
        rises = np.count_nonzero(closes[ends + asked.horizon] > closes[ends]) / ends.size
        falls = np.count_nonzero(closes[ends + asked.horizon] < closes[ends]) / ends.size
        if rises >= asked.share:
            return Decision("BUY")
        if falls >= asked.share:
            return Decision("SELL")
        return Decision("CLOSE") if view.position is not None else None


def _distances(closes: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """How unlike the last `length` closes each stretch of that length is: shape (n - length + 1,), the last one 0.

    A stretch is measured from its last close in units of its own range, so that its level and its size do not count.
    """
    lasts = closes[length - 1 :]
    highest, lowest = (_of_stretches(extreme, closes, length) for extreme in (np.maximum, np.minimum))
    ranges = np.maximum(highest - lowest, 1e-9 * lasts)
    distances = np.zeros(lasts.size)
    for position in range(length):
        shapes = (closes[position : position + lasts.size] - lasts) / ranges
        distances += np.abs(shapes - shapes[-1])
    return distances


def _of_stretches(extreme: np.ufunc, closes: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The highest or lowest of each stretch: those of twice as many bars are the extremes of two shorter stretches."""
    found, reached = closes, 1
    while reached < length:
        step = min(reached, length - reached)
        found = extreme(found[:-step], found[step:])
        reached += step
    return found
