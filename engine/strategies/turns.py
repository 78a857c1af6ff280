"""Where an index comes back from an extreme: what strategies of a low and a high mark share."""

from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from engine.indicators import crosses
from engine.strategy import StrategyParams


class LowAndHigh(StrategyParams):
    """Two marks of an index from 0 to 100, the first not above the second."""

    low: float
    high: float

    @model_validator(mode="after")
    def low_is_not_above_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not be above high ({self.high:g})")
        return self


def turns(index: pl.Series, low: float, high: float) -> NDArray[np.int8]:
    """Return +1 where the index crosses above low, -1 where it crosses below high, else 0."""
    up, down = crosses(index, low) > 0, crosses(index, high) < 0
    # What leaves a tie may cross both marks at once, and says nothing then.
    return up.astype(np.int8) - down.astype(np.int8)
