"""Which combinations a search has: those that stand, numbered from 0, or drawn without one twice."""

from collections.abc import Mapping
from typing import Any

import pytest

from engine.errors import InvalidParams, InvalidSpace, ParameterProblem
from engine.search.combinations import check_values, combinations_of_grid, draw_combinations, judge_of
from engine.search.limits import check_method
from engine.search.space import read_space
from engine.strategies.sma_cross import SmaCross
from engine.strategy import checked_params

THOUSAND = {"from": 1, "to": 1000, "step": 1}
JUDGE = judge_of(lambda varied: checked_params(SmaCross, "sma_cross", varied))


def anything(_: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
    return ()


def test_what_the_strategy_refuses_is_left_out_and_the_rest_numbered_from_0() -> None:
    found = combinations_of_grid(read_space({"fast": [5, 10, 20], "slow": [10, 20]}), JUDGE)
    assert (len(found), found.left_out) == (3, 3)
    assert [found.at(number) for number in range(3)] == [
        {"fast": 5, "slow": 10},
        {"fast": 5, "slow": 20},
        {"fast": 10, "slow": 20},
    ]
    assert found.groups("fast").tolist() == [0, 0, 1]
    assert found.groups("slow").tolist() == [0, 1, 1]


def test_a_grid_of_which_nothing_stands_is_refused() -> None:
    with pytest.raises(InvalidParams, match=r"param_grid\.fast: the strategy refuses every combination"):
        combinations_of_grid(read_space({"fast": [50, 60], "slow": [10, 20]}), JUDGE)


def test_names_and_values_that_the_strategy_does_not_take_are_each_named() -> None:
    space = read_space({"fast": [5, 0], "slow": {"low": 1, "high": 40, "int": True}, "sloow": [3]})
    with pytest.raises(InvalidParams) as refused:
        check_values(space, JUDGE, "sma_cross")
    assert [problem.field for problem in refused.value.problems] == [
        "param_grid.fast", "param_grid.sloow", "param_grid.slow",
    ]  # fmt: skip


def test_a_million_values_are_refused_by_their_ends_without_asking_about_each() -> None:
    asked = 0

    def judge(varied: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        nonlocal asked
        asked += 1
        return JUDGE(varied)

    with pytest.raises(InvalidParams, match="-4"):
        check_values(read_space({"fast": {"from": -4, "to": 1_000_000, "step": 1}}), judge)
    assert asked < 50_000


def test_a_range_of_millions_is_checked_within_a_request_both_ends_included() -> None:
    seen: list[Any] = []

    def judge(varied: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        seen.append(varied["length"])
        return ()

    check_values(read_space({"length": {"from": 1, "to": 5_000_000, "step": 1}}), judge)
    assert (seen[0], seen[-1], len(set(seen))) == (1, 5_000_000, len(seen))
    assert len(seen) <= 50_000


def test_a_value_that_only_clashes_with_others_is_no_wrong_value() -> None:
    check_values(read_space({"fast": [5, 50], "slow": [10, 60]}), JUDGE)


@pytest.mark.parametrize(
    ("method", "samples", "space", "field"),
    [
        (
            "grid",
            None,
            {"a": {"from": 1, "to": 1001, "step": 1}, "b": {"from": 1, "to": 1000, "step": 1}},
            "param_grid",
        ),
        ("random", None, {"a": [1, 2]}, "samples"),
        ("random", 0, {"a": [1, 2]}, "samples"),
        ("random", 1_000_001, {"a": [1, 2]}, "samples"),
        ("tpe", 10_001, {"a": [1, 2]}, "samples"),
    ],
)
def test_too_many_and_too_few_are_refused(method: Any, samples: int | None, space: Any, field: str) -> None:
    with pytest.raises(InvalidSpace) as refused:
        check_method(read_space(space), method, samples, 0)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_a_million_is_allowed() -> None:
    check_method(read_space({"a": THOUSAND, "b": THOUSAND}), "grid", None, 0)


def test_draws_are_different_stand_and_come_again_with_their_seed() -> None:
    space = read_space({"fast": {"low": 2, "high": 60, "int": True}, "slow": {"from": 10, "to": 60, "step": 1}})
    found, again, other = (draw_combinations(space, JUDGE, 300, seed) for seed in (1, 1, 2))
    drawn = [found.at(number) for number in range(len(found))]
    assert len({tuple(each.items()) for each in drawn}) == 300
    assert all(each["fast"] < each["slow"] for each in drawn)
    assert found.left_out > 0
    assert [again.at(number) for number in range(300)] == drawn
    assert [other.at(number) for number in range(300)] != drawn


def test_a_space_of_no_more_than_the_samples_is_taken_whole() -> None:
    space = read_space({"fast": {"low": 5, "high": 7, "int": True}, "slow": [6, 20]})
    found = draw_combinations(space, JUDGE, 6, 1)
    assert [found.at(number) for number in range(len(found))] == [
        {"fast": 5, "slow": 6},
        {"fast": 5, "slow": 20},
        {"fast": 6, "slow": 20},
        {"fast": 7, "slow": 20},
    ]
    assert found.left_out == 2


def test_a_strategy_that_refuses_nearly_all_ends_the_drawing() -> None:
    space = read_space({"fast": {"low": 39, "high": 60, "int": True}, "slow": [40, 41]})
    with pytest.raises(InvalidParams, match=r"only 3 of 5 combinations were found, more than 1,500 draws"):
        draw_combinations(space, JUDGE, 5, 3)


def test_both_ends_of_an_interval_are_drawn_and_nothing_beyond() -> None:
    space = read_space({"n": {"low": 1, "high": 8, "log": True, "int": True}, "x": {"low": 0.5, "high": 0.7}})
    drawn = [found for draws in [draw_combinations(space, anything, 4000, 5)] for found in map(draws.at, range(4000))]
    counts = [sum(each["n"] == n for each in drawn) for n in range(1, 9)]
    assert sum(counts) == 4000
    # log-uniform over [1, 9): the share of n is log((n + 1) / n) / log 9.
    assert counts[0] == pytest.approx(4000 * 0.3155, rel=0.1)
    assert counts[7] == pytest.approx(4000 * 0.0536, rel=0.2)
    assert 0.5 <= min(each["x"] for each in drawn) < 0.501
    assert 0.699 < max(each["x"] for each in drawn) <= 0.7
