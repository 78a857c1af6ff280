"""Exact numbers:

floats come in as their shortest decimal, are rounded only where the rules round, and leave as the nearest float.
"""

from decimal import Decimal
from fractions import Fraction

MONEY_GRID = Fraction(1, 10**8)
TOUCH_TOLERANCE = Fraction(1, 10**9)


def exact(value: float) -> Fraction:
    """The number a person reads when the float is printed: 0.1 is one tenth. Raises ValueError for NaN and infinity."""
    decimal = Decimal(repr(float(value)))
    if not decimal.is_finite():
        raise ValueError(f"not a finite number: {value}")
    return Fraction(decimal)


def price_grid(digits: int) -> Fraction:
    """What sums of prices are rounded to."""
    return Fraction(1, 10 ** (digits + 1)) if digits >= 9 else Fraction(1, 10**9)


def reaches(price: Fraction, level: Fraction, *, downwards: bool) -> bool:
    """At the level, within 1e-9 of the price, or past it in that direction."""
    tolerance = price * TOUCH_TOLERANCE
    return price <= level + tolerance if downwards else price >= level - tolerance


def round_price(value: Fraction, grid: Fraction) -> Fraction:
    return round(value / grid) * grid


def round_money(value: Fraction) -> Fraction:
    return round(value / MONEY_GRID) * MONEY_GRID


def round_down(value: Fraction, step: Fraction) -> Fraction:
    return (value // step) * step
