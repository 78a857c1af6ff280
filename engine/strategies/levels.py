"""Stops, targets and trails as all built-in strategies take them, in pips or in average true ranges."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from engine.indicators import ACTIONS, actions, as_floats, atr
from engine.numeric.arrays import Floats
from engine.numeric.rounding import round_price
from engine.strategy import Instrument, Market, StrategyParams

LONGEST = 100_000
"""Bars: more TA-Lib does not look back."""
CLOSING = pl.Series("action", ["CLOSE"], ACTIONS)
UNKNOWN_LEVEL = "stop, target or trail not known or not above 0"


class Levels(StrategyParams):
    """Parameters that decide nothing but where a position is left. In a class of Params it stands before the base that
    has the strategy's own, which then come first.
    """

    stop_loss_pips: float | None = Field(default=None, gt=0, description="From the deciding close")
    take_profit_pips: float | None = Field(default=None, gt=0, description="From the deciding close")
    stop_loss_atr: float | None = Field(default=None, gt=0, description="Average true ranges; in place of pips")
    take_profit_atr: float | None = Field(default=None, gt=0, description="Average true ranges; in place of pips")
    atr_length: int = Field(default=14, ge=1, le=LONGEST, description="Bars of the average true range")
    trailing_atr: float | None = Field(default=None, gt=0, description="Average true ranges at which the stop follows")

    @field_validator("stop_loss_atr", "take_profit_atr")
    @classmethod
    def is_not_given_in_pips_too(cls, value: float | None, info: ValidationInfo) -> float | None:
        in_pips = str(info.field_name).replace("_atr", "_pips")
        if value is not None and info.data.get(in_pips) is not None:
            raise ValueError(f"give this or {in_pips}, not both")
        return value

    @property
    def asks(self) -> bool:
        """Whether any level is asked for."""
        return self.sets_target or (self.stop_loss_pips, self.stop_loss_atr, self.trailing_atr) != (None, None, None)

    @property
    def sets_target(self) -> bool:
        return self.take_profit_pips is not None or self.take_profit_atr is not None

    def longest(self, *lengths: int) -> int:
        """Return the longest of the strategy's own lengths and, where it is looked at, that of the ATR."""
        by_range = (self.stop_loss_atr, self.take_profit_atr, self.trailing_atr)
        return max(*lengths, 0 if by_range == (None, None, None) else self.atr_length)


class Openings:
    """What a strategy that says BUY and SELL by its codes returns: the actions, and the levels beside them."""

    def __init__(self, levels: Levels, instrument: Instrument) -> None:
        self._levels, self._instrument = levels, instrument

    def decided(
        self,
        market: Market,
        codes: NDArray[np.int8],
        target: Floats | None = None,
        exits: NDArray[np.int8] | None = None,
    ) -> pl.DataFrame:
        """Return action and, where the parameters ask for them, stop_loss, take_profit and trailing_stop, NaN beside no
        action. A decision whose level by ATR is unknown or not above 0 is none, and left out by the market's count.

        codes: +1 BUY, -1 SELL, 0 nothing, one a bar. target: the strategy's own, a price a bar, taken where it is on
        the right side of the close and the parameters ask for none. exits: +1 where a long is closed, -1 a short, one a
        bar; where nothing is opened that is a CLOSE, else it is done where the opening meets such a position.
        """
        codes, columns = self._beside(market, codes, target)
        if exits is None:
            return pl.DataFrame([actions(codes), *columns])
        action = actions(codes)
        closing = pl.Series((codes == 0) & (exits != 0))
        return pl.DataFrame([CLOSING.zip_with(closing, action), *columns, _sides(exits)])

    def _beside(
        self, market: Market, codes: NDArray[np.int8], target: Floats | None
    ) -> tuple[NDArray[np.int8], list[pl.Series]]:
        """Return the codes, 0 where a level is not to be had, and the columns of levels."""
        if target is None and not self._levels.asks:
            return codes, []
        bars, rows = market.bars, np.flatnonzero(codes)
        columns = self._columns(bars, rows, codes[rows])
        made = np.ones(rows.size, bool)
        for values in columns.values():
            made &= np.isfinite(values)
        if not made.all():
            codes = codes.copy()
            codes[rows[~made]] = 0
            missing = np.zeros(codes.size, bool)
            missing[rows[~made]] = True
            market.left_out[UNKNOWN_LEVEL] = missing
        given = [pl.Series(name, _spread(values, rows, codes.size)) for name, values in columns.items()]
        if target is not None and not self._levels.sets_target:
            close = as_floats(bars["close"])
            given.append(pl.Series("take_profit", np.where((target - close) * codes > 0.0, target, np.nan)))
            given[-1] = given[-1].fill_nan(None)
        return codes, given

    def _columns(self, bars: pl.DataFrame, rows: NDArray[np.int64], side: NDArray[np.int8]) -> dict[str, Floats]:
        """Return what is asked for at these rows, NaN where it cannot be had."""
        asked, pip = self._levels, self._instrument.pip
        close = as_floats(bars["close"])[rows]
        columns = {}
        for name, pips, ranges, sign in (
            ("stop_loss", asked.stop_loss_pips, asked.stop_loss_atr, -1.0),
            ("take_profit", asked.take_profit_pips, asked.take_profit_atr, 1.0),
        ):
            if pips is not None:
                distance = np.full(rows.size, pips * pip)
            elif ranges is not None:
                distance = self._ranges(bars, ranges)[rows]
            else:
                continue
            level = round_price(close + sign * side * distance, self._instrument.price_scale)
            columns[name] = np.where((level - close) * side * sign > 0.0, level, np.nan)
        if asked.trailing_atr is not None:
            distance = self._ranges(bars, asked.trailing_atr)[rows]
            begins = round_price(close - side * distance, self._instrument.price_scale)
            columns["trailing_stop"] = np.where((close - begins) * side > 0.0, distance, np.nan)
        return columns

    def _ranges(self, bars: pl.DataFrame, count: float) -> Floats:
        """Return so many average true ranges, at each bar."""
        return count * as_floats(atr(bars["high"], bars["low"], bars["close"], self._levels.atr_length))


def _sides(exits: NDArray[np.int8]) -> pl.Series:
    code = pl.Series(exits)
    long, short, neither = (pl.Series("closes", [side], dtype=pl.String) for side in ("long", "short", None))
    return long.zip_with(code > 0, short.zip_with(code < 0, neither))


def _spread(values: Floats, rows: NDArray[np.int64], height: int) -> Floats:
    column = np.full(height, np.nan)
    column[rows] = values
    return column
