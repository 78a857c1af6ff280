"""What combinations of a search share, or have read already: sums of the same closes, and the actions made of codes.

Off unless a search turns it on for its thread (`sharing_columns`); a run neither keeps nor looks anything up. Nothing
of it changes a value: crossings that shared sums cannot tell for sure are found as without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

TOLERANCE_OF_CLOSE: Final = 1e-9
_KEPT: Final = 4
"""Columns whose sums are kept: of a run's closes, and of some contexts'."""
_UNIT: Final = 2.0**-53
_TOGETHER: Final = 64
"""Bars looked at as one, where nothing crosses."""


class NotedActions(NamedTuple):
    """The column that `actions` returned last; the rows that hold one, ascending, and 1 or -1 for each."""

    column: pl.Series
    rows: NDArray[np.int64]
    signs: NDArray[np.int64]
    above: str
    below: str


class _Sums(NamedTuple):
    """values: whose sums they are; held, so that no other column comes to lie where it lies. sums: of the first i of
    values - values[0]. largest: of the sums and of the values, by size.
    """

    values: Floats
    sums: Floats
    largest_sum: float
    largest_value: float


class SharedColumns:
    """Of one thread."""

    def __init__(self) -> None:
        self.actions: NotedActions | None = None
        self._sums: dict[int, _Sums] = {}

    def note_actions(self, column: pl.Series, codes: NDArray[np.int8], above: str, below: str) -> None:
        """Reading them out of the column again would take longer than making it."""
        self.actions = NotedActions(column, *_where_not_zero(codes), above, below)

    def sma_crosses(self, closes: Floats, fast: int, slow: int) -> tuple[NDArray[np.int8], bool]:
        """Return the codes of `sma_crosses`, and whether they are sure. closes: such as never change."""
        found = self._sums_of(closes)
        if not np.isfinite(found.largest_sum):
            return np.empty(0, np.int8), False
        skipped = found.values.size - closes.size
        largest = (found.largest_sum, found.largest_value)
        codes, sure = _crosses_of_sums(closes, found.sums[skipped:], *largest, fast, slow)
        return codes, bool(sure)

    def _sums_of(self, closes: Floats) -> _Sums:
        """Those of these values, or of more before them: combinations differ in how much of a warm-up they see."""
        end = closes.__array_interface__["data"][0] + closes.nbytes
        found = self._sums.get(end)
        if found is None or found.values.size < closes.size:
            while len(self._sums) >= _KEPT:
                del self._sums[next(iter(self._sums))]
            found = self._sums[end] = _Sums(closes, *_running_sums(closes))
        return found


def never_changes(values: Floats) -> bool:
    """Whether the values lie in memory of a polars column: numpy may not write there, and polars writes elsewhere while
    somebody holds them. An array of numpy's own may be filled anew, also one that is shown read-only.
    """
    owner = values
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner.base is not None and not owner.flags.writeable


shared_columns: ContextVar[SharedColumns | None] = ContextVar("shared_columns", default=None)


@contextmanager
def sharing_columns(shared: SharedColumns) -> Iterator[None]:
    """Share columns in this thread until the block ends."""
    token = shared_columns.set(shared)
    try:
        yield
    finally:
        shared_columns.reset(token)


@compiled
def _where_not_zero(codes: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows whose code is not 0, and 1 or -1 for each."""
    size, block = np.uintp(codes.size), np.uintp(64)
    count = np.uintp(0)
    for i in range(size):
        count += np.uintp(codes[i] != 0)
    rows, signs = np.empty(count, np.int64), np.empty(count, np.int64)
    at = np.uintp(0)
    for start in range(np.uintp(0), size, block):
        end = min(start + block, size)
        something = False
        for i in range(start, end):
            something |= codes[i] != 0
        if not something:
            continue
        for i in range(start, end):
            if codes[i] != 0:
                rows[at], signs[at] = i, 1 if codes[i] > 0 else -1
                at += np.uintp(1)
    return rows, signs


@compiled
def _running_sums(values: Floats) -> tuple[Floats, float, float]:
    """Return sums[i] of the first i of values - values[0], each as if exact and rounded once, and the largest sizes of
    sums and values: infinite where a value is no price.
    """
    sums = np.zeros(values.size + 1)
    total, errors, largest_sum, largest_value = 0.0, 0.0, 0.0, 0.0
    for i in range(values.size):
        value = values[i] - values[0]
        larger = total + value
        virtual = larger - total
        errors += (total - (larger - virtual)) + (value - virtual)
        total = larger
        sums[i + 1] = total + errors
        largest_sum = max(largest_sum, abs(sums[i + 1]))
        largest_value = max(largest_value, abs(values[i]))
        if not 0.0 < values[i] < np.inf:
            return sums, np.inf, np.inf
    return sums, largest_sum, largest_value


@compiled
def _crosses_of_sums(
    values: Floats, sums: Floats, largest_sum: float, largest_value: float, fast: int, slow: int
) -> tuple[NDArray[np.int8], bool]:
    """Return the codes, and whether exact sums would surely give the same: False, with codes that mean nothing, where a
    difference lies too near to the tolerance.

    A sum is off by half a unit of the largest, a difference of averages by that of four sums over their lengths, and by
    a few units of the values for the rest; the exact averages as rounded by two. `doubt` is over twice all of it.
    """
    codes = np.zeros(values.size, np.int8)
    of_fast, of_slow = 1.0 / fast, 1.0 / slow
    doubt = _UNIT * (8.0 * largest_sum * (of_fast + of_slow) + 64.0 * largest_value)
    # Of the same bar: the sums up to it, and up to so many bars before.
    tops, fasts, slows = sums[slow:], sums[slow - fast :], sums
    closes = values[slow - 1 :]
    count, together = np.uintp(max(values.size - slow + 1, 0)), np.uintp(_TOGETHER)
    # First on which side each bar surely is, without a branch, which the processor does for several bars at a time.
    sides = np.empty(count, np.int8)
    for i in range(count):
        difference = (tops[i] - fasts[i]) * of_fast - (tops[i] - slows[i]) * of_slow
        bound = TOLERANCE_OF_CLOSE * abs(closes[i]) + doubt
        sides[i] = np.int8(difference > bound) - np.int8(difference < -bound)
    side = np.int8(0)
    for start in range(np.uintp(0), count, together):
        end = min(start + together, count)
        changes = False
        for i in range(start, end):
            changes |= sides[i] != side
        if not changes:
            continue
        for i in range(start, end):
            now = sides[i]
            if now == side:
                continue
            if now == 0:
                difference = (tops[i] - fasts[i]) * of_fast - (tops[i] - slows[i]) * of_slow
                tolerance = TOLERANCE_OF_CLOSE * abs(closes[i])
                if not abs(abs(difference) - tolerance) > doubt:
                    return codes, False
                now = np.int8(1) if difference > tolerance else np.int8(-1) if difference < -tolerance else side
            if now != side:
                codes[i + np.uintp(slow - 1)] = now if side != 0 else np.int8(0)
                side = now
    return codes, True
