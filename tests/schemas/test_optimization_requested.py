from typing import Any

import pytest

from schemas.identity import hash_of_content, hash_of_search_content, raw_content_hash, search_content_text
from schemas.optimization_cancel_requested import parse_optimization_cancel_requested
from schemas.optimization_requested import parse_optimization_requested, usable_search_part
from schemas.problems import InvalidRequestError

GRID = {"fast": [5, 10], "slow": {"from": 20, "to": 40, "step": 10}}


def search_data(**changes: Any) -> dict[str, Any]:
    return {
        "strategy_id": 1,
        "symbol": "EURUSD",
        "start_date": "2024-01-01T00:00:00Z",
        "end_date": "2024-02-01T00:00:00Z",
        "param_grid": GRID,
        **changes,
    }


def problems(data: dict[str, Any], duplicate_keys: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as raised:
        parse_optimization_requested(data, duplicate_keys)
    return {problem.field: problem.message for problem in raised.value.problems}


def test_a_request_without_options_is_valid_and_is_filled_with_the_tables_defaults() -> None:
    content = search_content_text(parse_optimization_requested(search_data()))
    assert '"method":"grid"' in content
    assert '"min_trades":30' in content
    assert "max_llm_calls" not in content


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"param_grid": None}, {"param_grid": "is required without optimization_id"}),
        ({"param_grid": [1]}, {"param_grid": "must be an object, is a list"}),
        ({"param_grid": {"a": [float("nan")]}}, {"param_grid.a.0": "must be a finite number, is NaN"}),
        ({"method": "anneal"}, {"method": "must be grid, random or tpe, is 'anneal'"}),
        ({"method": "random"}, {"samples": "is required with method random"}),
        ({"samples": 3}, {"samples": "must not be given with method grid, which takes all"}),
        ({"method": "tpe", "samples": 10_001}, {"samples": "must be at most 10000 with method tpe, is 10001"}),
        ({"seed": -1}, {"seed": "must be at least 0, is -1"}),
        ({"max_workers": 0}, {"max_workers": "must be at least 1, is 0"}),
        ({"strategy_params": {"fast": 1, "b": 2}}, {"strategy_params.fast": "must not stand in param_grid too"}),
        ({"stop_out_pct": 50.0}, {"stop_out_pct": "needs leverage, of whose margin it is"}),
        ({"walk_forward": {"train_days": 0}}, {"walk_forward.train_days": "must be at least 1, is 0"}),
        ({"run_id": 1, "warm_up_bars": 3}, {"run_id": "is not a known field", "warm_up_bars": "is not a known field"}),
        (
            {"end_date": "2023-01-01T00:00:00Z"},
            {"start_date": "must be before end_date", "end_date": "must be after start_date"},
        ),
    ],
)
def test_every_field_at_fault_is_named(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert problems(search_data(**changes)) == expected


def test_with_a_row_nothing_else_is_required() -> None:
    assert parse_optimization_requested({"optimization_id": 4, "method": "random"}).optimization_id == 4


def test_all_that_is_right_is_kept_of_data_that_break_the_schema() -> None:
    data = search_data(seed=-1, unknown=3)
    with pytest.raises(InvalidRequestError) as raised:
        parse_optimization_requested(data)
    part = usable_search_part(data, raised.value.problems)
    assert (part.symbol, part.seed, part.param_grid) == ("EURUSD", None, GRID)


def test_a_run_and_a_search_never_have_the_same_content() -> None:
    assert hash_of_content("{}") != hash_of_search_content("{}")
    assert raw_content_hash({"a": 1}) != raw_content_hash({"a": 1}, of_search=True)


def test_a_cancel_names_exactly_one_search() -> None:
    assert parse_optimization_cancel_requested({"optimization_id": 3, "reason": ""}).reason is None
    for data in ({}, {"optimization_id": 3, "request_id": "a"}, {"run_id": 3}):
        with pytest.raises(InvalidRequestError) as raised:
            parse_optimization_cancel_requested(data)
        assert {problem.field for problem in raised.value.problems} >= {"optimization_id", "request_id"}
