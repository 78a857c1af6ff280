"""Roundings outside the compiled loop, the same to the bit as those inside (engine.kernel.money)."""

import numpy as np

from engine.numeric.arrays import Floats


def round_price(prices: Floats) -> Floats:
    """Round to 1e-9, half to even, as kernel.money.round9 does."""
    return np.where(np.abs(prices) < 9e6, np.rint(prices * 1e9) / 1e9, prices)


def round_money(amounts: Floats) -> Floats:
    """Round to 1e-8, half to even, never -0.0, as kernel.money.round8 does."""
    return np.where(np.abs(amounts) < 9e7, np.rint(amounts * 1e8) / 1e8 + 0.0, amounts)
