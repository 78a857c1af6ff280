"""Exact numbers:

floats come in as their shortest decimal, are rounded only where the rules round, and leave as the nearest float.
"""

from decimal import Decimal
from fractions import Fraction

PRICE_GRID = Fraction(1, 10**9)
MONEY_GRID = Fraction(1, 10**8)
TOUCH_TOLERANCE = Fraction(1, 10**9)


def exact(value: float) -> Fraction:
    """The number a person reads when the float is printed: 0.1 is one tenth. Raises ValueError for NaN and infinity."""
    decimal = Decimal(repr(float(value)))
    if not decimal.is_finite():
        raise ValueError(f"not a finite number: {value}")
    return Fraction(decimal)


def round_price(value: Fraction) -> Fraction:
    return round(value / PRICE_GRID) * PRICE_GRID


def round_money(value: Fraction) -> Fraction:
    return round(value / MONEY_GRID) * MONEY_GRID


def round_down(value: Fraction, step: Fraction) -> Fraction:
    return (value // step) * step
