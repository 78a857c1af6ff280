"""Roundings outside the compiled loop, the same to the bit as those inside (engine.kernel.money)."""

import numpy as np

from engine.numeric.arrays import Floats


def round_price(prices: Floats, scale: float) -> Floats:
    """Round to 1 / scale, half to even, as kernel.money.round_sum does. scale: the instrument's price_scale."""
    scaled = prices * scale
    return np.where(np.abs(scaled) < 9e15, np.rint(scaled) / scale, prices)


def round_money(amounts: Floats) -> Floats:
    """Round to 1e-8, half to even, never -0.0, as kernel.money.round8 does."""
    return np.where(np.abs(amounts) < 9e7, np.rint(amounts * 1e8) / 1e8 + 0.0, amounts)
