"""The moving-average cross: BUY when the fast average crosses above the slow one, SELL when below."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.indicators import actions, as_floats, sma_crosses
from engine.numeric.rounding import round_price
from engine.strategy import Instrument, Market, StrategyParams


class SmaCross:
    """Column strategy over the closes of the run's timeframe; ties within 1e-9 of the close are not crossings."""

    class Params(StrategyParams):
        fast: int = Field(default=10, ge=1, le=1_000_000)
        """Bars."""
        slow: int = Field(default=30, ge=2, le=1_000_000)
        """Bars; more than fast."""
        stop_loss_pips: float | None = Field(default=None, gt=0)
        """From the deciding bar's close; None: no stop of the strategy's own."""
        take_profit_pips: float | None = Field(default=None, gt=0)

        @model_validator(mode="after")
        def fast_is_below_slow(self) -> "SmaCross.Params":
            if self.fast >= self.slow:
                raise ValueError(f"fast ({self.fast}) must be below slow ({self.slow})")
            return self

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        """Bars that an average needs."""
        del timeframe
        return params.slow

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._pip = instrument.pip
        self._price_scale = instrument.price_scale

    def decide_all(self, market: Market) -> pl.DataFrame:
        """Return action and, where the parameters ask for them, stop_loss and take_profit, NaN beside no action."""
        close = as_floats(market.bars["close"])
        codes = sma_crosses(close, self._params.fast, self._params.slow)
        columns = [actions(codes)]
        if self._params.stop_loss_pips is not None:
            columns.append(self._levels("stop_loss", close, codes, -self._params.stop_loss_pips))
        if self._params.take_profit_pips is not None:
            columns.append(self._levels("take_profit", close, codes, self._params.take_profit_pips))
        return pl.DataFrame(columns)

    def _levels(self, name: str, close: NDArray[np.float64], codes: NDArray[np.int8], pips: float) -> pl.Series:
        """Return close + pips for a BUY and close - pips for a SELL, rounded as all sums of prices are."""
        rows = np.flatnonzero(codes != 0)
        levels = np.full(close.size, np.nan)
        levels[rows] = round_price(close[rows] + codes[rows] * (pips * self._pip), self._price_scale)
        return pl.Series(name, levels)
