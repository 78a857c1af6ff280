"""Indicators for strategies: causal, one value a bar, null where it is not known yet.

Every function takes a polars Series (or a frame of one column, as an expression's result), a numpy array or a list, and
returns new polars Series of the same length, Float64, whose value at i depends on values up to i only. Null, NaN and
infinity are unknown values. A window that holds one is unknown until it has passed, and what remembers everything
before (as EMA does) begins anew after one. Functions marked "window" depend on the last `length` values alone, bit for
bit unless they say otherwise, so that a longer warm-up changes nothing; the others settle after several lengths.
Lengths are at least 1, and may be longer than the data, of which then nothing is known. Values and warm-up are
TA-Lib's. Those of high, low and close take these three first.
"""

from engine.indicators.averages import ema, macd, macd_hist, macd_signal, sma, wma
from engine.indicators.candles import CANDLES, candle, candle_problem
from engine.indicators.columns import Column, as_floats, heard_by
from engine.indicators.crossings import (
    ACTIONS,
    TOLERANCE,
    actions,
    crosses,
    crosses_above,
    crosses_below,
    sma_crosses,
)
from engine.indicators.oscillators import adx, cci, minus_di, obv, plus_di, roc, rsi, stoch_d, stoch_k
from engine.indicators.ranges import (
    atr,
    bollinger_lower,
    bollinger_upper,
    highest,
    lowest,
    stddev,
    supertrend,
    supertrend_flips,
)

__all__ = [
    "ACTIONS",
    "CANDLES",
    "TOLERANCE",
    "Column",
    "actions",
    "adx",
    "as_floats",
    "atr",
    "bollinger_lower",
    "bollinger_upper",
    "candle",
    "candle_problem",
    "cci",
    "crosses",
    "crosses_above",
    "crosses_below",
    "ema",
    "heard_by",
    "highest",
    "lowest",
    "macd",
    "macd_hist",
    "macd_signal",
    "minus_di",
    "obv",
    "plus_di",
    "roc",
    "rsi",
    "sma",
    "sma_crosses",
    "stddev",
    "stoch_d",
    "stoch_k",
    "supertrend",
    "supertrend_flips",
    "wma",
]
