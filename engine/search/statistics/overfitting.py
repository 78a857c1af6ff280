"""Probability of backtest overfitting: how often the best on one half of the days is below the middle on the other.

Source: Bailey, Borwein, Lopez de Prado & Zhu, "The Probability of Backtest Overfitting", Journal of Computational
Finance 20(4), 2017 (combinatorially symmetric cross-validation).
"""

from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled

BLOCKS: Final = 16
FEWEST_DAYS: Final = 64
_HALF: Final = BLOCKS // 2
_NO_DISPERSION: Final = 1e-12
"""Of the sum of squares: what the sum of squared differences from the mean is off by at most in rounding."""


class Overfitting(NamedTuple):
    """probability: share of choices in which the best in sample ranks in the lower half out of sample. loss_share: in
    which it loses there. slope: of its performance out of sample on that in sample; None where the latter never
    differs.
    """

    probability: float
    loss_share: float
    slope: float | None


def overfitting(returns: Floats) -> Overfitting | None:
    """Judge the selection of the best of n series by all 12 870 ways to choose 8 of 16 contiguous blocks of days.

    returns: shape (n, T), in order of number. Series equal, day for day, to an earlier one are left out, then the
    oldest days until T divides by 16. A choice is in sample, the rest out of sample; performance is mean / std(ddof=1),
    0 without dispersion. The best in sample (of equals the first) has a rank among n out of sample, 1 the worst, equals
    their mean rank; w = rank / (n + 1), and it is overfitted where ln(w / (1 - w)) <= 0. None for T < 64 or n < 2.
    """
    if returns.shape[1] < FEWEST_DAYS:
        return None
    series = _distinct(returns)
    if series.shape[0] < 2:
        return None
    of_block = series.shape[1] // BLOCKS
    blocks = series[:, series.shape[1] - BLOCKS * of_block :].reshape(-1, BLOCKS, of_block)
    sums, squares = blocks.sum(axis=2), (blocks**2).sum(axis=2)
    inside, outside, overfitted = _judge(
        read_only(_by_mask(sums)), read_only(_by_mask(squares)), _masks(), float(_HALF * of_block)
    )
    spread = inside - inside.mean()
    scale = float(spread @ spread)
    return Overfitting(
        probability=float(overfitted.mean()),
        loss_share=float((outside < 0.0).mean()),
        slope=float(spread @ (outside - outside.mean())) / scale if scale > 0.0 else None,
    )


def _distinct(returns: Floats) -> Floats:
    """Return the rows without those that are equal to an earlier one. A -0.0 is 0."""
    rows = np.ascontiguousarray(returns) + 0.0
    first: dict[bytes, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row.tobytes(), number)
    return rows if len(first) == rows.shape[0] else rows[list(first.values())]


def _by_mask(of_block: Floats) -> Floats:
    """Return sums over every subset of the first eight blocks, then of the last eight: shape (2, 256, n).

    The sum over any choice of blocks is then one addition; and the same for equal series, which matters to their rank.
    """
    sums = np.zeros((2, 1 << _HALF, of_block.shape[0]))
    for half in range(2):
        for block in range(_HALF):
            bit = 1 << block
            sums[half, bit : 2 * bit] = sums[half, :bit] + of_block[:, half * _HALF + block]
    return sums


def _masks() -> NDArray[np.int64]:
    """Return half of the choices as bits of blocks; the other half are what these leave."""
    chosen = [sum(1 << block for block in blocks) for blocks in combinations(range(BLOCKS), _HALF) if blocks[0] == 0]
    return np.array(chosen, np.int64)


@compiled
def _judge(
    sums: Floats, squares: Floats, masks: NDArray[np.int64], days: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return for every choice the best's performance in and out of sample, and whether it is overfitted.

    Series are compared by total * |total| / variance, which rises with the performance and needs no root.
    """
    count = sums.shape[2]
    inside, outside = np.empty(2 * masks.size), np.empty(2 * masks.size)
    overfitted = np.empty(2 * masks.size, np.bool_)
    keys = np.empty((2, count))
    for pair in range(masks.size):
        for side in range(2):
            mask = masks[pair] if side == 0 else 0xFFFF ^ masks[pair]
            low, high = mask & 0xFF, mask >> 8
            for i in range(count):
                total = sums[0, low, i] + sums[1, high, i]
                square = squares[0, low, i] + squares[1, high, i]
                variance = square - total * total / days
                keys[side, i] = total * abs(total) / variance if variance > _NO_DISPERSION * square else 0.0
        for side in range(2):
            best = 0
            for i in range(count):
                if keys[side, i] > keys[side, best]:
                    best = i
            below, equal = 0, 0
            level = keys[1 - side, best]
            for i in range(count):
                below += keys[1 - side, i] < level
                equal += keys[1 - side, i] == level
            at = 2 * pair + side
            # rank = below + (equal + 1) / 2; w <= 1/2 where twice the rank is at most n + 1.
            overfitted[at] = 2 * below + equal <= count
            inside[at] = _performance(keys[side, best], days)
            outside[at] = _performance(level, days)
    return inside, outside, overfitted


@compiled
def _performance(key: float, days: float) -> float:
    """Return mean / std(ddof=1) from total * |total| / (sum of squared differences)."""
    size: float = np.sqrt(abs(key) * (days - 1.0)) / days
    return size if key >= 0.0 else -size
