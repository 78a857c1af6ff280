"""The space of a search: what may be asked for, how it is counted, and in which order it is numbered."""

from typing import Any

import pytest

from engine.errors import InvalidSpace
from engine.search.space import Interval, Listed, Stepped, read_space


def test_names_are_sorted_values_keep_their_order_and_the_last_name_is_fastest() -> None:
    space = read_space({"slow": [30, 20], "fast": {"from": 1, "to": 3, "step": 1}})
    assert space.size == 6
    assert [space.at(place) for place in range(6)] == [
        {"fast": 1, "slow": 30},
        {"fast": 1, "slow": 20},
        {"fast": 2, "slow": 30},
        {"fast": 2, "slow": 20},
        {"fast": 3, "slow": 30},
        {"fast": 3, "slow": 20},
    ]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"from": 30, "to": 60, "step": 10}, [30, 40, 50, 60]),
        ({"from": 30, "to": 59, "step": 10}, [30, 40, 50]),
        ({"from": 0.1, "to": 0.3, "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"from": 1.0, "to": 2.0, "step": 0.35}, [1.0, 1.35, 1.7]),
        ({"from": -2, "to": 2, "step": 4}, [-2, 2]),
        ({"from": 5, "to": 5, "step": 1}, [5]),
        ({"from": 0, "to": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ([None, "a", True, 1, [1, 2]], [None, "a", True, 1, [1, 2]]),
    ],
)
def test_ranges_have_both_ends_and_no_rounding_in_them(given: Any, values: list[Any]) -> None:
    choice = read_space({"x": given}).choices["x"]
    assert isinstance(choice, Listed | Stepped)
    found = [choice.at(place) for place in range(choice.count)]
    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


def test_a_range_longer_than_memory_is_counted_and_not_made() -> None:
    space = read_space({"a": {"from": 1, "to": 10**12, "step": 1}, "b": {"from": 0.0, "to": 1.0, "step": 1e-6}})
    assert space.size == 10**12 * 1_000_001
    assert space.at(5 * 1_000_001 + 7) == {"a": 6, "b": 0.000007}


def test_whole_numbers_of_an_interval_can_be_counted_and_others_cannot() -> None:
    whole = read_space({"n": {"low": 5, "high": 500, "log": True, "int": True}})
    assert whole.choices["n"] == Interval(5, 500, log=True, whole=True)
    assert whole.size == 496
    assert read_space({"x": {"low": 1.0, "high": 4.0}}).size is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "is empty"),
        ({}, "is empty"),
        ([5, 7, 5], "has 5 twice"),
        ([5, 5.0], "has 5.0 twice"),
        ([float("nan")], "no JSON value"),
        (5, "must be a list"),
        ("1,2", "must be a list"),
        ({"from": 1, "to": 2}, "step is missing"),
        ({"from": 1, "to": 2, "step": 0}, "step must be above 0"),
        ({"from": 1, "to": 2, "step": -1}, "step must be above 0"),
        ({"from": 3, "to": 2, "step": 1}, "from (3) is above to (2)"),
        ({"from": 1, "to": 2, "step": 1, "by": 2}, "unknown by"),
        ({"from": 1, "to": 2, "step": 1, "log": True}, "unknown log"),
        ({"from": "1", "to": 2, "step": 1}, "from must be a number"),
        ({"from": 1, "to": 2, "step": True}, "step must be a number"),
        ({"from": 1, "to": float("inf"), "step": 1}, "to must be a number"),
        ({"low": 1, "high": 1}, "low (1) must be below high (1)"),
        ({"low": 2, "high": 1}, "low (2) must be below high (1)"),
        ({"low": 0, "high": 1, "log": True}, "log needs a low above 0"),
        ({"low": 1, "high": 2, "step": 1}, "unknown high, low"),
        ({"low": 1.5, "high": 2, "int": True}, "must be whole"),
        ({"low": 1, "high": 2, "int": 1}, "int must be true or false"),
        ({"low": 1}, "high is missing"),
    ],
)
def test_what_is_wrong_is_said_of_the_parameter(given: Any, said: str) -> None:
    with pytest.raises(InvalidSpace) as refused:
        read_space({"fine": [1], "x": given})
    assert [problem.field for problem in refused.value.problems] == ["param_grid.x"]
    assert said in refused.value.problems[0].message


def test_every_parameter_at_fault_is_named() -> None:
    with pytest.raises(InvalidSpace) as refused:
        read_space({"a": [], "b": {"low": 1, "high": 2}, "c": [1]}, intervals=False)
    assert [problem.field for problem in refused.value.problems] == ["param_grid.a", "param_grid.b"]
    assert "random and tpe" in refused.value.problems[1].message


@pytest.mark.parametrize("document", [{}, [], "fast"])
def test_a_space_without_parameters_is_refused(document: Any) -> None:
    with pytest.raises(InvalidSpace, match="param_grid: "):
        read_space(document)
