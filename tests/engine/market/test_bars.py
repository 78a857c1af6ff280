"""Bars are checked once, at the edge, and named by file, row and time when they are bad."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from engine.errors import BadBars
from engine.market.bars import TIME, Bars, bars_from_frame
from engine.market.timeframes import timeframe
from engine.numeric.times import iso_time
from tests.engine.bar_builders import as_us, bars_of, closes_bars, frame_of, utc

H1 = timeframe("H1")
TIMES = [utc("2024-01-08 00:00") + i * timedelta(hours=1) for i in range(4)]


def refusal(frame: pl.DataFrame) -> str:
    with pytest.raises(BadBars) as refused:
        bars_from_frame(frame, H1, "eurusd.csv")
    return str(refused.value)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"open": [1.1, 1.1, None, 1.1]}, "open is null"),
        ({"high": [1.1, 1.1, math.nan, 1.1]}, "high is NaN"),
        ({"close": [1.1, 1.1, math.inf, 1.1]}, "close is infinite"),
        ({"low": [1.1, 1.1, -math.inf, 1.1]}, "low is infinite"),
        ({"volume": [0.0, 0.0, math.nan, 0.0]}, "volume is NaN"),
        ({"volume": [0.0, 0.0, -1.0, 0.0]}, "volume -1.0 is negative"),
        ({"spread": [1.0, 1.0, None, 1.0]}, "spread is null"),
        ({"spread": [1.0, 1.0, -1.0, 1.0]}, "spread is negative"),
        ({"low": [1.1, 1.1, 1.2, 1.1], "high": [1.3] * 4}, "low 1.2 is above open 1.1"),
        (
            {"low": [1.1, 1.1, 1.15, 1.1], "high": [1.3] * 4, "open": [1.1, 1.1, 1.2, 1.1]},
            "low 1.15 is above close 1.1",
        ),
        ({"high": [1.1, 1.1, 1.0, 1.1], "low": [1.0] * 4}, "high 1.0 is below open 1.1"),
        ({"close": [1.1, 1.1, 1.2, 1.1]}, "high 1.1 is below close 1.2"),
        ({"low": [1.1, 1.1, 1.2, 1.1]}, "low 1.2 is above high 1.1"),
        ({"low": [1.1, 1.1, 0.0, 1.1]}, "low 0.0 is not above 0"),
        ({name: [1.1, 1.1, -1.0, 1.1] for name in ("open", "high", "low", "close")}, "open -1.0 is not above 0"),
    ],
)
def test_a_bad_row_is_named_with_its_number_time_and_fault(columns: dict[str, list[float | None]], what: str) -> None:
    assert refusal(frame_of(TIMES, **columns)) == f"eurusd.csv: row 3 (time 2024-01-08T02:00:00Z): {what}"


@pytest.mark.parametrize(
    ("third", "what"),
    [
        (TIMES[1], "time does not rise"),
        (TIMES[0], "time does not rise"),
        (TIMES[1] + timedelta(minutes=59), "time is closer than H1 to the row before"),
    ],
)
def test_times_must_rise_by_at_least_the_timeframe(third: datetime, what: str) -> None:
    times = [TIMES[0], TIMES[1], third, TIMES[3]]
    assert refusal(frame_of(times)) == f"eurusd.csv: row 3 (time {third.isoformat()[:-6]}Z): {what}"


def test_bars_none_of_which_has_a_spread_are_those_of_a_file_without_the_column() -> None:
    lacking = frame_of(TIMES, spread=[12.0, None, None, None])
    bars = bars_from_frame(lacking, H1, "store", spread_may_lack=True)
    assert bars.spread_points is not None
    assert bars.spread_points[0] == 12.0
    assert math.isnan(bars.spread_points[1])
    assert bars.rows(1, 4).spread_points is None
    assert bars.rows(1, 4).digest == bars_from_frame(frame_of(TIMES[1:]), H1, "file").digest


def test_a_missing_time_is_said_to_be_null() -> None:
    frame = frame_of(TIMES).with_columns(time=pl.Series([TIMES[0], None, *TIMES[2:]], dtype=TIME))
    assert refusal(frame) == "eurusd.csv: row 2 (time null): time is null"


def test_the_first_bad_row_is_named_whatever_its_kind() -> None:
    late_null = frame_of(TIMES, open=[1.1, 1.1, 1.1, None], close=[1.1, 9.0, 1.1, 1.1])
    early_null = frame_of(TIMES, open=[None, 1.1, 1.1, 1.1], close=[1.1, 9.0, 1.1, 1.1])
    assert refusal(late_null) == "eurusd.csv: row 2 (time 2024-01-08T01:00:00Z): high 1.1 is below close 9.0"
    assert refusal(early_null) == "eurusd.csv: row 1 (time 2024-01-08T00:00:00Z): open is null"


def test_what_is_wrong_with_the_whole_file_is_said_without_a_row() -> None:
    assert refusal(frame_of([])) == "eurusd.csv: there are no bars in it"
    assert refusal(frame_of(TIMES).drop("low")) == "eurusd.csv: column low is missing"
    assert refusal(frame_of(TIMES).drop("time")) == "eurusd.csv: column time is missing"
    text = frame_of(TIMES).with_columns(close=pl.lit("1.1"))
    assert refusal(text) == "eurusd.csv: column close holds String, not numbers"
    assert refusal(frame_of(TIMES).with_columns(time=pl.lit(1))) == "eurusd.csv: column time holds Int32, not times"


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_any_unit_and_zone_become_utc_microseconds(unit: str, zone: str | None) -> None:
    frame = frame_of(TIMES)
    time = frame["time"].dt.convert_time_zone(zone) if zone else frame["time"].dt.replace_time_zone(None)
    bars = bars_from_frame(frame.with_columns(time=time.dt.cast_time_unit(unit)), H1, "bars.csv")  # type: ignore[arg-type]  # parametrised Literal
    assert bars.frame["time"].to_list() == TIMES
    assert bars.frame.schema["time"] == TIME


def test_whole_numbers_and_dates_are_taken() -> None:
    frame = pl.DataFrame(
        {
            "time": pl.Series(["2024-01-08", "2024-01-09"]).str.to_date(),
            **{name: [1, 2] for name in ("open", "high", "low", "close")},
            "spread": pl.Series([10, 11], dtype=pl.Int32),
            "comment": ["left", "out"],
        }
    )
    bars = bars_from_frame(frame, timeframe("D1"), "bars.csv")
    assert bars.frame.columns == ["time", "open", "high", "low", "close", "volume", "spread"]
    assert bars.volume.tolist() == [0.0, 0.0]
    assert bars.spread_points is not None
    assert bars.spread_points.tolist() == [10.0, 11.0]


def test_holes_between_bars_are_accepted() -> None:
    assert bars_of("H1", [TIMES[0], TIMES[1] + timedelta(days=30)]).height == 2


def test_arrays_are_read_only_and_contiguous_even_from_several_chunks() -> None:
    chunks = pl.concat([frame_of(TIMES), frame_of([time + timedelta(days=1) for time in TIMES])], rechunk=False)
    bars = bars_from_frame(chunks, H1, "bars.csv")
    for column in (bars.time_us, bars.close_time_us, bars.open, bars.high, bars.low, bars.close, bars.volume):
        assert column.flags.c_contiguous
        assert not column.flags.writeable
        assert column.size == 8
    assert bars.spread_points is None


def test_between_takes_the_start_and_leaves_the_end_out() -> None:
    bars = bars_of("H1", TIMES)
    assert bars.between(as_us(TIMES[1]), as_us(TIMES[3])) == (1, 3)
    assert bars.between(as_us(TIMES[1]) + 1, as_us(TIMES[3]) + 1) == (2, 4)
    assert bars.between(as_us(TIMES[3]) + 1, as_us(TIMES[3]) + 2) == (4, 4)
    assert bars.between(as_us(TIMES[2]), as_us(TIMES[1])) == (2, 2)


def test_rows_cut_without_moving_what_is_in_them() -> None:
    bars = closes_bars("H1", TIMES[0], [1.1, 1.2, 1.3, 1.4])
    assert bars.rows(1, 3).close.tolist() == [1.2, 1.3]
    assert bars.rows(3, 2).height == 0


@pytest.mark.parametrize(("first", "end"), [(0, 4), (1, 3), (2, 9), (3, 2)])
def test_rows_have_the_arrays_of_their_frame_whether_or_not_the_whole_had_made_them(first: int, end: int) -> None:
    bars = Bars(H1, closes_bars("H1", TIMES[0], [1.1, 1.2, 1.3, 1.4]).frame)
    untouched, made = bars.rows(first, end), Bars(H1, bars.frame)
    names = ("time_us", "close_time_us", "open", "high", "low", "close", "volume")
    assert all(getattr(made, name).size == 4 for name in names)
    assert made.spread_points is None
    cut = made.rows(first, end)
    for name in names:
        assert getattr(cut, name).tolist() == getattr(untouched, name).tolist()
        assert not getattr(cut, name).flags.writeable
    assert cut.spread_points is None
    assert np.shares_memory(cut.close, made.close) == (cut.height > 0)


def test_digest_depends_on_every_value_and_on_nothing_else() -> None:
    columns = {"spread": [1.0, 2.0, 3.0, 4.0]}
    digest = bars_of("H1", TIMES, **columns).digest
    reread = bars_from_frame(
        pl.concat([bars_of("H1", TIMES, **columns).frame[:2], bars_of("H1", TIMES, **columns).frame[2:]], rechunk=False)
        .with_columns(extra=pl.lit(1))
        .select("extra", "close", "spread", "open", "high", "low", "volume", "time"),
        H1,
        "other.parquet",
    )
    assert reread.digest == digest
    changed = [
        bars_of("H1", [*TIMES[:3], TIMES[3] + timedelta(hours=1)], **columns),
        bars_of("M30", TIMES, **columns),
        bars_of("H1", TIMES),
        *(bars_of("H1", TIMES, **columns, **{name: _nudged(name)}) for name in ("high", "low", "volume")),
        bars_of("H1", TIMES, spread=[1.0, 2.0, 3.0, 5.0]),
    ]
    assert len({digest, *(bars.digest for bars in changed)}) == len(changed) + 1


def _nudged(name: str) -> list[float]:
    return {"high": [1.1, 1.2, 1.1, 1.1], "low": [1.1, 1.0, 1.1, 1.1], "volume": [0.0, 1.0, 0.0, 0.0]}[name]


def test_iso_time_shows_microseconds_only_where_there_are_some() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00Z"
    assert iso_time(1_500_000) == "1970-01-01T00:00:01.500000Z"


def test_bars_compare_by_identity() -> None:
    bars = bars_of("H1", TIMES)
    assert bars != Bars(bars.timeframe, bars.frame)
    assert np.shares_memory(bars.close, bars.close)


def test_a_week_shortened_by_the_change_of_clocks_is_not_closer_than_w1() -> None:
    # Monday 00:00 in Athens, which went to summer time on Sunday 2024-03-31.
    times = [utc("2024-03-17 22:00"), utc("2024-03-24 22:00"), utc("2024-03-31 21:00"), utc("2024-04-07 21:00")]
    bars = bars_of("W1", times)
    assert bars.close_time_us.tolist() == [*(as_us(time) for time in times[1:]), as_us(utc("2024-04-14 21:00"))]
    with pytest.raises(BadBars, match=r"row 2 .*time is closer than W1 to the row before"):
        bars_of("W1", [times[0], utc("2024-03-24 20:59")])


def test_days_of_23_and_25_hours_and_months_of_any_length_are_no_mistake() -> None:
    bars_of("D1", [utc("2024-03-30 22:00"), utc("2024-03-31 21:00")])
    bars_of("D1", [utc("2024-10-26 21:00"), utc("2024-10-27 22:00")])
    bars_of("MN1", [utc("2024-01-01 00:00"), utc("2024-02-01 00:00"), utc("2024-02-29 00:00")])
    with pytest.raises(BadBars, match="closer than D1"):
        bars_of("D1", [utc("2024-03-30 22:00"), utc("2024-03-31 20:59")])
    with pytest.raises(BadBars, match="closer than MN1"):
        bars_of("MN1", [utc("2024-02-01 00:00"), utc("2024-02-28 23:59")])


def test_a_day_of_25_hours_is_not_known_an_hour_early() -> None:
    saturday, sunday, monday = utc("2024-10-25 21:00"), utc("2024-10-26 21:00"), utc("2024-10-27 22:00")
    days = bars_of("D1", [saturday, sunday, monday])
    assert days.close_time_us.tolist() == [as_us(sunday), as_us(monday), as_us(utc("2024-10-28 22:00"))]
    # Cut off after it, the day still closes when it did: the run's end takes no bar's last hour away.
    assert days.rows(0, 2).close_time_us.tolist() == [as_us(sunday), as_us(monday)]
    assert days.rows(0, 2).rows(1, 2).close_time_us.tolist() == [as_us(monday)]


def test_over_a_hole_a_day_closes_after_its_nominal_length_and_two_hours_are_no_hole() -> None:
    def closes(gap: timedelta) -> int:
        start = utc("2024-03-08 22:00")
        return int(bars_of("D1", [start, start + gap]).close_time_us[0] - as_us(start)) // 60_000_000

    assert closes(timedelta(hours=26)) == 26 * 60
    assert closes(timedelta(hours=26, minutes=1)) == 24 * 60
    assert closes(timedelta(days=2)) == 24 * 60
    assert closes(timedelta(hours=23)) == 23 * 60


def test_a_month_closes_with_the_next_one_within_three_days_else_a_calendar_month_later() -> None:
    # Athens' months, in UTC: 30 November 22:00 is followed by 31 December 22:00, a day after the same day's.
    times = [utc("2023-11-30 22:00"), utc("2023-12-31 22:00"), utc("2024-01-31 22:00"), utc("2024-05-31 21:00")]
    closes = bars_of("MN1", times).close_time_us.tolist()
    assert closes == [as_us(times[1]), as_us(times[2]), as_us(utc("2024-02-29 22:00")), as_us(utc("2024-06-30 21:00"))]
