"""tpe learns, comes again with its seed, and draws nothing twice and nothing that does not stand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from engine.errors import ParameterProblem
from engine.search.combinations import combination_of
from engine.search.space import read_space
from engine.search.tpe import BATCH, Learner

SPACE = read_space({"kind": ["a", "b", "c"], "n": {"from": 0, "to": 100, "step": 1}, "x": {"low": 0.0, "high": 1.0}})


def drawn(
    worth: Callable[[Mapping[str, Any]], float], samples: int, seed: int, space: Any = SPACE, judge: Any = None
) -> Any:

    learner = Learner(space, judge or (lambda _: ()), samples, seed)
    found = []
    while (rows := learner.ask()).shape[0]:
        assert rows.shape[0] <= BATCH
        batch = [combination_of(space, row) for row in rows]
        found += batch
        learner.tell([worth(each) for each in batch])
    return found, learner


def near_70(each: Mapping[str, Any]) -> float:
    return float(-abs(each["n"] - 70) - abs(each["x"] - 0.2) - (each["kind"] != "b"))


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    one, again, other = (drawn(near_70, 40, seed)[0] for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert len(one) == 40
    assert len({tuple(each.items()) for each in one}) == 40


def test_it_finds_better_ones_than_it_began_with() -> None:
    found, _ = drawn(near_70, 160, 0)
    first, last = (np.mean([near_70(each) for each in part]) for part in (found[:32], found[-32:]))
    assert last > first / 2


def test_a_refused_draw_is_drawn_anew_and_counted() -> None:
    def odd_only(each: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        return () if each["n"] % 2 else (ParameterProblem("params", "even"),)

    found, learner = drawn(near_70, 40, 3, judge=odd_only)
    assert len(found) == 40
    assert all(each["n"] % 2 for each in found)
    assert learner.left_out > 0


def test_where_no_more_are_found_it_ends() -> None:
    space = read_space({"n": {"low": 1, "high": 1000, "int": True}})
    few = drawn(
        lambda each: float(each["n"]),
        5,
        0,
        space,
        lambda each: () if each["n"] <= 3 else (ParameterProblem("n", "no"),),
    )
    assert len(few[0]) <= 3


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_what_came_to_nothing_is_told_as_failed(seed: int) -> None:
    found, _ = drawn(lambda each: float("nan") if each["kind"] == "a" else near_70(each), 40, seed)
    assert len(found) == 40
