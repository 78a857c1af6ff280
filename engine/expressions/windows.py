"""Compiled loops over conditions: apart so that the rest of the language needs no compiler."""

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

Masks = NDArray[np.bool_]


@compiled
def on_any(mask: Masks, length: int) -> Masks:
    """Return where the mask is true on one of the last `length` bars at least; before the first bar there is none."""
    found = np.zeros(mask.size, np.bool_)
    until = 0
    for i in range(mask.size):
        if mask[i]:
            until = i + length
        found[i] = i < until
    return found


@compiled
def on_all(mask: Masks, length: int) -> Masks:
    """Return where the mask is true on each of the last `length` bars, of which there must be so many."""
    found = np.zeros(mask.size, np.bool_)
    count = 0
    for i in range(mask.size):
        count = count + 1 if mask[i] else 0
        found[i] = count >= length
    return found


@compiled
def bars_since(mask: Masks) -> Floats:
    """Return how many bars ago the mask was last true, 0 where it is; NaN before the first time."""
    bars = np.full(mask.size, np.nan)
    last = -1
    for i in range(mask.size):
        if mask[i]:
            last = i
        if last >= 0:
            bars[i] = i - last
    return bars
