"""Which of two combinations is better, which may be the best, and which is good together with its neighbours."""

from typing import Any

import numpy as np
import pytest

from engine.search.combinations import Combinations
from engine.search.figures import FIGURES, LOWER_IS_BETTER, by_name, candidates, ranking, worth_of
from engine.search.robust import most_robust
from engine.search.space import read_space


def rows(*figures: dict[str, float] | None) -> Any:
    """Rows with 100 trades; None for one that failed."""
    table = np.full((len(figures), len(FIGURES)), np.nan)
    for row, given in zip(table, figures, strict=True):
        if given is not None:
            for name, value in {"total_trades": 100.0, **given}.items():
                row[FIGURES.index(name)] = value
    return table


def ranked(table: Any, metric: str = "sharpe_ratio") -> list[int]:
    return [int(row) for row in ranking(table, np.arange(table.shape[0]), metric, 30)]


def test_higher_is_better_and_of_equals_the_lower_number() -> None:
    assert ranked(rows({"sharpe_ratio": 1.0}, {"sharpe_ratio": 2.0}, {"sharpe_ratio": 2.0})) == [1, 2, 0]


def test_few_trades_and_no_value_rank_last_and_what_failed_nowhere() -> None:
    table = rows({"sharpe_ratio": 9.0, "total_trades": 29.0}, {}, None, {"sharpe_ratio": -1.0}, {"sharpe_ratio": 1.0})
    assert ranked(table) == [4, 3, 0, 1]
    assert candidates(table, "sharpe_ratio", 30).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("metric", sorted(LOWER_IS_BETTER))
def test_of_what_hurts_less_is_better(metric: str) -> None:
    assert ranked(rows({metric: 3.0}, {metric: 1.0}, {metric: 2.0}), metric) == [1, 2, 0]


def test_figures_by_name_are_whole_where_they_count_and_none_where_there_is_none() -> None:
    named = by_name(rows({"sharpe_ratio": 1.5})[0])
    assert named["total_trades"] == 100
    assert isinstance(named["total_trades"], int)
    assert named["sharpe_ratio"] == 1.5
    assert named["profit_factor"] is None


def robust(
    values: list[float | None], space: Any, stands: list[bool] | None = None, metric: str = "sharpe_ratio"
) -> Any:
    read = read_space(space)
    places = None if stands is None else np.flatnonzero(stands)
    count = len(values)
    numbered = Combinations(read, count, (read.size or 0) - count, places)
    levels = np.array([np.nan if value is None else value for value in values])
    found = most_robust(numbered, worth_of(levels, metric), ~np.isnan(levels))
    return None if found is None else numbered.at(found.number)


def test_a_plateau_is_more_robust_than_a_lone_peak() -> None:
    assert robust([1, 9, 1, 1, 6, 7, 6, 1], {"n": [1, 2, 3, 4, 5, 6, 7, 8]}) == {"n": 5}


def test_an_even_number_of_neighbours_has_the_mean_of_the_middle_two() -> None:
    # 8 and its only neighbour 0: 4. 0 with 8 and 5: 5. 5 with 0, 5: 5, later.
    assert robust([8, 0, 5, 5], {"n": [1, 2, 3, 4]}) == {"n": 2}


def test_neighbours_are_one_place_on_in_one_name() -> None:
    space = {"a": [1, 2, 3], "b": [1, 2, 3]}
    # Of 9: 0, 0, 4, 4 and itself; of the 4 beside it 0, 4, 9 and itself, and a higher number.
    assert robust([0, 0, 0, 0, 9, 4, 0, 4, 4], space) == {"a": 2, "b": 2}
    assert robust([0, 0, 0, 0, 9, 4, 0, 4, 5], space) == {"a": 2, "b": 3}


def test_one_that_was_left_out_does_not_exist_and_one_that_may_not_be_best_counts_as_the_worst() -> None:
    # Places 0 to 4; without 1 the first one has no neighbour at all.
    assert robust([5, 4, 4, 4], {"n": [1, 2, 3, 4, 5]}, [True, False, True, True, True]) == {"n": 1}
    assert robust([5, None, 4, 4, 4], {"n": [1, 2, 3, 4, 5]}) == {"n": 3}
    assert robust([None, None], {"n": [1, 2]}) is None


def test_a_best_between_two_that_may_not_be_is_still_the_robust_one() -> None:
    assert robust([None, 3, None], {"n": [1, 2, 3]}) == {"n": 2}
    assert robust([None, 3, None, 8], {"n": [1, 2, 3, 4]}) == {"n": 2}


def test_robust_of_what_hurts_is_the_lowest() -> None:
    assert robust([1, 9, 9, 3, 3, 3], {"n": [1, 2, 3, 4, 5, 6]}, metric="max_drawdown_pct") == {"n": 4}
