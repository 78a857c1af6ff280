"""What a run may ask for, at each limit."""

from dataclasses import replace
from typing import Any

import pytest

from engine.errors import InvalidSpecification
from engine.specification import Specification, check_specification
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
    ("initial_balance", 1e-320), ("initial_balance", 5e-324), ("initial_balance", 0.009), ("initial_balance", 1.1e15),
    ("spread_pips", 1e308), ("commission_per_lot", 1e10), ("stop_loss_pips", 1e308), ("take_profit_pips", 2e9),
    ("spread_pips", -0.01), ("commission_per_lot", -0.01), ("tp_partial_close_ratio", -0.01), ("risk_pct", 1.01),
    ("stop_loss_pips", float("inf")), ("take_profit_pips", 0.0), ("skip_hours", (-1,)), ("skip_hours", (3, 24)),
    ("skip_weekdays", (-1,)), ("skip_weekdays", (0, 7)), ("skip_timezone", "../zone"), ("skip_timezone", ""),
])  # fmt: skip
def test_a_field_beyond_its_limit_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidSpecification, match=f"^{field}: "):
        check_specification(asking(**{field: value}), EURUSD)


def test_a_deposit_next_to_nothing_is_refused_with_its_bounds() -> None:
    with pytest.raises(InvalidSpecification, match=r"^initial_balance: must be from 0.01 to 1e\+15, not 1e-320$"):
        check_specification(asking(initial_balance=1e-320), EURUSD)
    for field, at_the_end in (("initial_balance", 0.01), ("initial_balance", 1e15), ("spread_pips", 1e6)):
        check_specification(asking(**{field: at_the_end}), EURUSD)


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
