"""What is refused of a search beyond what the journal's suite shows: the strategy's own word, and counts."""

import json
from typing import Any

import pytest

from consumer.ports import StrategyCheck
from consumer.ports.searches import SearchAdmitted, SearchRefused, SearchUnchecked
from consumer.rules.search_admission import SearchAdmission
from tests.consumer.rules.test_admission import STRATEGY
from tests.support.messages import ADMISSION, SEARCH_ADMISSION, AskedInPlace, search


def decide(**data: Any) -> SearchAdmitted | SearchRefused | SearchUnchecked:
    asked = search("a", **data)
    return SEARCH_ADMISSION(asked.request, STRATEGY, None, asked.problems, AskedInPlace())


def codes(**data: Any) -> dict[str, str]:
    decision = decide(**data)
    assert isinstance(decision, SearchRefused)
    return {problem.field: problem.code for problem in decision.problems}


def test_names_of_the_space_win_over_the_rows_and_the_rest_stays_fixed() -> None:
    decision = decide(param_grid={"fast": [3, 4]}, strategy_params={"slow": 33})
    assert isinstance(decision, SearchAdmitted)
    assert decision.specification["engine"]["strategy_params"] == {"slow": 33}


def test_what_the_strategy_is_asked_about_is_its_space_beside_what_is_fixed() -> None:
    asked = search("a", param_grid={"fast": [3, 4]}, strategy_params={"slow": 33})
    decision = SEARCH_ADMISSION(asked.request, STRATEGY, None, (), {})
    assert isinstance(decision, SearchUnchecked)
    assert decision.check == StrategyCheck(
        STRATEGY.strategy_key or "",
        json.dumps({"slow": 33}),
        json.dumps({"param_grid": {"fast": [3, 4]}, "method": "grid", "samples": None}),
    )


def test_a_space_whose_form_is_wrong_is_not_shown_to_the_strategy() -> None:
    asked = search("a", param_grid={"fast": []})
    decision = SEARCH_ADMISSION(asked.request, STRATEGY, None, asked.problems, {})
    assert isinstance(decision, SearchRefused)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"param_grid": {"fast": [0], "slow": [-1, 20]}}, {"param_grid.fast", "param_grid.slow"}),
        ({"param_grid": {"speed": [1]}}, {"param_grid.speed"}),
        ({"param_grid": {"fast": [30], "slow": [10]}}, {"param_grid.fast"}),
        ({"param_grid": {"fast": [5]}, "strategy_params": {"slow": -2}}, {"strategy_params.slow"}),
        (
            {"param_grid": {"fast": {"low": -1, "high": 5}}, "method": "tpe", "samples": 5},
            {"param_grid.fast"},
        ),
    ],
)
def test_what_the_strategy_refuses_is_named(data: dict[str, Any], expected: set[str]) -> None:
    assert codes(**data) == dict.fromkeys(expected, "invalid_params")


def test_combinations_are_counted_before_any_is_left_out_and_without_folds() -> None:
    few = SearchAdmission(ADMISSION, 12)
    asked = search("a", param_grid={"fast": [1, 2, 3], "slow": {"from": 4, "to": 7, "step": 1}})
    assert isinstance(few(asked.request, STRATEGY, None, (), AskedInPlace()), SearchAdmitted)
    asked = search("a", param_grid={"fast": [1, 2, 3], "slow": {"from": 4, "to": 8, "step": 1}})
    decision = few(asked.request, STRATEGY, None, (), AskedInPlace())
    assert isinstance(decision, SearchRefused)
    assert [problem.field for problem in decision.problems] == ["param_grid"]


def test_a_million_million_combinations_are_counted_without_making_them() -> None:
    wide = {"from": 1, "to": 1_000_000, "step": 1}
    assert codes(param_grid={"fast": wide, "slow": wide}) == {"param_grid": "invalid_request"}


def test_more_results_than_the_row_can_count_are_refused() -> None:
    data = {
        "start_date": "1924-01-01T00:00:00Z",
        "param_grid": {"fast": {"from": 1, "to": 900_000, "step": 1}},
        "walk_forward": {"train_days": 1, "test_days": 1},
    }
    assert codes(**data) == {"walk_forward": "invalid_request"}


def test_a_language_models_strategy_is_no_search() -> None:
    from dataclasses import replace

    asked = search("a")
    decision = SEARCH_ADMISSION(asked.request, replace(STRATEGY, execution_mode="llm_only"), None, (), AskedInPlace())
    assert isinstance(decision, SearchRefused)
    assert {problem.code for problem in decision.problems} == {"mode_unavailable"}
