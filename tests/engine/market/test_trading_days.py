"""Candles above H1 begin with the trading day of their market, wherever clocks change, and never on a Sunday night."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from engine.market.bars import Bars
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.resampling import join_context, resample
from engine.market.timeframes import timeframe
from tests.engine.bar_builders import as_us, bars_of, closes_bars, utc
from tests.engine.run_builders import EURUSD

BTCUSD = packaged_instruments()["BTCUSD"]


def hours(start: str, end: str) -> Iterator[datetime]:
    moment = utc(start)
    while moment < utc(end):
        yield moment
        moment += timedelta(hours=1)


def fx_hours(weeks: Sequence[tuple[str, str]]) -> Bars:
    """H1 bars of these stretches, closes rising from 1.0000 by a point a bar."""
    times = [time for start, end in weeks for time in hours(start, end)]
    closes = [1.0 + i / 10_000 for i in range(len(times))]
    return bars_of("H1", times, open=closes, high=closes, low=closes, close=closes)


TWO_WEEKS = fx_hours([("2024-03-03 22:00", "2024-03-08 22:00"), ("2024-03-10 21:00", "2024-03-15 21:00")])
"""The Sunday between them, New York goes to summer time."""


def made(bars: Bars, name: str, instrument: Instrument = EURUSD) -> list[tuple[datetime, datetime]]:
    longer = resample(bars, timeframe(name), instrument)
    opens = longer.frame["time"].to_list()
    closes = [utc("1970-01-01 00:00") + timedelta(microseconds=each) for each in longer.close_time_us.tolist()]
    return list(zip(opens, closes, strict=True))


def test_a_week_of_fx_has_five_days_from_17_new_york_and_no_candle_of_two_hours_on_sunday() -> None:
    assert made(TWO_WEEKS, "D1") == [
        *((utc(f"2024-03-0{day} 22:00"), utc(f"2024-03-0{day + 1} 22:00")) for day in range(3, 8)),
        *((utc(f"2024-03-{day} 21:00"), utc(f"2024-03-{day + 1} 21:00")) for day in range(10, 15)),
    ]


def test_a_week_of_fx_ends_on_fridays_price_and_not_on_sunday_nights() -> None:
    weeks = resample(TWO_WEEKS, timeframe("W1"), EURUSD)
    assert made(TWO_WEEKS, "W1") == [
        (utc("2024-03-03 22:00"), utc("2024-03-10 21:00")),
        (utc("2024-03-10 21:00"), utc("2024-03-17 21:00")),
    ]
    assert weeks.close.tolist() == [TWO_WEEKS.close[119], TWO_WEEKS.close[239]]


def test_h4_is_counted_from_17_new_york_too() -> None:
    opens = [time for time, _ in made(TWO_WEEKS, "H4")]
    assert [time.hour for time in opens[:6]] == [22, 2, 6, 10, 14, 18]
    assert [time.hour for time in opens[30:36]] == [21, 1, 5, 9, 13, 17]
    assert len(opens) == 60


def test_stray_bars_of_the_closed_weekend_belong_to_mondays_candle_which_keeps_its_time() -> None:
    bars = fx_hours([
        ("2024-03-07 22:00", "2024-03-08 22:00"),
        ("2024-03-09 12:00", "2024-03-09 13:00"),
        ("2024-03-10 21:00", "2024-03-11 21:00"),
    ])  # fmt: skip
    for name in ("D1", "H12", "H4"):
        longer = resample(bars, timeframe(name), EURUSD)
        monday = longer.frame["time"].to_list().index(utc("2024-03-10 21:00"))
        assert longer.open[monday] == bars.close[24]
        assert longer.close[monday - 1] == bars.close[23]
        assert longer.begins_us is not None
        assert longer.begins_us[monday] == as_us(utc("2024-03-09 12:00"))
        assert longer.close_time_us[monday - 1] == as_us(utc("2024-03-08 22:00"))
    weeks = resample(fx_hours([("2024-03-03 22:00", "2024-03-08 22:00"), ("2024-03-09 12:00", "2024-03-09 13:00")]),
                     timeframe("W1"), EURUSD)  # fmt: skip
    assert weeks.frame["time"].to_list() == [utc("2024-03-03 22:00")]


def test_data_that_begin_with_a_stray_bar_hold_mondays_whole_candle() -> None:
    bars = fx_hours([("2024-03-09 12:00", "2024-03-09 13:00"), ("2024-03-10 21:00", "2024-03-11 21:00")])
    assert made(bars, "D1") == [(utc("2024-03-10 21:00"), utc("2024-03-11 21:00"))]


def test_a_month_begins_with_the_trading_day_of_its_first_or_the_one_that_folds_it_in() -> None:
    # 1 June 2024 is a Saturday: June begins with Monday the 3rd, on Sunday the 2nd. 1 July is a Monday.
    weeks = [("2024-04-28 21:00", "2024-05-03 21:00")]
    weeks += [
        (f"{utc('2024-05-05 21:00') + timedelta(weeks=week):%Y-%m-%d %H:%M}",
         f"{utc('2024-05-10 21:00') + timedelta(weeks=week):%Y-%m-%d %H:%M}")
        for week in range(13)
    ]  # fmt: skip
    assert made(fx_hours(weeks), "MN1") == [
        (utc("2024-04-30 21:00"), utc("2024-06-02 21:00")),
        (utc("2024-06-02 21:00"), utc("2024-06-30 21:00")),
        (utc("2024-06-30 21:00"), utc("2024-07-31 21:00")),
    ]


def test_the_closed_weekend_after_the_data_is_not_missing_but_fridays_last_hour_is() -> None:
    week = ("2024-03-03 22:00", "2024-03-08 22:00")
    assert len(made(fx_hours([week]), "W1")) == 1
    assert made(fx_hours([(week[0], "2024-03-08 21:00")]), "W1") == []
    assert len(made(fx_hours([(week[0], "2024-03-08 21:00")]), "D1")) == 4


def test_markets_without_weekends_keep_utc_days_weeks_from_monday_and_months_of_the_calendar() -> None:
    bars = closes_bars("H12", utc("2023-12-31 00:00"), [1.0] * 80)
    assert made(bars, "W1", BTCUSD)[0] == (utc("2024-01-01 00:00"), utc("2024-01-08 00:00"))
    assert made(bars, "D1", BTCUSD)[0] == (utc("2023-12-31 00:00"), utc("2024-01-01 00:00"))
    assert made(bars, "MN1", BTCUSD) == [(utc("2024-01-01 00:00"), utc("2024-02-01 00:00"))]


def test_a_day_start_of_ones_own_folds_nothing() -> None:
    utc_days = replace(EURUSD, day_start="00:00 UTC")
    opens = [time for time, _ in made(TWO_WEEKS, "D1", utc_days)]
    # Sunday's two or three hours are a day again, and Friday's day is whole: the weekend after it is no hole.
    assert [time.day for time in opens] == [3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]
    assert {time.hour for time in opens} == {0}


def test_a_day_of_25_hours_has_a_short_last_h4_and_one_of_23_too() -> None:
    athens = replace(BTCUSD, day_start="00:00 Europe/Athens")
    autumn = made(closes_bars("H1", utc("2024-10-26 21:00"), [1.0] * 25), "H4", athens)
    assert autumn[-1] == (utc("2024-10-27 21:00"), utc("2024-10-27 22:00"))
    assert len(autumn) == 7
    spring = made(closes_bars("H1", utc("2024-03-30 22:00"), [1.0] * 23), "H4", athens)
    assert spring[-1] == (utc("2024-03-31 18:00"), utc("2024-03-31 21:00"))
    assert made(closes_bars("H1", utc("2024-10-26 21:00"), [1.0] * 25), "D1", athens) == [
        (utc("2024-10-26 21:00"), utc("2024-10-27 22:00"))
    ]


def test_a_day_start_that_clocks_skip_is_taken_an_hour_later() -> None:
    early = replace(BTCUSD, day_start="02:30 America/New_York")
    days = made(closes_bars("M30", utc("2024-03-09 07:30"), [1.0] * 96), "D1", early)
    assert days == [
        (utc("2024-03-09 07:30"), utc("2024-03-10 07:30")),
        (utc("2024-03-10 07:30"), utc("2024-03-11 06:30")),
    ]


def test_a_bar_made_of_bars_off_the_grid_closes_no_earlier_than_the_last_of_them() -> None:
    bars = closes_bars("H1", utc("2024-03-05 22:30"), [1.0 + i / 100 for i in range(8)])
    longer = resample(bars, timeframe("H4"), EURUSD)
    assert longer.frame["time"].to_list() == [utc("2024-03-06 02:00")]
    assert longer.close_time_us.tolist() == [as_us(utc("2024-03-06 06:30"))]
    joined = join_context(bars, longer)["close"].to_list()
    assert joined == [None] * 7 + [bars.close[7]]
