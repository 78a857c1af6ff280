"""Other futures for the same past: bars rewritten, or cut off, from a moment on.

Apart from `probe` because it knows bars and nothing of strategies. What had closed by the moment stays as it was, to
the bit; what had not is replaced, on the run's timeframe and on every other one.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.market.bars import PRICES, Bars
from engine.prepared import RunData

__all__ = ["Future", "rewrite_after"]

_HIGHER, _LOWER = 1.6, 0.6
"""A level no strategy's window overlooks, still a price of the same magnitude."""
_WILDER = 3.0
"""How many times the spread of returns in the data a made-up walk has."""
_FARTHEST = 20.0
"""Logarithm of the largest factor a walk may move prices by, so that they stay finite and above 0."""


class Future(StrEnum):
    """How the future is rewritten."""

    CUT = "cut off"
    NOISE = "replaced by a random walk"
    HIGHER = "lifted by 60 %"
    LOWER = "lowered by 40 %"
    MIRRORED = "turned upside down"
    BACKWARDS = "played backwards"


def rewrite_after(data: RunData, moment_us: int, future: Future, seed: int) -> RunData:
    """Return the data with every bar that closes after the moment rewritten; conversion bars are never cut off.

    The run's bars must have one that closed by then. Deterministic: the same seed gives the same bars.
    """

    def change(bars: Bars, *, may_cut: bool = True) -> Bars:
        known = int(np.searchsorted(bars.close_time_us, moment_us, side="right"))
        if future is Future.CUT:
            return bars.rows(0, known) if may_cut else bars
        return _rewritten(bars, known, _REWRITES[future], np.random.default_rng(seed))

    return replace(
        data,
        bars=change(data.bars),
        context={name: change(bars) for name, bars in data.context.items()},
        finer=None if data.finer is None else change(data.finer, may_cut=False),
        conversion={symbol: change(bars, may_cut=False) for symbol, bars in data.conversion.items()},
    )


Columns = dict[str, NDArray[np.float64]]
Rewrite = Callable[[Columns, float, np.random.Generator], Columns]
"""Takes the columns of the future, the last known close and a generator; returns columns of the same lengths."""


def _rewritten(bars: Bars, known: int, rewrite: Rewrite, random: np.random.Generator) -> Bars:
    if known == bars.height:
        return bars
    names = [name for name in bars.frame.columns if name != "time"]
    future = bars.frame.slice(known)
    last_close = float(bars.close[max(known - 1, 0)])
    made = rewrite({name: future[name].to_numpy() for name in names}, last_close, random)
    tail = future.select("time").with_columns(pl.Series(name, np.ascontiguousarray(made[name])) for name in names)
    return Bars(bars.timeframe, bars.frame.head(known).vstack(tail).rechunk(), bars.closes_us, bars.begins_us)


def _walk(columns: Columns, last_close: float, random: np.random.Generator) -> Columns:
    """A random walk from the last close, wilder than the data; volumes are drawn again in another order."""
    close = columns["close"]
    returns = np.diff(np.log(close), prepend=np.log(last_close))
    size = _WILDER * max(float(returns.std()), 1e-4)
    path = np.clip(np.cumsum(random.normal(0.0, size, close.size)), -_FARTHEST, _FARTHEST)
    closes = last_close * np.exp(path)
    opens = np.append(last_close, closes[:-1])
    reach = np.exp(np.abs(random.normal(0.0, size, (2, close.size))))
    high = np.maximum(opens, closes) * reach[0]
    low = np.minimum(opens, closes) / reach[1]
    others = {name: random.permutation(values) * 1.5 for name, values in columns.items() if name not in PRICES}
    return {"open": opens, "high": high, "low": low, "close": closes, **others}


def _scaled(factor: float) -> Rewrite:
    def scale(columns: Columns, _last_close: float, _random: np.random.Generator) -> Columns:
        return {name: values * factor for name, values in columns.items()}

    return scale


def _mirrored(columns: Columns, last_close: float, _random: np.random.Generator) -> Columns:
    """Every rise becomes a fall of the same ratio, seen from the last known close."""
    turned = {"open": "open", "high": "low", "low": "high", "close": "close"}
    return columns | {name: last_close**2 / columns[source] for name, source in turned.items()}


def _backwards(columns: Columns, _last_close: float, _random: np.random.Generator) -> Columns:
    """The last bar comes first; opens and closes change places."""
    turned = {"open": "close", "close": "open"}
    return {name: columns[turned.get(name, name)][::-1] for name in columns}


_REWRITES: dict[Future, Rewrite] = {
    Future.NOISE: _walk,
    Future.HIGHER: _scaled(_HIGHER),
    Future.LOWER: _scaled(_LOWER),
    Future.MIRRORED: _mirrored,
    Future.BACKWARDS: _backwards,
}
