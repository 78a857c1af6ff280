"""Columns for indicators to be computed on, and every indicator by its name."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import strategies as st

from engine import indicators
from engine.indicators import Column
from engine.numeric.arrays import Floats

DATA = Path(__file__).parents[2] / "data"
price_lists = st.lists(st.integers(90_000, 110_000).map(lambda ticks: ticks / 1e5), min_size=1, max_size=80)
few_levels = st.lists(st.sampled_from([1.1, 1.1001, 1.1002]), min_size=1, max_size=80)
holed = st.lists(
    st.integers(100_000, 200_000).map(lambda ticks: ticks / 1e5) | st.sampled_from([math.nan, None]), max_size=60
)


def random_walk(count: int, seed: int = 7) -> Floats:
    steps = np.random.default_rng(seed).integers(-20, 21, count).cumsum()
    walk: Floats = np.round(1.5 + np.abs(steps) * 1e-5, 5)
    return walk


def random_bars(count: int, seed: int = 7) -> dict[str, Floats]:
    """open, high, low, close, volume."""
    random = np.random.default_rng(seed)
    close = random_walk(count, seed)
    opened = np.round(np.concatenate((close[:1], close[:-1])) + random.integers(-5, 6, count) * 1e-5, 5)
    high = np.round(np.maximum(opened, close) + random.integers(0, 15, count) * 1e-5, 5)
    low = np.round(np.minimum(opened, close) - random.integers(0, 15, count) * 1e-5, 5)
    volume = random.integers(0, 500, count).astype(np.float64)
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return {name: values.astype(np.float64) for name, values in columns.items()}


@cache
def sample_bars(name: str) -> dict[str, Floats]:
    """The same of a file of tests/data."""
    frame = pl.read_parquet(DATA / f"{name}.parquet")
    volume = frame["volume"] if "volume" in frame.columns else pl.Series([1.0] * frame.height)
    return {
        column: values.cast(pl.Float64).to_numpy()
        for column, values in (*((name, frame[name]) for name in ("open", "high", "low", "close")), ("volume", volume))
    }


def floats(values: pl.Series) -> Floats:
    """NaN for null; and no NaN among the values."""
    assert not values.is_nan().any()
    array: Floats = values.to_numpy()
    return array


ONE: dict[str, Callable[[Column, int], pl.Series]] = {
    "sma": indicators.sma,
    "ema": indicators.ema,
    "wma": indicators.wma,
    "stddev": indicators.stddev,
    "bollinger_upper": indicators.bollinger_upper,
    "bollinger_lower": indicators.bollinger_lower,
    "rsi": indicators.rsi,
    "highest": indicators.highest,
    "lowest": indicators.lowest,
    "roc": indicators.roc,
    "macd": lambda x, n: indicators.macd(x, n, 2 * n, 3),
    "macd_signal": lambda x, n: indicators.macd_signal(x, n, 2 * n, 3),
    "macd_hist": lambda x, n: indicators.macd_hist(x, n, 2 * n, 3),
}
"""Of a column and a length."""
OF_BARS: dict[str, Callable[[Column, Column, Column, int], pl.Series]] = {
    "atr": indicators.atr,
    "adx": indicators.adx,
    "plus_di": indicators.plus_di,
    "minus_di": indicators.minus_di,
    "cci": indicators.cci,
    "stoch_k": indicators.stoch_k,
    "stoch_d": indicators.stoch_d,
    "supertrend": lambda high, low, close, n: indicators.supertrend(high, low, close, n, 1.0),
}
"""Of high, low, close and a length."""
