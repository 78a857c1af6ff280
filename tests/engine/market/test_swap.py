"""Which bars carry which nights, and when on that bar."""

from datetime import timedelta

import pytest

from engine.market.bars import Bars
from engine.market.swap import nights
from tests.engine.bar_builders import bars_of, closes_bars, utc


def charged(bars: Bars) -> list[tuple[str, str, int]]:
    found = nights(bars)
    times = [str(bars.frame["time"][int(row)])[:16] for row in found.rows]
    kinds = [
        "before the open" if before else "at the close" if at else "inside"
        for before, at in zip(found.before_open.tolist(), found.at_close.tolist(), strict=True)
    ]
    return list(zip(times, kinds, found.weights.tolist(), strict=True))


def test_a_week_of_hours_costs_seven_nights() -> None:
    week = closes_bars("H1", utc("2024-01-07 22:00"), [1.1] * (24 * 5 + 3))
    assert charged(week) == [
        ("2024-01-08 21:00", "at the close", 1),
        ("2024-01-09 21:00", "at the close", 1),
        ("2024-01-10 21:00", "at the close", 3),
        ("2024-01-11 21:00", "at the close", 1),
        ("2024-01-12 21:00", "at the close", 1),
    ]


@pytest.mark.parametrize(
    ("day", "bar"),
    [("2024-03-08", "21:00"), ("2024-03-11", "20:00"), ("2024-11-01", "20:00"), ("2024-11-04", "21:00")],
)
def test_five_in_the_afternoon_follows_new_york(day: str, bar: str) -> None:
    bars = closes_bars("H1", utc(f"{day} 18:00"), [1.1] * 6)
    assert charged(bars) == [(f"{day} {bar}", "at the close", 1)]


def test_a_night_falls_on_the_first_bar_that_closes_at_or_after_it() -> None:
    bars = bars_of("H4", [utc("2024-01-08 12:00"), utc("2024-01-08 20:00"), utc("2024-01-09 00:00")])
    assert charged(bars) == [("2024-01-08 20:00", "inside", 1)]


def test_nights_of_a_hole_fall_before_the_open_of_the_bar_behind_it() -> None:
    bars = bars_of("H1", [utc("2024-01-09 10:00"), utc("2024-01-12 10:00"), utc("2024-01-12 22:00")])
    assert charged(bars) == [
        ("2024-01-12 10:00", "before the open", 1),
        ("2024-01-12 10:00", "before the open", 3),
        ("2024-01-12 10:00", "before the open", 1),
        ("2024-01-12 22:00", "before the open", 1),
    ]


def test_weekend_afternoons_charge_nothing_where_the_market_is_open() -> None:
    weekend = closes_bars("H1", utc("2024-01-13 00:00"), [1.1] * 48)
    assert charged(weekend) == []


def test_a_night_at_the_first_close_counts_and_one_at_the_last_does_not() -> None:
    assert charged(closes_bars("H1", utc("2024-01-08 20:00"), [1.1, 1.1])) == []
    assert charged(closes_bars("H1", utc("2024-01-08 20:00"), [1.1] * 3)) == [("2024-01-08 21:00", "at the close", 1)]
    assert charged(closes_bars("H1", utc("2024-01-08 21:00"), [1.1] * 2)) == [("2024-01-08 21:00", "at the close", 1)]
    assert charged(closes_bars("H1", utc("2024-01-08 22:00"), [1.1] * 2)) == []


def test_daily_bars_of_utc_carry_the_night_that_falls_inside_them_the_last_one_too() -> None:
    start = utc("2024-01-08 00:00")
    days = bars_of("D1", [start + timedelta(days=n) for n in range(5)])
    assert charged(days) == [
        ("2024-01-09 00:00", "inside", 1),
        ("2024-01-10 00:00", "inside", 3),
        ("2024-01-11 00:00", "inside", 1),
        ("2024-01-12 00:00", "inside", 1),
    ]
