"""Candle patterns, by TA-Lib's names."""

from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl
import talib

from engine.indicators.columns import Column, by_stretch, series
from engine.numeric.arrays import Floats

_PREFIX = "CDL"
CANDLES = tuple(sorted(name.removeprefix(_PREFIX).lower() for name in vars(talib) if name.startswith(_PREFIX)))
"""All there are."""


def candle(open: Column | str, high: Column, low: Column, close: Column, name: Column | str) -> pl.Series:  # noqa: A002
    """Return TA-Lib's value of a pattern: 100 (of some 80 or 200) where it is bullish, negative where bearish, 0 for
    none; unknown while there are too few bars to tell.

    name: without CDL, lower case, as in CANDLES; it may also stand first, as rules have it. Raises ValueError for
    another.
    """
    given: list[Any] = [open, high, low, close, name]
    *prices, pattern = given if not isinstance(open, str) else [*given[1:], open]
    problem = candle_problem(pattern)
    if problem is not None:
        raise ValueError(problem)
    lookback, function = candle_lookback(pattern), getattr(talib, _PREFIX + pattern.upper())

    def of_stretch(*bars: Floats) -> tuple[Floats]:
        values: Floats = function(*bars).astype(np.float64)
        values[:lookback] = np.nan
        return (values,)

    return series(f"candle_{pattern}", *by_stretch(of_stretch, lookback, *prices))


def candle_problem(name: str) -> str | None:
    """Say that there is no such pattern, and which may be meant; None where there is."""
    if isinstance(name, str) and name in CANDLES:
        return None
    meant = get_close_matches(str(name), CANDLES, n=1)
    return f"unknown candle pattern {name!r}" + (f"; did you mean {meant[0]!r}?" if meant else "")


def candle_lookback(name: str) -> int:
    """How many bars a pattern needs before the one that it is told of."""
    # Here: it asks TA-Lib for all of its functions, for which no other strategy should wait.
    import talib.abstract as abstract

    lookback: int = abstract.Function(_PREFIX + name.upper()).lookback  # type: ignore[attr-defined]  # TA-Lib's stubs lack it
    return lookback
