"""Times as people and programs write them: what each means, and what is in doubt and therefore refused."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.files.times import ReadTimes, TimeRules, read_times
from consumer.adapters.files.unreadable_time import UnreadableTimeError


def read(*written: object, **rules: object) -> ReadTimes:
    return read_times(pl.Series("time", list(written)), TimeRules(**rules))  # type: ignore[arg-type]


def texts(*written: object, **rules: object) -> list[str]:
    return read(*written, **rules).utc.dt.strftime("%Y-%m-%dT%H:%M:%S").to_list()


def refusal(*written: object, **rules: object) -> tuple[int, str]:
    with pytest.raises(UnreadableTimeError) as caught:
        read(*written, **rules)
    return caught.value.row_index, caught.value.what


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-22T03:04:00Z",
        "2024-01-22 03:04",
        "2024-1-22 3:04",
        "2024/01/22 03:04:00",
        "2024.01.22 03:04",
        "20240122 030400",
        "20240122 0304",
        "20240122 03:04:00",
        "22.01.2024 03:04:00.000",
        "22.01.2024 05:04:00.000 GMT+0200",
        "22/01/2024 03:04",
        "22-01-2024 03:04",
        "1/22/2024 3:04",
        "1/22/2024 3:04 AM",
        "1/22/2024 3:04:00am",
        "2024-01-22 03:04:00 UTC",
        "2024-01-22 05:04:00+02",
        "2024-01-22 05:04:00 UTC+02:00",
        "1705892640",
        "1705892640.0",
        "1705892640000",
        "1705892640000000",
        "1705892640000000000",
        1705892640,
        1705892640000,
        1705892640.0,
        datetime(2024, 1, 22, 3, 4, tzinfo=UTC),
    ],
)
def test_every_way_to_write_a_time_means_the_same_moment(written: object) -> None:
    assert texts(written) == ["2024-01-22T03:04:00"]


@pytest.mark.parametrize("written", ["2024-01-22", "22/01/2024", "20240122", 20240122, date(2024, 1, 22)])
def test_a_date_alone_is_its_midnight(written: object) -> None:
    assert texts(written) == ["2024-01-22T00:00:00"]


@pytest.mark.parametrize(
    ("written", "hour"), [("12:00 AM", 0), ("12:30 PM", 12), ("11:59 pm", 23), ("1:00 PM", 13), ("11-PM", 23)]
)
def test_halves_of_the_day_are_told_apart(written: str, hour: int) -> None:
    assert read(f"2024-01-22 {written}").utc[0].hour == hour


@pytest.mark.parametrize(
    ("edge", "unit"),
    [(10**8, "s"), (10**10, "s"), (10**11, "ms"), (10**13, "ms"), (10**14, "us"), (10**16, "us"), (10**17, "ns")],
)
def test_numbers_are_counts_by_their_size(edge: int, unit: str) -> None:
    assert read(edge).kind == unit
    assert read(str(edge)).kind == unit


@pytest.mark.parametrize("number", [10**10 + 1, 10**11 - 1, 10**13 + 1, 10**14 - 1, 10**16 + 1, 10**17 - 1, 10**8 - 2])
@pytest.mark.parametrize("as_text", [False, True])
def test_numbers_between_the_units_are_refused(number: int, as_text: bool) -> None:
    refusal(str(number) if as_text else number)


def test_a_file_may_change_its_unit_in_the_middle_as_binances_did() -> None:
    read_both = read("1735689540000", "1735689600000000")
    assert read_both.utc.to_list() == [datetime(2024, 12, 31, 23, 59, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)]


def test_day_and_month_in_doubt_are_refused_naming_the_option() -> None:
    row, what = refusal("02.01.2024 00:00", "03.01.2024 00:00")
    assert row == 0
    assert what.endswith("--date-order dmy or --date-order mdy")
    assert texts("02.01.2024", date_order="dmy") == ["2024-01-02T00:00:00"]
    assert texts("02.01.2024", date_order="mdy") == ["2024-02-01T00:00:00"]


def test_one_day_above_twelve_settles_all_others() -> None:
    assert texts("02/01/2024", "13/01/2024") == ["2024-01-02T00:00:00", "2024-01-13T00:00:00"]
    assert texts("01/02/2024", "01/13/2024") == ["2024-01-02T00:00:00", "2024-01-13T00:00:00"]


def test_dates_of_both_orders_are_refused_at_the_first_that_does_not_fit() -> None:
    row, what = refusal("13/01/2024", "01/14/2024")
    assert row == 1
    assert "read as dmy, as other rows of the file ask for" in what


def test_an_order_that_was_named_does_not_give_way_to_evidence() -> None:
    assert refusal("13/01/2024", date_order="mdy")[1].endswith("(read as mdy, as --date-order says)")
    assert "--date-order ymd" in refusal("13/01/2024", date_order="ymd")[1]
    assert texts("2024-01-02", date_order="dmy") == ["2024-01-02T00:00:00"], "the year first leaves no doubt"


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("yesterday", "time is not ISO 8601, nor another form that is known"),
        ("24-01-02", "time is not ISO 8601, nor another form that is known"),
        ("1.7041536E+12", "time is not ISO 8601, nor another form that is known"),
        ("2024-01-22 03:04 CET", "time is not ISO 8601, nor another form that is known"),
        ("2024-01-22 13:04 PM", "there is no such date or time of day"),
        ("2024-02-30", "there is no such date or time of day"),
        ("2024-01-22 24:00", "there is no such date or time of day"),
        ("2024-01-22T03:04:05.1234567Z", "time is finer than a microsecond"),
        ("1705892640000000001", "time is finer than a microsecond"),
        (1705892640.5, "time is not a whole number"),
        (None, "time is missing"),
        (True, "time is Boolean"),
    ],
)
def test_what_is_no_time_is_refused(written: object, what: str) -> None:
    assert refusal(written)[1].startswith(what)


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_times_that_no_calendar_shows_are_refused(unit: str) -> None:
    far = pl.Series("time", [0, 2**62]).cast(pl.Datetime(unit, "UTC"))  # type: ignore[arg-type]
    with pytest.raises(UnreadableTimeError) as caught:
        read_times(far, TimeRules())
    assert (caught.value.row_index, caught.value.what) == (1, "time is beyond the years 1 to 9999")
    assert refusal("9999-12-31T23:59-05:00")[1] == "time is beyond the years 1 to 9999"


def test_counts_and_dates_are_not_mixed() -> None:
    assert refusal("1705892640", "2024-01-22")[0] == 1
    assert refusal("2024-01-22", "1705892640")[0] == 1


AUTUMN = ("2024-10-27 02:00", "2024-10-27 03:00", "2024-10-27 03:00", "2024-10-27 04:00")
"""Athens; the hour from 03:00 comes twice."""


def test_the_hour_that_comes_twice_is_told_apart_in_a_file_with_its_newest_first_too() -> None:
    rising = read(*AUTUMN, timezone="Europe/Athens")
    falling = read(*reversed(AUTUMN), timezone="Europe/Athens", may_fall=True)
    assert falling.newest_first
    assert falling.utc.to_list() == rising.utc.to_list()[::-1]


def test_a_refusal_names_the_row_of_the_file_with_its_newest_first() -> None:
    once = [AUTUMN[3], AUTUMN[2], AUTUMN[0], "2024-10-27 01:00"]
    row, what = refusal(*once, timezone="Europe/Athens", may_fall=True)
    assert (row, what.startswith("the clock in Europe/Athens showed this time twice")) == (1, True)


def test_signals_are_never_turned_round() -> None:
    assert not read("2024-01-02", "2024-01-01").newest_first


def test_a_day_that_begins_when_its_clock_has_gone_forward_begins_at_its_first_moment() -> None:
    days = ("2018-11-03", "2018-11-04", "2018-11-05")
    assert texts(*days, timezone="America/Sao_Paulo") == [
        "2018-11-03T03:00:00",
        "2018-11-04T03:00:00",
        "2018-11-05T02:00:00",
    ]


def test_a_day_that_a_country_left_out_is_refused() -> None:
    assert refusal("2011-12-30", timezone="Pacific/Apia")[1].startswith("there is no such time in Pacific/Apia")


@pytest.mark.parametrize(
    ("zone", "written", "utc"),
    [
        ("America/New_York+7", "2024-01-08 00:00", "2024-01-07T22:00:00"),
        ("America/New_York+7", "2024-07-08 00:00", "2024-07-07T21:00:00"),
        # New York has changed its clock, Athens has not yet.
        ("America/New_York+7", "2024-03-18 00:00", "2024-03-17T21:00:00"),
        ("Europe/Athens", "2024-03-18 00:00", "2024-03-17T22:00:00"),
        ("UTC+2", "2024-01-08 00:00", "2024-01-07T22:00:00"),
        ("UTC-05:30", "2024-01-08 00:00", "2024-01-08T05:30:00"),
        ("Etc/GMT+5", "2024-01-08 00:00", "2024-01-08T05:00:00"),
    ],
)
def test_a_zone_may_be_another_with_hours_added(zone: str, written: str, utc: str) -> None:
    assert texts(written, timezone=zone) == [utc]


@given(
    st.lists(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20),  # noqa: DTZ001
    st.sampled_from(["Europe/Athens", "America/New_York", "America/New_York+7", "Asia/Kolkata"]),
)
def test_hourly_times_of_any_stretch_come_back_from_a_zones_clock(starts: list[datetime], zone: str) -> None:
    """A whole stretch of hours has both passes of an hour that comes twice, and none of one that is left out."""
    first = min(starts).replace(minute=0, second=0, microsecond=0)
    utc = pl.datetime_range(first, first + timedelta(days=400), "1h", eager=True, time_zone="UTC", time_unit="us")
    iana, _, hours = zone.partition("+")
    clock = utc.dt.convert_time_zone(iana).dt.replace_time_zone(None).dt.offset_by(f"{hours or 0}h")
    # A stretch that begins or ends within the hour that comes twice cannot be told apart.
    if clock[0] == clock[1] or clock[1] == clock[2] or clock[-1] == clock[-2] or clock[-2] == clock[-3]:
        return
    text = clock.dt.strftime("%Y-%m-%d %H:%M").alias("time")
    assert read_times(text, TimeRules(zone)).utc.to_list() == utc.to_list()
