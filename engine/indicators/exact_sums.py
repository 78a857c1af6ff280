"""Averages and deviations of windows from exact sums: no figure depends on what went through a sum before.

In one file: numba keeps compiled code by the time stamp of the file that holds a function, not of those that it calls.
"""

import numpy as np

from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

_LARGEST = 1e150
"""Whose square is a double; what is beyond is unknown to a deviation."""


@compiled
def exact_sma(values: Floats, length: int) -> Floats:
    """As sma, NaN where it is unknown."""
    averages = np.empty(values.size)
    total, errors, count = 0.0, 0.0, 0
    for i in range(values.size):
        averages[i] = np.nan
        if not abs(values[i]) < np.inf:
            total, errors, count = 0.0, 0.0, 0
            continue
        total, errors = _slide(total, errors, values[i], values[i - length] if count == length else 0.0)
        count = min(count + 1, length)
        if count == length:
            averages[i] = (total + errors) / length
    return averages


@compiled
def exact_stddev(values: Floats, length: int) -> Floats:
    """As stddev, NaN where it is unknown.

    sqrt(n * sum(x^2) - sum(x)^2) / n, both sums exact and their difference taken in twice a double's precision.
    A square is kept as a product and its rounding error, and each of the two has its own exact sum; how often the same
    value came is counted, so that equal ones give 0 and not a rounding.
    """
    deviations = np.full(values.size, np.nan)
    total, total_errors, squares, squares_errors, rest, rest_errors = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    count, equal = 0, 0
    for i in range(values.size):
        if not abs(values[i]) < _LARGEST:
            total, total_errors, squares, squares_errors, rest, rest_errors = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            count, equal = 0, 0
            continue
        leaving = values[i - length] if count == length else 0.0
        new, new_error = _product(values[i], values[i])
        old, old_error = _product(leaving, leaving)
        total, total_errors = _slide(total, total_errors, values[i], leaving)
        squares, squares_errors = _slide(squares, squares_errors, new, old)
        rest, rest_errors = _slide(rest, rest_errors, new_error, old_error)
        equal = equal + 1 if equal and values[i] == values[i - 1] else 1
        count = min(count + 1, length)
        if equal >= length:
            deviations[i] = 0.0
        elif count == length:
            # Sums as the nearest double and what is missing: the same for the same values, whatever came before.
            whole, missing = _slide(total, 0.0, total_errors, 0.0)
            square, square_missing = _slide(squares, 0.0, squares_errors, 0.0)
            mean_part, mean_error = _product(whole, whole)
            square_part, square_error = _product(square, float(length))
            square_error += (square_missing + (rest + rest_errors)) * length
            difference = (square_part - mean_part) + (square_error - (mean_error + 2.0 * whole * missing))
            deviations[i] = np.sqrt(max(difference, 0.0)) / length
    return deviations


@compiled
def _slide(total: float, errors: float, new: float, old: float) -> tuple[float, float]:
    """Add new - old to a sum kept exactly in two doubles, total + errors.

    Knuth's TwoSum gives the rounding error of each addition, and `errors` collects them exactly, since all are whole
    multiples of the smallest value's last bit and far fewer than 2^53 of those. So the sum is the true one however many
    values went through it, and adding the two rounds once (Ogita, Rump & Oishi, "Accurate Sum and Dot Product", 2005).
    Values whose sizes differ by more than about 2^30 within the data lose this.
    """
    change = new - old
    virtual = change - new
    change_error = (new - (change - virtual)) - (old + virtual)
    larger = total + change
    virtual = larger - total
    return larger, errors + (((total - (larger - virtual)) + (change - virtual)) + change_error)


@compiled
def _product(a: float, b: float) -> tuple[float, float]:
    """Return a * b rounded, and its rounding error, exactly (Dekker, "A Floating-Point Technique ...", 1971)."""
    a_high = 134217729.0 * a
    a_high = a_high - (a_high - a)
    b_high = 134217729.0 * b
    b_high = b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    rounded = a * b
    return rounded, ((a_high * b_high - rounded) + a_high * b_low + a_low * b_high) + a_low * b_low
