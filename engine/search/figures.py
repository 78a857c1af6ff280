"""The figures of a combination as one row of numbers: what the results file has, what a search may ask for, and which
of two is better.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.search.figure_names import FIGURES, LOWER_IS_BETTER, WHOLE, check_metric

__all__ = [
    "FIGURES",
    "LOWER_IS_BETTER",
    "WHOLE",
    "by_name",
    "candidates",
    "check_metric",
    "column",
    "ranking",
    "worth",
    "worth_of",
]

_AT: Final = {name: at for at, name in enumerate(FIGURES)}
_TRADES: Final = _AT["total_trades"]


def by_name(row: Floats) -> dict[str, Any]:
    """Return a row as figures by name: whole numbers where they are, None for NaN."""
    return {
        name: None if math.isnan(value) else int(value) if name in WHOLE else value
        for name, value in zip(FIGURES, row.tolist(), strict=True)
    }


def column(figures: Floats, name: str) -> Floats:
    """Return one figure of each row, shape (n,)."""
    return figures[:, _AT[name]]


def worth(figures: Floats, metric: str) -> Floats:
    """Return how good each row is by the metric, higher being better, NaN for none."""
    return worth_of(column(figures, metric), metric)


def worth_of(values: Floats, metric: str) -> Floats:
    """Return how good values of the metric are, higher being better."""
    return -values if metric in LOWER_IS_BETTER else values


def candidates(figures: Floats, metric: str, min_trades: int) -> NDArray[np.bool_]:
    """Return which rows may be the best: they have the metric, and trades enough. Rows of NaN (failed) may not."""
    return np.isfinite(worth(figures, metric)) & (figures[:, _TRADES] >= min_trades)


def ranking(figures: Floats, numbers: NDArray[np.int64], metric: str, min_trades: int) -> NDArray[np.int64]:
    """Return the rows that did not fail, best first: those that may be the best, then those with too few trades, then
    those without the metric; of equals the lower number.
    """
    better = worth(figures, metric)
    tier = np.where(candidates(figures, metric, min_trades), 0, np.where(np.isnan(better), 2, 1))
    order = np.lexsort((numbers, -np.nan_to_num(better, nan=0.0), tier))
    ranked: NDArray[np.int64] = order[~np.isnan(figures[order, _TRADES])]
    return ranked
