"""A row of `strategies` as it is given."""

from typing import Any

import pytest

from schemas.problems import InvalidRequestError
from schemas.strategy_row import parse_strategy_row


def test_what_is_left_out_has_the_tables_defaults() -> None:
    row = parse_strategy_row({"name": "mine"})
    assert (row.execution_mode, row.primary_tf, row.on_opposite, row.stop_to_entry, row.is_active) == (
        "rule_only", "M15", "reverse", True, True,
    )  # fmt: skip
    assert (row.strategy_params, row.context_tfs, row.symbols, row.lot_size, row.skip_hours) == ({}, [], [], None, None)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"name": ""}, "name", "must not be empty"),
        ({"name": "x" * 256}, "name", "must have at most 255 characters"),
        ({"name": "a\0b"}, "name", "must not contain NUL"),
        ({"execution_mode": "by_hand"}, "execution_mode", "must be rule_only, llm_only"),
        ({"strategy_params": [1]}, "strategy_params", "must be an object"),
        ({"strategy_params": {"fast": float("nan")}}, "strategy_params.fast", "finite"),
        ({"symbols": ["EUR USD"]}, "symbols.0", "must be 1 to 20 letters"),
        ({"lot_size": 0}, "lot_size", "must be greater than 0"),
        ({"risk_pct": 1.5}, "risk_pct", "must be at most 1"),
        ({"sl_pips": -3}, "sl_pips", "must be greater than 0"),
        ({"on_opposite": "hedge"}, "on_opposite", "must be reverse, close or ignore"),
        ({"skip_hours": [24]}, "skip_hours.0", "must be at most 23"),
        ({"skip_weekdays": [7]}, "skip_weekdays.0", "must be at most 6"),
        ({"is_active": "yes"}, "is_active", "must be true or false"),
        ({"leverage": 30}, "leverage", "is not a known column"),
        ({"id": 3}, "id", "is not a known column"),
    ],
)
def test_what_is_wrong_is_named_by_its_column(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_strategy_row({"name": "mine", **changes})
    [problem] = caught.value.problems
    assert problem.field == field
    assert message in problem.message


def test_every_column_at_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_strategy_row({"lot_size": -1, "leverage": 30, "strategy_params": 3})
    assert {problem.field for problem in caught.value.problems} == {"name", "lot_size", "leverage", "strategy_params"}
