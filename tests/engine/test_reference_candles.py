"""The reference makes the candles computed by hand, refuses bad bars, and chooses and bounds what a run is given."""

from dataclasses import replace

import pytest

from tests.engine.goldens.cases import TIMEFRAMES_US
from tests.engine.goldens.resamplings import Resampling, load_resamplings
from tests.engine.reference import Bar, Instrument, RunRefusedError, Series
from tests.engine.reference.candles import close_moments, refuse_bad_bars, resample
from tests.engine.reference.loading import Choice, choose_source, closed_at, load_context, load_conversion, load_run
from tests.engine.reference.model import DAY_US, HOUR_US, MONTH_US, WEEK_US

MONDAY_US = 1_704_672_000_000_000
"""2024-01-08 00:00 UTC."""


@pytest.mark.parametrize("case", load_resamplings(), ids=lambda case: case.name)
def test_the_reference_makes_the_candles_computed_by_hand(case: Resampling) -> None:
    made = resample(case.source, case.timeframe_us, case.instrument)
    closes_us = close_moments(made.bars, made.timeframe_us)
    assert [bar.time_us for bar in made.bars] == [candle.open_us for candle in case.candles]
    for candle, bar, close_us in zip(case.candles, made.bars, closes_us, strict=True):
        assert candle.is_that(bar, close_us)


def test_a_candle_that_holds_stray_bars_says_since_when_its_prices_count() -> None:
    friday_us = MONDAY_US + 4 * DAY_US
    hours = [*range(22), *range(30, 31), *range(70, 96)]
    source = Series(HOUR_US, [_bar(friday_us + hour * HOUR_US) for hour in hours])
    (monday,) = [bar for bar in resample(source, DAY_US, Instrument()).bars if bar.begins_us != bar.time_us]
    assert (monday.begins_us, monday.time_us) == (friday_us + 30 * HOUR_US, friday_us + 70 * HOUR_US)


@pytest.mark.parametrize(
    ("timeframe_us", "spacing_us", "is_taken"),
    [
        (HOUR_US, HOUR_US, True),
        (HOUR_US, HOUR_US - 1, False),
        (DAY_US, 23 * HOUR_US, True),
        (DAY_US, 23 * HOUR_US - 1, False),
        (WEEK_US, 167 * HOUR_US, True),
        (WEEK_US, 167 * HOUR_US - 1, False),
        (MONTH_US, 28 * DAY_US, True),
        (MONTH_US, 28 * DAY_US - 1, False),
    ],
)
def test_only_days_weeks_and_months_may_be_shorter_than_their_name(
    timeframe_us: int, spacing_us: int, is_taken: bool
) -> None:
    series = Series(timeframe_us, [_bar(0), _bar(spacing_us)])
    if is_taken:
        refuse_bad_bars(series)
    else:
        with pytest.raises(RunRefusedError, match=r"row 2: closer"):
            refuse_bad_bars(series)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (Bar(0, 1.0, 1.2, 0.9, 1.1), "do not rise"),
        (Bar(HOUR_US, 1.0, 1.05, 0.9, 1.1), "do not hold"),
        (Bar(HOUR_US, 1.0, 1.2, 1.05, 1.1), "do not hold"),
        (Bar(HOUR_US, 1.0, 1.2, 0.0, 1.1), "no price"),
        (Bar(HOUR_US, 1.0, float("inf"), 0.9, 1.1), "no price"),
        (Bar(HOUR_US, 1.0, 1.2, 0.9, float("nan")), "no price"),
        (Bar(HOUR_US, 1.0, 1.2, 0.9, 1.1, -1.0), "no spread"),
    ],
)
def test_a_bad_bar_is_refused_with_its_row_and_time(bad: Bar, what: str) -> None:
    with pytest.raises(RunRefusedError, match=f"row 2: .*{what}") as refusal:
        refuse_bad_bars(Series(HOUR_US, [_bar(0), bad]))
    assert refusal.value.time_us == bad.time_us


def test_no_bars_are_refused() -> None:
    with pytest.raises(RunRefusedError, match="no bars"):
        refuse_bad_bars(Series(HOUR_US, []))


@pytest.mark.parametrize(
    ("timeframe", "next_hours", "close_hours"),
    [
        ("H4", 5, 4),
        ("D1", 22, 22),
        ("D1", 23, 23),
        ("D1", 26, 26),
        ("D1", 27, 24),
        ("D1", 72, 24),
        ("W1", 167, 167),
        ("W1", 170, 170),
        ("W1", 171, 168),
        # From 8 January a calendar month is 31 days.
        ("MN1", 28 * 24, 28 * 24),
        ("MN1", 34 * 24, 34 * 24),
        ("MN1", 34 * 24 + 1, 31 * 24),
    ],
)
def test_a_long_bar_closes_when_the_next_one_opens_about_its_length_later(
    timeframe: str, next_hours: int, close_hours: int
) -> None:
    bars = [_bar(MONDAY_US), _bar(MONDAY_US + next_hours * HOUR_US)]
    assert close_moments(bars, TIMEFRAMES_US[timeframe])[0] == MONDAY_US + close_hours * HOUR_US


def test_a_context_shows_only_what_has_closed() -> None:
    context = Series(4 * HOUR_US, [_bar(n * 4 * HOUR_US) for n in range(3)])
    assert [closed_at(context, hour * HOUR_US) for hour in (3, 4, 7, 8, 12, 99)] == [0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(("warm_up", "first", "is_short"), [(0, 5, False), (2, 3, False), (5, 0, False), (6, 0, True)])
def test_the_warm_up_is_the_last_bars_before_the_start(warm_up: int, first: int, is_short: bool) -> None:
    series = Series(HOUR_US, [_bar(n * HOUR_US) for n in range(10)])
    run = load_run(series, 5 * HOUR_US - 1, 8 * HOUR_US, warm_up)
    assert [bar.time_us // HOUR_US for bar in run.bars] == list(range(first, 8))
    assert (run.first_bar, run.is_short) == (5 - first, is_short)


def test_conversion_bars_begin_8_days_before_the_warm_up() -> None:
    series = Series(HOUR_US, [_bar(n * HOUR_US) for n in range(20 * 24)])
    run = load_run(series, 15 * DAY_US, 16 * DAY_US, 24)
    assert load_conversion(series, run, 15 * DAY_US, 16 * DAY_US).bars[0].time_us == 6 * DAY_US


def test_a_context_has_a_warm_up_of_as_many_bars_of_its_own() -> None:
    series = Series(HOUR_US, [_bar(MONDAY_US + n * HOUR_US) for n in range(24 * 4)])
    made = load_context(series, 4 * HOUR_US, Instrument(), MONDAY_US + 48 * HOUR_US, 3)
    # Candles open at 22:00 UTC and every four hours after it: the last three before Wednesday 00:00.
    assert made.bars[0].time_us == MONDAY_US + 38 * HOUR_US
    assert load_context(made, 4 * HOUR_US, Instrument(), MONDAY_US + 48 * HOUR_US, 2).bars == made.bars[1:]


def test_a_timeframe_is_made_of_the_finest_that_divides_it_and_spans_the_range() -> None:
    def series(length_us: int, first_hour: int, last_hour: int) -> Series:
        return Series(length_us, [_bar(n) for n in range(first_hour * HOUR_US, last_hour * HOUR_US, length_us)])

    late, whole = series(HOUR_US, 10, 48), series(2 * HOUR_US, 0, 48)
    odd = series(3 * HOUR_US, 0, 48)
    stored = {HOUR_US: late, 2 * HOUR_US: whole, 3 * HOUR_US: odd}
    assert choose_source(stored, 4 * HOUR_US, 0, 48 * HOUR_US) == Choice(2 * HOUR_US, is_whole=True)
    assert choose_source(stored, 4 * HOUR_US, 12 * HOUR_US, 48 * HOUR_US) == Choice(HOUR_US, is_whole=True)
    assert choose_source(stored, 3 * HOUR_US, 0, 48 * HOUR_US) == Choice(3 * HOUR_US, is_whole=True)
    assert choose_source({3 * HOUR_US: odd}, 4 * HOUR_US, 0, 48 * HOUR_US) is None
    early = series(2 * HOUR_US, 0, 20)
    assert choose_source({HOUR_US: late, 2 * HOUR_US: early}, 4 * HOUR_US, 0, 48 * HOUR_US) == Choice(
        HOUR_US, is_whole=False
    )


def test_weeks_do_not_make_months_but_days_do() -> None:
    weeks, days = Series(WEEK_US, [_bar(MONDAY_US)]), Series(DAY_US, [_bar(MONDAY_US)])
    assert choose_source({WEEK_US: weeks}, MONTH_US, 0, MONDAY_US) is None
    assert choose_source({WEEK_US: weeks, DAY_US: days}, MONTH_US, 0, MONDAY_US) == Choice(DAY_US, is_whole=True)


def _bar(time_us: int) -> Bar:
    return replace(Bar(0, 1.0, 1.2, 0.9, 1.1), time_us=time_us)
