"""A bar of a longer timeframe holds what opened in it, and nobody sees it before it has closed."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UnknownTimeframe
from engine.market.bars import Bars
from engine.market.resampling import join_context, resample
from engine.market.timeframes import TIMEFRAMES, Timeframe, timeframe
from tests.engine.bar_builders import as_us, bars_of, closes_bars, random_bars, utc

LONGER = [TIMEFRAMES[name] for name in ("M30", "H1", "H4", "D1", "W1")]
MONDAY_US = as_us(utc("2024-01-01 00:00"))


def test_a_resampled_bar_is_first_open_highest_lowest_last_close_and_summed_volume() -> None:
    bars = bars_of(
        "H1",
        [utc("2024-01-08 00:00") + timedelta(hours=hour) for hour in (0, 1, 3, 4)],
        open=[1.0, 1.1, 1.2, 1.3],
        high=[1.5, 1.6, 1.4, 1.3],
        low=[0.9, 1.0, 0.8, 1.3],
        close=[1.1, 1.2, 1.3, 1.3],
        volume=[1.0, 2.0, 4.0, 8.0],
        spread=[10.0, 30.0, 20.0, 40.0],
    )
    h4 = resample(bars, timeframe("H4"))
    assert h4.frame.rows() == [(utc("2024-01-08 00:00"), 1.0, 1.6, 0.8, 1.3, 7.0, 20.0)]
    assert h4.timeframe == timeframe("H4")


def test_the_first_bar_counts_when_the_data_begin_at_its_open_and_the_last_when_they_end_at_its_close() -> None:
    whole = closes_bars("H1", utc("2024-01-08 00:00"), [1.0] * 8)
    late = closes_bars("H1", utc("2024-01-08 01:00"), [1.0] * 7)
    short = closes_bars("H1", utc("2024-01-08 00:00"), [1.0] * 7)
    opens = [
        bars.frame["time"].dt.hour().to_list() for bars in (resample(b, timeframe("H4")) for b in (whole, late, short))
    ]
    assert opens == [[0, 4], [4], [0]]


def test_a_hole_at_the_edge_of_a_bar_inside_the_data_drops_nothing() -> None:
    hours = [0, 1, 2, 6, 8, 9, 10, 11]
    bars = bars_of("H1", [utc("2024-01-08 00:00") + timedelta(hours=hour) for hour in hours])
    assert resample(bars, timeframe("H4")).frame["time"].dt.hour().to_list() == [0, 4, 8]


def test_weeks_are_anchored_at_monday_and_days_at_midnight() -> None:
    bars = closes_bars("H12", utc("2023-12-31 00:00"), [1.0] * 18)
    assert resample(bars, timeframe("W1")).frame["time"].to_list() == [utc("2024-01-01 00:00")]
    assert resample(bars, timeframe("D1")).frame["time"].to_list() == [
        utc("2023-12-31 00:00") + timedelta(days=day) for day in range(9)
    ]


def test_data_too_short_for_one_whole_bar_give_none() -> None:
    bars = closes_bars("H1", utc("2024-01-08 01:00"), [1.0, 1.1])
    h4 = resample(bars, timeframe("H4"))
    assert h4.height == 0
    assert h4.frame.schema == bars.frame.schema
    assert join_context(bars, h4).rows() == [(None,) * 6] * 2
    assert resample(h4, timeframe("D1")).height == 0


def test_the_same_timeframe_comes_back_as_it_is() -> None:
    bars = closes_bars("H1", utc("2024-01-08 01:00"), [1.0, 1.1])
    assert resample(bars, timeframe("H1")) is bars


@pytest.mark.parametrize(("source", "to"), [("H3", "H4"), ("H4", "H1"), ("M4", "M6"), ("H8", "H12")])
def test_a_timeframe_that_whole_bars_do_not_fill_is_refused(source: str, to: str) -> None:
    bars = closes_bars(source, utc("2024-01-08 00:00"), [1.0] * 40)
    with pytest.raises(UnknownTimeframe, match=f"{to} bars cannot be made of {source} bars"):
        resample(bars, timeframe(to))


@given(random_bars(TIMEFRAMES["M15"], with_spread=True), st.sampled_from(LONGER))
def test_resampling_agrees_with_the_obvious_loop(bars: Bars, to: Timeframe) -> None:
    groups: dict[int, list[tuple[float, ...]]] = {}
    for time_us, row in zip(bars.time_us.tolist(), bars.frame.drop("time").rows(), strict=True):
        start_us = time_us - (time_us - MONDAY_US) % to.duration_us
        groups.setdefault(start_us, []).append(row)
    begin_us, end_us = int(bars.time_us[0]), int(bars.close_time_us[-1])
    expected = [
        (
            start_us,
            rows[0][0],
            max(row[1] for row in rows),
            min(row[2] for row in rows),
            rows[-1][3],
            sum(row[4] for row in rows),
            rows[-1][5],
        )
        for start_us, rows in sorted(groups.items())
        if begin_us <= start_us and start_us + to.duration_us <= end_us
    ]
    assert resample(bars, to).frame.with_columns(pl.col("time").to_physical()).rows() == expected


@given(
    random_bars(TIMEFRAMES["M15"]),
    st.sampled_from(["M5", "M15", "H1", "H4"]).flatmap(lambda name: random_bars(TIMEFRAMES[name])),
)
def test_the_join_agrees_with_the_obvious_search(bars: Bars, context: Bars) -> None:
    joined = join_context(bars, context)
    assert joined.height == bars.height
    assert joined.schema == context.frame.schema
    rows = context.frame.rows()
    for i, moment_us in enumerate(bars.close_time_us.tolist()):
        known = [row for row, close_us in zip(rows, context.close_time_us, strict=True) if close_us <= moment_us]
        assert joined.row(i) == (known[-1] if known else (None,) * len(joined.columns))


def test_a_context_bar_is_seen_at_its_very_close_and_not_a_bar_earlier() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.0 + i / 10 for i in range(9)])
    joined = join_context(bars, resample(bars, timeframe("H4")))
    assert joined["time"].dt.hour().to_list() == [None, None, None, 0, 0, 0, 0, 4, 4]
    assert joined["close"].to_list() == [None] * 3 + [bars.close[3]] * 4 + [bars.close[7]] * 2


@given(random_bars(TIMEFRAMES["H1"]), st.sampled_from(LONGER[2:]), st.data())
def test_what_is_seen_of_a_resampled_context_does_not_change_with_the_future(
    bars: Bars, to: Timeframe, data: st.DataObject
) -> None:
    seen = data.draw(st.integers(1, bars.height))
    past = bars.rows(0, seen)
    with_future = join_context(bars, resample(bars, to)).head(seen)
    assert join_context(past, resample(past, to)).rows() == with_future.rows()
