"""What is refused of a search beyond what the journal's suite shows: the strategy's own word, and counts."""

import json
from dataclasses import replace
from typing import Any

import pytest

from consumer.ports import StrategyCheck, StrategyRow
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
        json.dumps({"param_grid": {"fast": [3, 4]}, "method": "grid", "samples": None, "seed": 0}),
    )


def test_a_space_whose_form_is_wrong_is_not_shown_to_the_strategy() -> None:
    asked = search("a", param_grid={"fast": []})
    decision = SEARCH_ADMISSION(asked.request, STRATEGY, None, asked.problems, {})
    assert isinstance(decision, SearchRefused)


def test_more_combinations_than_may_be_are_counted_and_not_shown_to_the_strategy() -> None:
    asked = search("a", param_grid={"fast": {"from": 1, "to": 2_000_000, "step": 1}})
    decision = SEARCH_ADMISSION(asked.request, STRATEGY, None, asked.problems, {})
    assert isinstance(decision, SearchRefused)
    assert [(each.field, each.code) for each in decision.problems] == [("param_grid", "invalid_request")]


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


def test_each_value_that_is_refused_is_named() -> None:
    decision = decide(param_grid={"fast": [0, 5, "x"], "slow": {"from": -9, "to": 20, "step": 1}})
    assert isinstance(decision, SearchRefused)
    told = {problem.field: problem.message for problem in decision.problems}
    assert told["param_grid.fast"].startswith("0: Input should be greater")
    assert '; "x": Input should be a valid integer' in told["param_grid.fast"]
    assert told["param_grid.slow"].endswith("; and more")


def test_draws_of_which_too_few_stand_are_refused_before_the_search() -> None:
    few = {"fast": {"low": 2, "high": 900, "int": True}, "slow": {"low": 2, "high": 4, "int": True}}
    assert codes(param_grid=few, method="random", samples=20) == {"param_grid.fast": "invalid_params"}
    more = {"fast": {"low": 2, "high": 40, "int": True}, "slow": {"low": 2, "high": 20, "int": True}}
    assert isinstance(decide(param_grid=more, method="random", samples=50), SearchAdmitted)


RULES = replace(
    STRATEGY,
    strategy_key="rules",
    strategy_params=json.dumps(
        {
            "params": {"n": 10, "stop_loss": 2.0},
            "buy": "close > sma(close, n)",
            "sell": "close < sma(close, n)",
            "stop_loss": "stop_loss * atr(14)",
        }
    ),
)


def of_rules(row: StrategyRow = RULES, **data: Any) -> dict[str, str]:
    asked = search("a", **data)
    decision = SEARCH_ADMISSION(asked.request, row, None, asked.problems, AskedInPlace())
    return {each.field: each.code for each in decision.problems} if isinstance(decision, SearchRefused) else {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"param_grid": {"n": [5, 0, 20]}}, {"param_grid.n": "invalid_params"}),
        ({"param_grid": {"n": ["x", 5]}}, {"param_grid.n": "invalid_params"}),
        ({"param_grid": {"m": [5]}}, {"param_grid.m": "invalid_params"}),
        ({"param_grid": {"buy": [5]}}, {"param_grid.buy": "invalid_params"}),
        (
            {"param_grid": {"m": [5], "n": [0]}, "strategy_params": {"sell": "sma("}},
            {"param_grid.m": "invalid_params", "param_grid.n": "invalid_params", "sell": "invalid_params"},
        ),
        (
            {"param_grid": {"n": {"low": 0, "high": 9, "int": True}}, "method": "random", "samples": 3},
            {"param_grid.n": "invalid_params"},
        ),
        ({"param_grid": {"n": [5]}, "strategy_params": {"buy": "sma("}}, {"buy": "invalid_params"}),
        (
            {"param_grid": {"stop_loss": [1]}, "strategy_params": {"params": {"n": 0}}},
            {"params.n": "invalid_params"},
        ),
        (
            {"param_grid": {"n": [5]}, "strategy_params": {"params": {"n": 4}}},
            {"strategy_params.params.n": "invalid_request"},
        ),
        ({"param_grid": {"n": [5]}, "strategy_params": {"params": {"m": 4}}}, {"params.m": "invalid_params"}),
    ],
)
def test_what_rules_refuse_is_named_as_a_run_would_name_it(data: dict[str, Any], expected: dict[str, str]) -> None:
    assert of_rules(**data) == expected


def test_a_name_that_a_documents_field_has_too_leaves_the_field_standing() -> None:
    asked = search("a", param_grid={"stop_loss": [1.0, 3.0]})
    decision = SEARCH_ADMISSION(asked.request, RULES, None, asked.problems, AskedInPlace())
    assert isinstance(decision, SearchAdmitted)
    assert decision.specification["engine"]["strategy_params"]["stop_loss"] == "stop_loss * atr(14)"


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
    asked = search("a")
    decision = SEARCH_ADMISSION(asked.request, replace(STRATEGY, execution_mode="llm_only"), None, (), AskedInPlace())
    assert isinstance(decision, SearchRefused)
    assert {problem.code for problem in decision.problems} == {"mode_unavailable"}
