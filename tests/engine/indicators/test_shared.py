"""What combinations of a search share changes no value of any of them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.deciders.columns import decisions_from_columns
from engine.indicators import actions, as_floats, crosses, sma, sma_crosses
from engine.indicators.shared import SharedColumns, never_changes, shared_columns, sharing_columns
from tests.engine.run_builders import EURUSD, sample, specification_of


def prices(seed: int, count: int, tick: float) -> NDArray[np.float64]:
    """A random walk on a grid of ticks, on which averages tie often."""
    steps = np.random.default_rng(seed).integers(-2, 3, count)
    walk: NDArray[np.float64] = np.cumsum(steps, dtype=np.float64)
    return np.round(1.1 + tick * walk, 9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 400),
    st.sampled_from([1e-5, 1e-2, 10.0]),
    st.integers(1, 12),
    st.integers(1, 30),
)
def test_crossings_by_shared_sums_are_those_of_exact_averages(
    seed: int, count: int, tick: float, fast: int, more: int
) -> None:
    close = pl.Series(prices(seed, count, tick))
    slow = fast + more
    with sharing_columns(SharedColumns()):
        found = sma_crosses(close, fast, slow)
    np.testing.assert_array_equal(found, crosses(sma(close, fast), sma(close, slow), close))


def test_a_part_of_the_same_column_shares_the_sums_of_the_whole() -> None:
    """Combinations differ in how much of a warm-up they see."""
    close = sample("eurusd_h1", 3000).frame["close"]
    shared = SharedColumns()
    for begin in (500, 0, 1200):
        part = close.slice(begin)
        with sharing_columns(shared):
            found = sma_crosses(part, 7, 40)
        np.testing.assert_array_equal(found, sma_crosses(part, 7, 40))
    assert len(shared._sums) == 1


@pytest.mark.parametrize("hole", [None, float("nan"), float("inf")])
def test_a_value_that_is_not_known_is_found_as_without_sharing(hole: float | None) -> None:
    close = sample("eurusd_h1", 600).frame["close"].to_list()
    close[300] = hole
    column = pl.Series(close)
    with sharing_columns(SharedColumns()):
        found = sma_crosses(column, 3, 10)
    np.testing.assert_array_equal(found, sma_crosses(column, 3, 10))


def test_values_that_change_in_place_are_not_taken_for_those_before() -> None:
    changing = sample("eurusd_h1", 600).frame["close"].to_numpy().copy()
    column = pl.Series(changing)
    with sharing_columns(SharedColumns()):
        before = sma_crosses(column, 3, 10)
        changing[:] = changing[::-1].copy()
        assert (sma_crosses(changing, 3, 10) != before).any()
        changing.flags.writeable = False
        assert (sma_crosses(changing, 3, 10) != before).any()
        assert not never_changes(as_floats(changing))
        assert never_changes(as_floats(pl.Series([1.0, 2.0])))
        column[100] = 2.0
        np.testing.assert_array_equal(sma_crosses(column, 3, 10), crosses(sma(column, 3), sma(column, 10), column))


def test_noted_actions_are_taken_only_for_the_column_that_they_made() -> None:
    bars = sample("eurusd_h1", 600)
    specification = specification_of(bars)
    codes = sma_crosses(bars.frame["close"], 3, 10)

    def decided(column: pl.Series) -> tuple[list[int], list[int]]:
        decisions = decisions_from_columns(pl.DataFrame([column]), bars, 20, specification, EURUSD)
        return decisions.rows.tolist(), decisions.actions.tolist()

    for above, below in (("BUY", "SELL"), ("BUY", "CLOSE")):
        column = actions(codes, above, below)
        other = column.clone().scatter(599, "SELL")
        plainly = decided(column), decided(other)
        with sharing_columns(SharedColumns()):
            again = actions(codes, above, below)
            codes_then = codes.copy()
            codes[:] = 0  # the strategy's own: what it does to them later says nothing
            assert (decided(again), decided(other)) == plainly
            codes[:] = codes_then


def test_nothing_is_shared_outside_a_search() -> None:
    assert shared_columns.get() is None
    actions(np.array([0, 1, -1], np.int8))
    assert shared_columns.get() is None
