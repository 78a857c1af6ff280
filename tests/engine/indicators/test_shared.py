"""What combinations of a search share changes no value of any of them."""

from typing import Any

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


@pytest.mark.parametrize("beside", [-3e-15, -1e-16, 0.0, 1e-16, 3e-15])
def test_a_first_difference_that_is_hardly_one_is_settled_by_exact_averages(beside: float) -> None:
    """A search passed over it, and over the crossing after it."""
    rise = 4e-9 * (1 + 4e-9) + beside
    close = pl.Series([1.0, 1.0, 1.0, 1.0 + rise, 0.5, 0.4, 0.3, 0.9, 1.2, 1.1])
    for more in range(9):  # bars are looked at eight at a time
        column = close.extend_constant(1.1, more)
        with sharing_columns(SharedColumns()):
            found = sma_crosses(column, 2, 4)
        np.testing.assert_array_equal(found, crosses(sma(column, 2), sma(column, 4), column))


def test_averages_of_many_lengths_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.indicators.shared._MOST_BYTES", 3 * 4 * 600)
    close = sample("eurusd_h1", 600).frame["close"]
    shared = SharedColumns()
    for fast, slow in ((3, 10), (4, 12), (3, 10), (5, 20), (3, 12)):
        with sharing_columns(shared):
            found = sma_crosses(close, fast, slow)
        np.testing.assert_array_equal(found, sma_crosses(close, fast, slow))
    [sums] = shared._sums.values()
    assert list(sums.averages) == [20, 3, 12]


def test_the_actions_of_a_search_are_the_same_column_as_those_of_a_run() -> None:
    drawn = np.random.default_rng(1).integers(-30, 31, 5_003)
    codes: Any = np.where(np.abs(drawn) > 1, 0, drawn).astype(np.int8)
    of_other_kinds = (codes.astype(np.int64) * 256, codes[::3], codes * 0.5, codes.tolist(), pl.Series(codes))
    parts: list[Any] = [codes, codes[:7], codes[:0], np.zeros(20, np.int8), np.full(9, -1, np.int8), *of_other_kinds]
    for part in parts:
        for above, below in (("BUY", "SELL"), ("CLOSE", "BUY")):
            alone = actions(part, above, below)
            with sharing_columns(SharedColumns()):
                shared = [actions(part, above, below), actions(part, above, below)]
            for column in shared:
                assert column.equals(alone, check_dtypes=True, check_names=True)
                assert column.null_count() == alone.null_count()
                assert column.is_sorted() == alone.is_sorted()
                assert column.drop_nulls().unique_counts().to_list() == alone.drop_nulls().unique_counts().to_list()


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
