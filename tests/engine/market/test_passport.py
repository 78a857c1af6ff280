"""The passport tells what is odd about bars, and only that."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.market.bars import Bars
from engine.market.passport import data_passport
from tests.engine.bar_builders import bars_of, closes_bars, utc

SUNDAY = utc("2024-01-07 22:00")


def week(hours: Sequence[int], **columns: Sequence[float | None]) -> Bars:
    return bars_of("H1", [SUNDAY + timedelta(hours=hour) for hour in hours], **columns)


def test_a_whole_fx_week_and_the_next_have_no_gap() -> None:
    hours = [*range(120), *range(168, 288)]
    moving = {"high": [1.2] * 240}
    passport = data_passport(week(hours, **moving), "fx")
    assert (passport.gaps, passport.missing_bars, passport.bars_while_closed) == (0, 0, 0)
    assert (passport.count, passport.timeframe) == (240, "H1")
    assert (passport.first_time, passport.last_time) == ("2024-01-07T22:00:00Z", "2024-01-19T21:00:00Z")


def test_the_same_weekend_is_a_gap_where_the_market_never_closes() -> None:
    passport = data_passport(week([*range(120), *range(168, 288)]), "always")
    assert (passport.gaps, passport.missing_bars, passport.longest_gap_bars) == (1, 48, 48)
    assert passport.longest_gap_after == "2024-01-12T21:00:00Z"


def test_the_nights_of_an_exchange_are_no_gaps_but_a_day_without_a_bar_is() -> None:
    opening = utc("2024-01-08 15:00")
    days = [0, 1, 2, 3, 4, 7, 9, 10]
    times = [opening + timedelta(days=day, hours=hour) for day in days for hour in range(7)]
    passport = data_passport(bars_of("H1", times), "weekdays")
    assert (passport.gaps, passport.missing_bars) == (1, 7)
    assert passport.longest_gap_after == "2024-01-15T21:00:00Z"
    assert data_passport(bars_of("H1", times[:42]), "fx").gaps == 5


def test_a_missing_daily_bar_of_a_share_is_a_gap_and_its_weekend_is_none() -> None:
    times = [utc("2024-01-08 00:00") + timedelta(days=day) for day in (0, 1, 2, 3, 4, 7, 9)]
    passport = data_passport(bars_of("D1", times), "weekdays")
    assert (passport.gaps, passport.missing_bars, passport.bars_while_closed) == (1, 1, 0)


def test_missing_bars_are_counted_within_the_open_week_only() -> None:
    hours = [*range(10), *range(12, 118), *range(171, 288)]
    passport = data_passport(week(hours), "fx")
    assert (passport.gaps, passport.missing_bars, passport.longest_gap_bars) == (2, 2 + 2 + 3, 5)
    assert passport.longest_gap_after == "2024-01-12T19:00:00Z"
    sentence = "7 bars are missing in 2 gaps of the trading week, the longest 5 bars after 2024-01-12T19:00:00Z"
    assert sentence in passport.warnings


def test_a_weekend_with_a_clock_change_is_no_gap() -> None:
    # 10 March 2024: Friday's close is 22:00 UTC, Sunday's open 21:00 UTC.
    times = [utc("2024-03-08 21:00"), utc("2024-03-10 21:00")]
    assert data_passport(bars_of("H1", times), "fx").gaps == 0
    assert data_passport(bars_of("H1", [times[0], times[1] + timedelta(hours=1)]), "fx").missing_bars == 1


def test_days_and_four_hours_without_a_whole_bar_of_open_market_lack_nothing() -> None:
    days = [utc("2024-01-11 00:00"), utc("2024-01-12 00:00"), utc("2024-01-15 00:00")]
    assert data_passport(bars_of("D1", days), "fx").gaps == 0
    quarters = [utc("2024-01-12 20:00"), utc("2024-01-15 00:00")]
    assert data_passport(bars_of("H4", quarters), "fx").gaps == 0
    assert data_passport(bars_of("D1", [days[0], days[2]]), "fx").missing_bars == 1


def test_bars_of_the_closed_weekend_are_counted_and_none_elsewhere() -> None:
    passport = data_passport(week([118, 119, 120, 121, 167, 168]), "fx")
    assert passport.bars_while_closed == 3
    (moving,) = data_passport(week([118, 119, 120, 121, 122], high=[1.2] * 5), "fx").warnings
    assert moving == "3 bars lie in the closed part of the FX week"
    assert data_passport(week([118, 119, 120, 121, 167, 168]), "always").bars_while_closed == 0


def test_an_export_that_fills_the_weekend_is_told_the_way_on() -> None:
    (warning,) = data_passport(week([118, 119, 120, 121, 122], high=[1.2, 1.2, 1.2, 1.1, 1.1]), "fx").warnings
    assert warning == (
        "3 bars lie in the closed part of the FX week, 2 of them flat, which is filler:"
        " ask for the export without flats, or leave them out before the import"
    )


def test_one_bar_is_enough() -> None:
    passport = data_passport(week([5], high=[1.2]), "fx")
    assert (passport.count, passport.gaps, passport.warnings) == (1, 0, ())
    assert passport.first_time == passport.last_time


def test_stretches_without_range_and_of_the_same_prices_are_found() -> None:
    highs = [1.2, 1.1, 1.1, 1.2, 1.2, 1.2] + [1.1] * 12
    passport = data_passport(week(list(range(18)), high=highs), "fx")
    assert (passport.zero_range_bars, passport.longest_zero_range_stretch) == (14, 12)
    assert (passport.repeated_bars, passport.longest_repeated_stretch) == (1 + 2 + 11, 12)
    assert "12 bars in a row have no range" in passport.warnings
    assert "12 bars in a row have the same prices" in passport.warnings


def test_short_stretches_are_counted_but_no_warning() -> None:
    passport = data_passport(week(list(range(12)), high=[1.2] * 3 + [1.1] * 9), "fx")
    assert passport.longest_zero_range_stretch == 9
    assert passport.warnings == ()


@pytest.mark.parametrize(("jump", "outliers"), [(2.0, 0), (2.1, 1)])
def test_a_bar_beyond_twenty_median_ranges_is_an_outlier(jump: float, outliers: int) -> None:
    lows = [1.0] * 20
    highs = [1.1] * 19 + [1.0 + jump]
    passport = data_passport(week(list(range(20)), low=lows, open=lows, close=lows, high=highs), "fx")
    assert passport.outliers == outliers
    assert passport.first_outlier == ("2024-01-08T17:00:00Z" if outliers else None)


def test_a_jump_between_neighbours_is_an_outlier_and_one_over_a_gap_is_not() -> None:
    steady, jumped = [1.0] * 10, [9.0] * 10
    prices = {"open": steady + jumped, "close": steady + jumped, "low": steady + jumped}
    highs = [price + 0.1 for price in steady + jumped]
    touching = data_passport(week(list(range(20)), high=highs, **prices), "fx")
    apart = data_passport(week([*range(10), *range(11, 21)], high=highs, **prices), "fx")
    assert (touching.outliers, apart.outliers) == (1, 0)
    assert "1 bars move more than 20 median ranges, the first at 2024-01-08T08:00:00Z" in touching.warnings


def test_the_passport_names_the_values_and_changes_with_them() -> None:
    bars = closes_bars("H1", SUNDAY, [1.1, 1.2, 1.3])
    other = closes_bars("H1", SUNDAY, [1.1, 1.2, 1.4])
    assert data_passport(bars, "fx").digest == bars.digest != data_passport(other, "fx").digest
    assert replace(data_passport(bars, "fx")) == data_passport(bars, "fx")
