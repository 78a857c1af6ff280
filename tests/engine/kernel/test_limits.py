"""The compiled loop at the very edge of its tolerances, where only numbers chosen for it can tell < from <=."""

import pytest

from engine.kernel import levels as kernel_levels
from engine.kernel import money as kernel_money

PRICE = 1e9
"""A billionth of it is 1, exactly."""


@pytest.mark.parametrize(("direction", "target", "reached"), [
    (1, PRICE + 1.0, True), (1, PRICE + 2.0, False), (-1, PRICE - 2.0, False), (-1, PRICE - 1.0, True),
])  # fmt: skip
def test_a_target_a_billionth_of_the_price_away_is_reached(direction: int, target: float, reached: bool) -> None:
    assert kernel_levels.target_reached(direction, PRICE, target) == reached


@pytest.mark.parametrize(("direction", "stop", "reached"), [
    (1, PRICE - 1.0, True), (1, PRICE - 2.0, False), (-1, PRICE + 1.0, True), (-1, PRICE + 2.0, False),
])  # fmt: skip
def test_a_stop_a_billionth_of_the_price_away_is_reached(direction: int, stop: float, reached: bool) -> None:
    assert kernel_levels.stop_reached(direction, PRICE, stop) == reached


@pytest.mark.parametrize("large", [212165281.7583847, 381248138.20322925, -202338697.55897862])
def test_money_too_large_for_eight_decimals_stays_as_it_is(large: float) -> None:
    assert kernel_money.round8(large) == large
