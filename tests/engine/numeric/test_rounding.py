"""The roundings outside the compiled loop are those inside."""

import numpy as np
import pytest

from engine.kernel.money import round8, round_sum
from engine.numeric.rounding import round_money, round_price


@pytest.mark.parametrize(
    "amount", [0.123456784, 0.123456786, -2.5e-9, -7.000000004, 89_999_999.123456789, 212165281.7583847]
)
def test_money_and_prices_are_rounded_as_in_the_compiled_loop(amount: float) -> None:
    money = round_money(np.array([amount])).tolist()
    assert money == [round8(amount)]
    assert str(money[0]) == str(float(round8(amount)))
    assert round_price(np.array([amount, amount / 13]), 1e9)[1] == round_sum(1e9, amount / 13)


def test_money_is_rounded_to_eight_decimals_and_prices_to_nine() -> None:
    assert str(round_money(np.array([0.123456786, 0.123456784, -1e-9])).tolist()) == "[0.12345679, 0.12345678, 0.0]"
    assert round_price(np.array([1.1234567894, 1.1234567896, 9.1e6 + 1e-9]), 1e9).tolist() == [
        1.123456789,
        1.12345679,
        9.1e6 + 1e-9,
    ]
