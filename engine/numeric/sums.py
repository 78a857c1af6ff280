"""Sums that rounding does not touch, so that neither the order of trades nor their number decides a digit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import read_only
from engine.numeric.compiled import compiled_short

_PART = 1 << 14
"""Values added without a look at what other threads want."""


def exact_sum(values: NDArray[np.float64]) -> float:
    """Return the sum as if computed in twice the precision and rounded once; 0 for none.

    Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
    """
    total, errors = 0.0, 0.0
    for begin in range(0, values.size, _PART):
        total, errors = _add_all(total, errors, read_only(values[begin : begin + _PART]))
    return total + errors


def booked_sum(values: NDArray[np.float64]) -> float:
    """Return the sum of booked amounts: exact to their 1e-8."""
    return round(exact_sum(values), 8)


class BySign(NamedTuple):
    """How many values are above and below 0, the exact sums of all and of each, and their longest runs in order."""

    total: float
    above: int
    below: int
    sum_above: float
    sum_below: float
    longest_above: int
    longest_below: int


def sums_by_sign(values: NDArray[np.float64]) -> BySign:
    """Return counts, sums (as exact_sum) and runs of the values above and below 0, in one pass; a 0 ends both runs."""
    return BySign(*tally_by_sign(read_only(values)))


@compiled_short
def _add_all(total: float, errors: float, values: NDArray[np.float64]) -> tuple[float, float]:
    for i in range(values.size):
        total, errors = add_exactly(total, errors, values[i])
    return total, errors


@compiled_short
def tally_by_sign(values: NDArray[np.float64]) -> tuple[float, int, int, float, float, int, int]:
    """Return what `sums_by_sign` names; for other compiled code."""
    above, below, longest_above, longest_below, run_above, run_below = 0, 0, 0, 0, 0, 0
    total, errors, sum_above, errors_above, sum_below, errors_below = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(values.size):
        value = values[i]
        total, errors = add_exactly(total, errors, value)
        if value > 0.0:
            above, run_above, run_below = above + 1, run_above + 1, 0
            longest_above = max(longest_above, run_above)
            sum_above, errors_above = add_exactly(sum_above, errors_above, value)
        elif value < 0.0:
            below, run_below, run_above = below + 1, run_below + 1, 0
            longest_below = max(longest_below, run_below)
            sum_below, errors_below = add_exactly(sum_below, errors_below, value)
        else:
            run_above, run_below = 0, 0
    sums = sum_above + errors_above, sum_below + errors_below
    return total + errors, above, below, *sums, longest_above, longest_below


@compiled_short
def add_exactly(total: float, errors: float, value: float) -> tuple[float, float]:
    """Add to a sum kept in two doubles, total + errors: what rounding takes from the one goes to the other."""
    larger = total + value
    virtual = larger - total
    return larger, errors + ((total - (larger - virtual)) + (value - virtual))
