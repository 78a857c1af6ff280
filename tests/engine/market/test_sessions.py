"""Days end at 17:00 New York, whatever the season."""

from datetime import date, timedelta
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.market.instruments import Session
from engine.market.sessions import fx_weekends, new_york_closes, session_days, weekday
from tests.engine.bar_builders import as_us, utc
from tests.engine.reference.calendar import trading_day

EPOCH_DAY = date(1970, 1, 1)


@given(
    st.lists(st.integers(0, 40 * 365 * 24 * 4), min_size=1, max_size=50, unique=True), st.sampled_from(["fx", "always"])
)
def test_days_agree_with_the_reference_calendar(quarters: list[int], session: Literal["fx", "always"]) -> None:
    times = [as_us(utc("1985-01-01 00:00")) + 900_000_000 * quarter for quarter in sorted(quarters)]
    days = session_days(np.array(times), session)
    labels = [trading_day(time_us, session) for time_us in times]
    got = [(EPOCH_DAY + timedelta(days=int(d)), int(row)) for d, row in zip(days.label, days.last_row, strict=True)]
    last = {label: row for row, label in enumerate(labels)}
    assert got == sorted(last.items())


@pytest.mark.parametrize(
    ("time", "label"),
    [
        ("2024-03-07 21:59", date(2024, 3, 7)),  # winter: 17:00 is 22:00 UTC
        ("2024-03-07 22:00", date(2024, 3, 8)),
        ("2024-03-08 22:00", date(2024, 3, 11)),  # Friday evening is Monday's
        ("2024-03-10 20:59", date(2024, 3, 11)),  # Sunday, after the change to summer
        ("2024-03-11 20:59", date(2024, 3, 11)),
        ("2024-03-11 21:00", date(2024, 3, 12)),  # summer: 17:00 is 21:00 UTC
        ("2024-11-03 21:30", date(2024, 11, 4)),  # Sunday, after the change to winter
        ("2024-11-04 21:30", date(2024, 11, 4)),
        ("2024-11-04 22:00", date(2024, 11, 5)),
    ],
)
def test_a_bar_belongs_to_the_new_york_day_in_which_it_opens(time: str, label: date) -> None:
    days = session_days(np.array([as_us(utc(time))]), "fx")
    assert EPOCH_DAY + timedelta(days=int(days.label[0])) == label


def test_no_bars_make_no_days() -> None:
    assert session_days(np.empty(0, np.int64), "fx").label.size == 0


def test_closes_include_both_ends_of_the_range() -> None:
    first, last = as_us(utc("2024-03-08 22:00")), as_us(utc("2024-03-11 21:00"))
    moments, dates = new_york_closes(first, last)
    assert moments.tolist() == [first, first + 86_400_000_000, as_us(utc("2024-03-10 21:00")), last]
    assert weekday(dates).tolist() == [4, 5, 6, 0]
    assert new_york_closes(first + 1, last - 1)[0].size == 2


def test_weekends_last_from_friday_to_sunday_and_an_hour_less_when_clocks_go_forward() -> None:
    monday = as_us(utc("2024-03-11 12:00"))
    begin, end = fx_weekends(monday, monday)
    row = begin.tolist().index(as_us(utc("2024-03-08 22:00")))
    assert end[row] == as_us(utc("2024-03-10 21:00"))
    assert (end > begin).all()


@given(
    st.lists(st.integers(0, 40 * 24 * 4), min_size=1, max_size=60, unique=True),
    st.data(),
    st.sampled_from(["fx", "always"]),
)
def test_the_days_of_the_first_bars_are_those_that_these_bars_have_alone(
    quarters: list[int], data: st.DataObject, session: Session
) -> None:
    times = np.array([as_us(utc("1985-01-01 00:00")) + 900_000_000 * quarter for quarter in sorted(quarters)])
    bars = data.draw(st.integers(1, times.size))
    got, alone = session_days(times, session).of_first(bars), session_days(times[:bars], session)
    assert (got.label.tolist(), got.last_row.tolist()) == (alone.label.tolist(), alone.last_row.tolist())
