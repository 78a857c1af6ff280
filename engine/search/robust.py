"""The combination that is good together with its neighbours: a lone peak is luck more often than a plateau."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.search.combinations import Combinations


@dataclass(frozen=True, slots=True)
class Robust:
    """A combination's number; the median of how good it and its neighbours are, -inf where most may not be the best;
    and how many neighbours it has.
    """

    number: int
    median: float
    neighbours: int


def most_robust(combinations: Combinations, better: Floats, may_be_best: NDArray[np.bool_]) -> Robust | None:
    """Return the combination whose median over itself and its neighbours is best; of equals the one of the lowest
    number, None without any.

    better: how good each is, higher being better (figures.worth). Neighbours are one place on in one name's values. One
    that was left out does not exist; one that may not be the best counts as the worst, and is no candidate. The median
    of an even number is the mean of the middle two.
    """
    space = combinations.space
    size, count = space.size or 0, len(combinations)
    places = np.arange(count) if combinations.places is None else combinations.places
    # By place in the space: NaN does not exist.
    levels = np.full(size, np.nan)
    levels[places] = np.where(may_be_best, better, -np.inf)
    grid = levels.reshape(space.shape)
    around = [grid]
    for axis in range(grid.ndim):
        for step in (1, -1):
            moved = np.full(grid.shape, np.nan)
            to = [slice(None)] * grid.ndim
            of = [slice(None)] * grid.ndim
            to[axis], of[axis] = (slice(1, None), slice(None, -1)) if step == 1 else (slice(None, -1), slice(1, None))
            moved[tuple(to)] = grid[tuple(of)]
            around.append(moved)
    rows = np.stack([each.ravel()[places] for each in around], axis=1)
    medians = _medians(rows)
    candidates = np.flatnonzero(may_be_best)
    if not candidates.size:
        return None
    best = int(candidates[np.argmax(medians[candidates])])
    return Robust(best, float(medians[best]), int((~np.isnan(rows[best])).sum()) - 1)


def _medians(rows: Floats) -> Floats:
    """Return each row's median, NaN left out. Of two worst ones and of a worst and a number it is the worst."""
    ordered = np.sort(rows, axis=1)  # NaN last
    known = (~np.isnan(rows)).sum(axis=1)
    at = np.arange(rows.shape[0])
    low, high = ordered[at, (known - 1) // 2], ordered[at, known // 2]
    with np.errstate(invalid="ignore"):
        medians: Floats = np.where(np.isinf(low), low, (low + high) / 2.0)
    return medians
