"""What a run may ask for, at each limit, and the roundings outside the compiled loop."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import InvalidSpecification
from engine.kernel.money import round8, round9
from engine.money import LARGEST_STEPS, check_specification, lot_steps, round_money, round_price, volume_problem
from engine.specification import Specification
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, specification_of


def asking(**changes: Any) -> Specification:
    return replace(specification_of(closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1])), **changes)


@pytest.mark.parametrize("changes", [
    {"initial_balance": 0.01}, {"spread_pips": 0.0}, {"commission_per_lot": 0.0}, {"tp_partial_close_ratio": 0.0},
    {"tp_partial_close_ratio": 1.0}, {"risk_pct": 1.0}, {"risk_pct": 0.01, "volume": None}, {"volume": 0.01},
    {"stop_loss_pips": 0.1}, {"take_profit_pips": 0.1}, {"skip_hours": (0, 23)}, {"skip_weekdays": (0, 6)},
    {"skip_timezone": "Asia/Tokyo"},
])  # fmt: skip
def test_a_field_at_its_limit_is_taken(changes: dict[str, Any]) -> None:
    check_specification(asking(**changes), EURUSD)


@pytest.mark.parametrize(("field", "value"), [
    ("initial_balance", -0.01), ("initial_balance", float("nan")), ("initial_balance", float("inf")),
    ("spread_pips", -0.01), ("commission_per_lot", -0.01), ("tp_partial_close_ratio", -0.01), ("risk_pct", 1.01),
    ("stop_loss_pips", float("inf")), ("take_profit_pips", 0.0), ("skip_hours", (-1,)), ("skip_hours", (3, 24)),
    ("skip_weekdays", (-1,)), ("skip_weekdays", (0, 7)), ("skip_timezone", "../zone"), ("skip_timezone", ""),
])  # fmt: skip
def test_a_field_beyond_its_limit_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidSpecification, match=f"^{field}: "):
        check_specification(asking(**{field: value}), EURUSD)


def test_both_ends_of_the_range_need_an_offset_and_the_start_lies_before_the_end() -> None:
    whole = asking()
    wrong: list[dict[str, Any]] = [
        {"start": whole.start.replace(tzinfo=None)},
        {"end": whole.end.replace(tzinfo=None)},
        {"start": whole.end},
        {"start": whole.end, "end": whole.start},
    ]
    for changes in wrong:
        with pytest.raises(InvalidSpecification, match=r"^start: "):
            check_specification(replace(whole, **changes), EURUSD)


def test_a_volume_off_the_step_is_refused_beside_a_risk_too() -> None:
    with pytest.raises(InvalidSpecification, match=r"^volume: volume 0.015 is not in whole lot steps of 0.01$"):
        check_specification(asking(risk_pct=0.01, volume=0.015), EURUSD)


@pytest.mark.parametrize(("volume", "says"), [
    (1.0, None), (1.0 + 9e-12, None), (1.0 + 1.1e-11, "whole lot steps"), (1000.0 * (1.0 + 9e-13), None),
    (1000.0 * (1.0 + 3e-12), "whole lot steps"), (1e-12, "whole lot steps"), (0.0, "not above 0"),
    (float("inf"), "not above 0"), (float("nan"), "not above 0"), (LARGEST_STEPS * 0.02, "too large"),
])  # fmt: skip
def test_a_volume_may_miss_a_whole_step_by_float_noise_only(volume: float, says: str | None) -> None:
    problem = volume_problem(volume, 0.01)
    assert problem is None if says is None else says in (problem or "")


def test_a_volume_of_the_most_steps_that_a_float_can_count_is_taken() -> None:
    assert volume_problem(float(LARGEST_STEPS), 1.0) is None
    assert "too large" in (volume_problem(float(LARGEST_STEPS + 2), 1.0) or "")
    assert lot_steps(0.58, 0.01) == 58


@pytest.mark.parametrize(
    "amount", [0.123456784, 0.123456786, -2.5e-9, -7.000000004, 89_999_999.123456789, 212165281.7583847]
)
def test_money_and_prices_are_rounded_as_in_the_compiled_loop(amount: float) -> None:
    assert round_money(amount) == round8(amount)
    assert str(round_money(amount)) == str(float(round8(amount)))
    assert round_price(np.array([amount, amount / 13]))[1] == round9(amount / 13)


def test_money_is_rounded_to_eight_decimals_and_prices_to_nine() -> None:
    assert (round_money(0.123456786), round_money(0.123456784), str(round_money(-1e-9))) == (
        0.12345679,
        0.12345678,
        "0.0",
    )
    assert round_price(np.array([1.1234567894, 1.1234567896, 9.1e6 + 1e-9])).tolist() == [
        1.123456789,
        1.12345679,
        9.1e6 + 1e-9,
    ]
