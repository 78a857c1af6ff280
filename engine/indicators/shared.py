"""What combinations of a search share, or have read already: sums of the same closes, and the actions made of codes.

Off unless a search turns it on for its thread (`sharing_columns`); a run neither keeps nor looks anything up. Nothing
of it changes a value: crossings that shared sums cannot tell for sure are found as without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

TOLERANCE_OF_CLOSE: Final = 1e-9
_KEPT: Final = 4
"""Columns whose sums are kept: of a run's closes, and of some contexts'."""
_MOST_BYTES: Final = 32 << 20
"""Of averages that are kept, more where two take more."""
_UNIT: Final = 2.0**-53
_HALF_UNIT: Final = 2.0**-24


class NotedActions(NamedTuple):
    """The column that `actions` returned last; the rows that hold one, ascending, and 1 or -1 for each."""

    column: pl.Series
    rows: NDArray[np.int64]
    signs: NDArray[np.int64]
    above: str
    below: str


@dataclass(frozen=True, slots=True)
class _Sums:
    """values: whose sums they are; held, so that no other column comes to lie where it lies. sums: of the first i of
    values - values[0]. largest: of the sums, of the values and of values - values[0], by size. averages: by length,
    the one used last at the end, of values - values[0] in half the precision.
    """

    values: Floats
    sums: Floats
    largest_sum: float
    largest_value: float
    largest_rise: float
    averages: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def average(self, length: int) -> NDArray[np.float32]:
        found = self.averages.pop(length, None)
        if found is None:
            found = _averages_of(self.sums, length)
            while len(self.averages) >= max(1, _MOST_BYTES // max(1, found.nbytes)):
                del self.averages[next(iter(self.averages))]
        self.averages[length] = found
        return found


class SharedColumns:
    """Of one thread."""

    def __init__(self) -> None:
        self.actions: NotedActions | None = None
        """Reading them out of the column again would take longer than making it."""
        self._nulls: pl.Series | None = None
        self._sums: dict[int, _Sums] = {}

    def nulls(self, count: int, null: pl.Series) -> pl.Series:
        """Return a column of so many, to be filled. null: one of them."""
        if self._nulls is None or self._nulls.len() != count:
            self._nulls = null.new_from_index(0, count)
        return self._nulls.clone()

    def sma_crosses(self, closes: Floats, fast: int, slow: int) -> tuple[NDArray[np.int8], bool]:
        """Return the codes of `sma_crosses`, and whether they are sure. closes: such as never change."""
        found = self._sums_of(closes)
        if not np.isfinite(found.largest_sum):
            return np.empty(0, np.int8), False
        skipped = found.values.size - closes.size
        codes, sure = _crosses_of_sums(
            closes,
            found.sums[skipped:],
            found.average(fast)[skipped + slow - fast :],
            found.average(slow)[skipped:],
            found.largest_sum,
            found.largest_value,
            found.largest_rise,
            fast,
            slow,
        )
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
def where_not_zero(codes: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows whose code is not 0, and 1 or -1 for each."""
    # Eight codes at a time, of which most have nothing.
    words = codes[: codes.size // 8 * 8].view(np.int64)
    count = codes.size - 8 * words.size
    for word in words:
        count += 8 * (word != 0)
    rows, signs = np.empty(count, np.int64), np.empty(count, np.int64)
    at = 0
    for i in range(words.size):
        if words[i] != 0:
            for row in range(8 * i, 8 * i + 8):
                if codes[row] != 0:
                    rows[at], signs[at] = row, 1 if codes[row] > 0 else -1
                    at += 1
    for row in range(8 * words.size, codes.size):
        if codes[row] != 0:
            rows[at], signs[at] = row, 1 if codes[row] > 0 else -1
            at += 1
    return rows[:at].copy(), signs[:at].copy()


@compiled
def _running_sums(values: Floats) -> tuple[Floats, float, float, float]:
    """Return sums[i] of the first i of values - values[0], each as if exact and rounded once, and the largest sizes of
    sums, values and values - values[0]: infinite where a value is no price.
    """
    sums = np.zeros(values.size + 1)
    total, errors, largest_sum, largest_value, largest_rise = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(values.size):
        value = values[i] - values[0]
        larger = total + value
        virtual = larger - total
        errors += (total - (larger - virtual)) + (value - virtual)
        total = larger
        sums[i + 1] = total + errors
        largest_sum = max(largest_sum, abs(sums[i + 1]))
        largest_value = max(largest_value, abs(values[i]))
        largest_rise = max(largest_rise, abs(value))
        if not 0.0 < values[i] < np.inf:
            return sums, np.inf, np.inf, np.inf
    return sums, largest_sum, largest_value, largest_rise


@compiled
def _averages_of(sums: Floats, length: int) -> NDArray[np.float32]:
    """Return the averages of every `length` values in a row."""
    count, reach, share = np.uintp(max(sums.size - length, 0)), np.uintp(length), 1.0 / length
    averages = np.empty(count, np.float32)
    for i in range(count):
        averages[i] = np.float32((sums[i + reach] - sums[i]) * share)
    return averages


@compiled
def _crosses_of_sums(
    values: Floats,
    sums: Floats,
    fasts: NDArray[np.float32],
    slows: NDArray[np.float32],
    largest_sum: float,
    largest_value: float,
    largest_rise: float,
    fast: int,
    slow: int,
) -> tuple[NDArray[np.int8], bool]:
    """Return the codes, and whether exact sums would surely give the same: False, with codes that mean nothing, where a
    difference lies too near to the tolerance.

    A sum is off by half a unit of the largest, a difference of averages by that of four sums over their lengths, and by
    a few units of the values for the rest; the exact averages as rounded by two. `doubt` is over twice all of it.
    Averages in half the precision are off by half a unit of the largest rise each, their difference by as much again
    twice; `far` is over that above the largest tolerance and doubt, so that a difference beyond it is on its side.
    """
    codes = np.zeros(values.size, np.int8)
    of_fast, of_slow = 1.0 / fast, 1.0 / slow
    doubt = _UNIT * (8.0 * largest_sum * (of_fast + of_slow) + 64.0 * largest_value)
    far = np.float32((TOLERANCE_OF_CLOSE * largest_value + doubt + 8.0 * _HALF_UNIT * largest_rise) * 1.001)
    count = max(values.size - slow + 1, 0)
    # First on which side each bar is far, without a branch, which the processor does for several bars at a time.
    sides = np.empty((count + 7) // 8 * 8, np.int8)
    for i in range(np.uintp(count)):
        difference = fasts[i] - slows[i]
        sides[i] = np.int8(difference > far) - np.int8(difference < -far)
    sides[count:] = 0
    words = sides.view(np.int64)
    side, alike = 0, np.int64(0)
    for word in range(words.size):
        # Eight bars, mostly all on the side of those before.
        if side != 0 and words[word] == alike:
            continue
        for i in range(8 * word, min(8 * word + 8, count)):
            now = sides[i]
            if now == 0:
                # Of the same bar: the sums up to it, and up to so many bars before.
                top = sums[i + slow]
                exact = (top - sums[i + slow - fast]) * of_fast - (top - sums[i]) * of_slow
                tolerance = TOLERANCE_OF_CLOSE * abs(values[i + slow - 1])
                if not abs(abs(exact) - tolerance) > doubt:
                    return codes, False
                now = np.int8(1) if exact > tolerance else np.int8(-1) if exact < -tolerance else np.int8(side)
            if now != side:
                codes[i + slow - 1] = now if side != 0 else np.int8(0)
                side = int(now)
        alike = np.int64(0x0101010101010101) if side > 0 else np.int64(-1)
    return codes, True
