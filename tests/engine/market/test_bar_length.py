"""Bars that are plainly of another timeframe are told, and sparse ones are not taken for longer ones."""

import numpy as np
import pytest

from engine.market.bar_length import other_length
from engine.market.timeframes import DAY_US, HOUR_US, MINUTE_US, timeframe

MONDAY_US = 19_730 * DAY_US


def told(times_us: list[int], of: str) -> str | None:
    other = other_length(np.array(times_us, np.int64) + MONDAY_US, timeframe(of))
    return None if other is None else other.name


WEEKDAYS = [day * DAY_US for day in range(60) if day % 7 < 5]
SPARSE_MINUTES = [minute * MINUTE_US for minute in (0, 2, 4, 7, 9, 14, 16)]
FIRSTS_OF_2024 = [day * DAY_US for day in (0, 31, 60, 91, 121, 152, 182)]


@pytest.mark.parametrize(
    ("times_us", "of", "other"),
    [
        ([hour * HOUR_US for hour in range(48)], "M30", "H1"),
        ([hour * HOUR_US for hour in range(48)], "H1", None),
        ([hour * HOUR_US for hour in range(48)], "H4", "H1"),
        ([hour * HOUR_US for hour in (0, 1, 2, 24, 25, 26, 72, 73)], "H1", None),
        (WEEKDAYS, "D1", None),
        (WEEKDAYS, "H4", "D1"),
        (WEEKDAYS, "W1", "D1"),
        ([week * 7 * DAY_US for week in range(9)], "D1", "W1"),
        (FIRSTS_OF_2024, "W1", "MN1"),
        (FIRSTS_OF_2024, "MN1", None),
        ([time - HOUR_US * (time > 20 * DAY_US) for time in WEEKDAYS], "D1", None),
        (SPARSE_MINUTES, "M1", None),
        ([0, HOUR_US], "M30", None),
    ],
)
def test_a_length_is_told_by_the_distances(times_us: list[int], of: str, other: str | None) -> None:
    assert told(times_us, of) == other
