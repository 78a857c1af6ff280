"""A bar of a longer timeframe holds what opened in it, and nobody sees it before it has closed."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UnknownTimeframe
from engine.market.bars import Bars
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.resampling import join_context, resample
from engine.market.timeframes import DAY_US, TIMEFRAMES, Timeframe, timeframe
from tests.engine.bar_builders import EPOCH, as_us, bars_of, closes_bars, random_bars, utc
from tests.engine.run_builders import EURUSD

LONGER = [TIMEFRAMES[name] for name in ("M30", "H1", "H4", "D1", "W1", "MN1")]
BTCUSD = packaged_instruments()["BTCUSD"]
TOKYO = replace(EURUSD, day_start="06:30 Asia/Tokyo")
CALENDARS = [EURUSD, BTCUSD, TOKYO, replace(EURUSD, day_start="17:00 America/New_York")]


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
    h4 = resample(bars, timeframe("H4"), BTCUSD)
    assert h4.frame.rows() == [(utc("2024-01-08 00:00"), 1.0, 1.6, 0.8, 1.3, 7.0, 20.0)]
    assert h4.timeframe == timeframe("H4")


def test_the_first_bar_counts_when_the_data_begin_at_its_open_and_the_last_when_they_end_at_its_close() -> None:
    whole = closes_bars("H1", utc("2024-01-08 00:00"), [1.0] * 8)
    late = closes_bars("H1", utc("2024-01-08 01:00"), [1.0] * 7)
    short = closes_bars("H1", utc("2024-01-08 00:00"), [1.0] * 7)
    opens = [
        bars.frame["time"].dt.hour().to_list()
        for bars in (resample(b, timeframe("H4"), BTCUSD) for b in (whole, late, short))
    ]
    assert opens == [[0, 4], [4], [0]]


def test_a_hole_at_the_edge_of_a_bar_inside_the_data_drops_nothing() -> None:
    hours = [0, 1, 2, 6, 8, 9, 10, 11]
    bars = bars_of("H1", [utc("2024-01-08 00:00") + timedelta(hours=hour) for hour in hours])
    assert resample(bars, timeframe("H4"), BTCUSD).frame["time"].dt.hour().to_list() == [0, 4, 8]


def test_data_too_short_for_one_whole_bar_give_none() -> None:
    bars = closes_bars("H1", utc("2024-01-08 01:00"), [1.0, 1.1])
    h4 = resample(bars, timeframe("H4"), BTCUSD)
    assert h4.height == 0
    assert h4.frame.schema == bars.frame.schema
    assert join_context(bars, h4).rows() == [(None,) * 6] * 2
    assert resample(h4, timeframe("D1"), BTCUSD).height == 0


def test_the_same_timeframe_comes_back_as_it_is() -> None:
    bars = closes_bars("H1", utc("2024-01-08 01:00"), [1.0, 1.1])
    assert resample(bars, timeframe("H1"), BTCUSD) is bars


@pytest.mark.parametrize(("source", "to"), [("H3", "H4"), ("H4", "H1"), ("M4", "M6"), ("H8", "H12"), ("W1", "MN1")])
def test_a_timeframe_that_whole_bars_do_not_fill_is_refused(source: str, to: str) -> None:
    bars = closes_bars(source, utc("2024-01-08 00:00"), [1.0] * 40)
    with pytest.raises(UnknownTimeframe, match=f"{to} bars cannot be made of {source} bars"):
        resample(bars, timeframe(to), BTCUSD)


@given(random_bars(TIMEFRAMES["M15"], with_spread=True), st.sampled_from(LONGER), st.sampled_from(CALENDARS))
def test_resampling_agrees_with_the_obvious_loop(bars: Bars, to: Timeframe, instrument: Instrument) -> None:
    groups: dict[tuple[int, int], list[int]] = {}
    for row, time_us in enumerate(bars.time_us.tolist()):
        groups.setdefault(candle_of(time_us, to, instrument), []).append(row)
    begin_us, end_us = never_missing(int(bars.time_us[0]), int(bars.close_time_us[-1]), instrument)
    rows = bars.frame.drop("time").rows()
    expected, closes = [], []
    for (open_us, close_us), held in sorted(groups.items()):
        if begin_us <= open_us and close_us <= end_us:
            of = [rows[row] for row in held]
            high, low = max(row[1] for row in of), min(row[2] for row in of)
            expected.append((open_us, of[0][0], high, low, of[-1][3], sum(row[4] for row in of), of[-1][5]))
            closes.append(max(close_us, int(bars.close_time_us[held[-1]])))
    made = resample(bars, to, instrument)
    assert made.frame.with_columns(pl.col("time").to_physical()).rows() == expected
    assert made.close_time_us.tolist() == closes


def candle_of(time_us: int, to: Timeframe, instrument: Instrument) -> tuple[int, int]:
    """Open and close of the candle that a bar opening then belongs to, found date by date."""
    if to.name in ("M30", "H1"):
        open_us = time_us - time_us % to.duration_us
        return open_us, open_us + to.duration_us
    of_session = "17:00 America/New_York" if instrument.session == "fx" else "00:00 UTC"
    start, zone = (instrument.day_start or of_session).split()
    folds = instrument.session == "fx" and instrument.day_start is None
    hour, minute = map(int, start.split(":"))

    def starts(label: date) -> int:
        eve = label - timedelta(days=1) if hour >= 12 else label
        return as_us(datetime.combine(eve, time(hour, minute), ZoneInfo(zone)).astimezone(UTC))

    label = (EPOCH + timedelta(microseconds=time_us)).date() + timedelta(days=3)
    while starts(label) > time_us:
        label -= timedelta(days=1)
    while folds and label.weekday() > 4:
        label += timedelta(days=1)
    if to.duration_us < DAY_US:
        place = max(0, time_us - starts(label)) // to.duration_us
        open_us = starts(label) + place * to.duration_us
        return open_us, min(open_us + to.duration_us, starts(label + timedelta(days=1)))
    if to.name == "D1":
        return starts(label), starts(label + timedelta(days=1))
    if to.name == "W1":
        monday = label - timedelta(days=label.weekday())
        return starts(monday), starts(monday + timedelta(days=7))

    def first_of(month: date) -> int:
        while folds and month.weekday() > 4:
            month += timedelta(days=1)
        return starts(month)

    return first_of(label.replace(day=1)), first_of((label.replace(day=1) + timedelta(days=31)).replace(day=1))


def never_missing(begin_us: int, end_us: int, instrument: Instrument) -> tuple[int, int]:
    """The span of the data, a closed weekend before and after it included."""

    def weekend(moment_us: int) -> tuple[int, int]:
        local = (EPOCH + timedelta(microseconds=moment_us)).astimezone(ZoneInfo("America/New_York"))
        friday = local.date() - timedelta(days=(local.weekday() - 4) % 7)
        sides = (datetime.combine(friday + timedelta(days=i), time(17), ZoneInfo("America/New_York")) for i in (0, 2))
        begin, end = (as_us(side.astimezone(UTC)) for side in sides)
        return begin, end

    if instrument.session == "fx":
        closed_us, open_us = weekend(begin_us)
        begin_us = closed_us if closed_us < begin_us <= open_us else begin_us
        closed_us, open_us = weekend(end_us)
        end_us = open_us if closed_us <= end_us < open_us else end_us
    return begin_us, end_us


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
    joined = join_context(bars, resample(bars, timeframe("H4"), BTCUSD))
    assert joined["time"].dt.hour().to_list() == [None, None, None, 0, 0, 0, 0, 4, 4]
    assert joined["close"].to_list() == [None] * 3 + [bars.close[3]] * 4 + [bars.close[7]] * 2


@given(random_bars(TIMEFRAMES["H1"]), st.sampled_from(LONGER[2:]), st.sampled_from(CALENDARS), st.data())
def test_what_is_seen_of_a_resampled_context_does_not_change_with_the_future(
    bars: Bars, to: Timeframe, instrument: Instrument, data: st.DataObject
) -> None:
    seen = data.draw(st.integers(1, bars.height))
    past = bars.rows(0, seen)
    with_future = join_context(bars, resample(bars, to, instrument)).head(seen)
    assert join_context(past, resample(past, to, instrument)).rows() == with_future.rows()
