"""Fewer points of a curve, and none of its peaks and lows lost."""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

FEWEST_POINTS = 2


def thinned(frame: pl.DataFrame, judged: str, max_points: int | None) -> pl.DataFrame:
    """At most so many rows, in order: the first and the last, and of each of as many stretches of equal length as then
    fit the rows with the smallest and the largest value of the judged column (of equals the first). None: all of them.
    """
    if max_points is None or frame.height <= max_points:
        return frame
    return frame[kept_rows(frame[judged].to_numpy(), max_points)]


def kept_rows(values: NDArray[np.float64], max_points: int) -> NDArray[np.int64]:
    """The rows that stay, of more than max_points; max_points is FEWEST_POINTS at least."""
    inner = values[1:-1]
    stretches = (max_points - 2) // 2
    kept = [np.array([0, values.size - 1])]
    if stretches:
        # As many as fit: two of each stretch, which holds two values at least.
        begins = np.arange(stretches + 1) * inner.size // stretches
        for begin, end in pairwise(begins.tolist()):
            stretch = inner[begin:end]
            kept.append(1 + begin + np.array([stretch.argmin(), stretch.argmax()]))
    return np.unique(np.concatenate(kept)).astype(np.int64)
