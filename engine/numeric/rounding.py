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


def round_money_near(amounts: Floats) -> Floats:
    """Round to 1e-8 what is a product of several floats, a tie but for their noise half to even: round8_near."""
    doubled = amounts * 2e8
    whole = np.rint(doubled)
    ties = (np.abs(doubled - whole) <= 4e-15 * np.abs(doubled)) & (np.abs(amounts) < 9e7)
    return np.where(ties, np.rint(whole / 2.0) / 1e8 + 0.0, round_money(amounts))


def in_whole_units(prices: Floats, scale: float) -> Floats:
    """Return prices in units of 1 / scale, whole but for float noise as whole: kernel.money.whole_units(prices, 0)."""
    units = prices * scale
    whole = np.rint(units)
    return np.where(np.abs(units - whole) <= 4.5e-16 * scale * prices, whole, units)
