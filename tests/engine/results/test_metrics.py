"""Each figure of a run, by hand and against exact fractions."""

import math
from dataclasses import asdict
from datetime import date
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.market.instruments import Session
from engine.market.sessions import session_days
from engine.numeric.sums import exact_sum, sums_by_sign
from engine.results.metrics import (
    Metrics,
    compute_metrics,
    daily_returns,
    drawdown,
    longest_streaks,
    profit_factor,
    recovery_factor,
    returns_by_day,
    sharpe_ratio,
    sortino_ratio,
)
from tests.engine.bar_builders import as_us, utc
from tests.engine.reference.calendar import trading_day
from tests.engine.reference.metrics import measure

DAY_US = 86_400_000_000
MONDAY_US = as_us(utc("2024-01-08 00:00"))


def metrics(
    profits: list[float], equity: list[float], deposit: float = 10_000.0, session: Session = "fx", step_us: int = DAY_US
) -> Metrics:
    return compute_metrics(
        profits=np.array(profits, np.float64),
        equity=np.array(equity, np.float64),
        days=session_days(MONDAY_US + step_us * np.arange(len(equity)), session),
        deposit=deposit,
        session=session,
        duration_us=DAY_US,
        spread_pips=1.5,
    )


def test_a_run_by_hand() -> None:
    # Days: 0, 0.01, -0.01, 0.02; see tests/engine/goldens/a_metrics.toml for the working.
    got = metrics([198.98], [10_000.0, 10_100.0, 9_999.0, 10_198.98])
    assert got.sharpe_ratio == pytest.approx(math.sqrt(37.8), rel=1e-13)
    assert got.sortino_ratio == pytest.approx(math.sqrt(252), rel=1e-13)
    assert (got.max_drawdown_pct, got.recovery_factor) == (1.0, 198.98 / 101)
    assert (got.net_profit, got.final_equity) == (198.98, 10_198.98)
    assert got.total_return_pct == pytest.approx(1.9898, rel=1e-14)
    assert (got.total_trades, got.win_rate, got.expectancy, got.avg_win) == (1, 1.0, 198.98, 198.98)
    assert (got.profit_factor, got.avg_loss, got.avg_spread) == (None, None, 1.5)
    assert got.null_reasons == {"profit_factor": "no losing trade", "avg_loss": "no losing trade"}


def test_wins_losses_and_break_even_trades() -> None:
    got = metrics([100.0, 200.0, 0.0, 300.0, -100.0, -100.0, 0.0, -200.0], [10_200.0])
    assert (got.win_rate, got.profit_factor, got.expectancy) == (3 / 8, 1.5, 25.0)
    assert (got.avg_win, got.avg_loss) == (200.0, -400 / 3)
    assert (got.max_consec_wins, got.max_consec_losses) == (2, 2)


def test_without_trades_what_counts_is_zero_and_the_rest_says_why_it_is_null() -> None:
    got = metrics([], [10_000.0] * 5)
    values = asdict(got)
    reasons = values.pop("null_reasons")
    zero = (
        "total_trades",
        "net_profit",
        "max_drawdown_pct",
        "total_return_pct",
        "max_consec_wins",
        "max_consec_losses",
    )
    assert {name: values.pop(name) for name in zero} == dict.fromkeys(zero, 0)
    assert (values.pop("final_equity"), values.pop("avg_spread")) == (10_000.0, 1.5)
    assert set(values.values()) == {None}
    assert reasons == dict.fromkeys(values, "no trades")


def test_only_losses_give_a_profit_factor_of_zero() -> None:
    got = metrics([-1.0, -2.0], [9_998.0, 9_997.0])
    assert (got.profit_factor, got.win_rate, got.avg_win) == (0.0, 0.0, None)
    assert got.null_reasons == {"avg_win": "no winning trade"}


def test_only_break_even_trades_give_no_profit_factor() -> None:
    got = metrics([0.0, 0.0], [10_000.0] * 3)
    assert (got.win_rate, got.expectancy, got.profit_factor) == (0.0, 0.0, None)
    assert got.null_reasons == {
        "profit_factor": "no losing trade",
        "recovery_factor": "no drawdown",
        "sharpe_ratio": "daily returns do not differ",
        "sortino_ratio": "no losing day",
        "avg_win": "no winning trade",
        "avg_loss": "no losing trade",
    }


def test_two_days_are_enough_to_say_that_returns_do_not_differ() -> None:
    got = metrics([0.0], [10_000.0] * 2)
    assert (got.sharpe_ratio, got.null_reasons["sharpe_ratio"]) == (None, "daily returns do not differ")


def test_a_break_even_trade_ends_both_streaks() -> None:
    assert longest_streaks(sums_by_sign(np.array([1.0, 1.0, 0.0, 1.0, -1.0, 0.0, -1.0, -1.0, -1.0]))) == (2, 3)
    assert longest_streaks(sums_by_sign(np.array([]))) == (0, 0)


def test_drawdown_starts_from_the_deposit_and_money_and_per_cent_may_be_different_falls() -> None:
    fall = drawdown(np.array([8_000.0, 50_000.0, 45_000.0, 60_000.0]), 10_000.0)
    assert (fall.money, fall.percent) == (5_000.0, 20.0)
    assert drawdown(np.array([10_000.0, 10_001.0]), 10_000.0).percent == 0.0
    assert drawdown(np.array([9_999.9, 9_999.8]), 10_000.0).money == 0.2
    assert drawdown(np.array([10_000.0, -5_000.0]), 10_000.0).percent == 150.0


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 1.0]))
def test_drawdown_of_any_length_is_that_of_running_peaks(size: int, seed: int, moving: float) -> None:
    random = np.random.default_rng(seed)
    steps = random.integers(-300_00, 300_00, size) * (random.random(size) < moving)
    equity = 1_000_000.0 + np.cumsum(steps) / 100
    peaks = np.maximum(np.maximum.accumulate(equity), 1_000_000.0)
    fall = drawdown(equity, 1_000_000.0)
    assert fall.money == round((peaks - equity).max(), 8)
    assert fall.percent == pytest.approx(((peaks - equity) / peaks).max() * 100, rel=1e-9, abs=1e-12)


def test_recovery_factor_is_signed_and_null_without_a_drawdown() -> None:
    assert recovery_factor(-50.0, 200.0) == -0.25
    assert recovery_factor(50.0, 0.0) is None


def test_the_first_return_is_from_the_deposit_and_a_day_counts_its_last_bar() -> None:
    times = MONDAY_US + DAY_US // 2 * np.arange(4)
    equity = np.array([11_000.0, 12_000.0, 9_000.0, 6_000.0])
    assert daily_returns(equity, times, 10_000.0, "always").tolist() == [0.2, -0.5]


def test_weekends_are_days_only_where_the_market_is_open_at_weekends() -> None:
    friday_to_monday = as_us(utc("2024-01-12 12:00")) + DAY_US * np.arange(4)
    equity = np.array([10_000.0, 11_000.0, 12_100.0, 12_100.0])
    assert daily_returns(equity, friday_to_monday, 10_000.0, "always") == pytest.approx([0.0, 0.1, 0.1, 0.0])
    assert daily_returns(equity, friday_to_monday, 10_000.0, "fx") == pytest.approx([0.0, 0.21])


def test_instruments_open_at_weekends_have_a_year_of_365_days() -> None:
    equity = [10_000.0, 10_100.0, 9_999.0, 10_198.98]
    fx, always = metrics([198.98], equity), metrics([198.98], equity, session="always")
    assert fx.sharpe_ratio is not None
    assert always.sharpe_ratio == pytest.approx(fx.sharpe_ratio * math.sqrt(365 / 252))


def test_one_day_has_no_ratio() -> None:
    reasons = metrics([1.0, -2.0], [10_001.0, 9_999.0], step_us=60_000_000).null_reasons
    assert reasons == {"sharpe_ratio": "fewer than two days", "sortino_ratio": "fewer than two days"}


def test_the_same_return_every_day_is_no_dispersion_although_floats_differ() -> None:
    returns = np.array([0.01, np.nextafter(0.01, 1.0), np.nextafter(0.01, 0.0)])
    assert sharpe_ratio(returns, 252) is None
    assert sortino_ratio(returns, 252) is None
    assert sharpe_ratio(np.array([3.0, np.nextafter(3.0, 4.0)]), 252) is None


def test_a_day_after_ruin_is_no_fraction_of_it() -> None:
    returns = daily_returns(np.array([5_000.0, -10.0, -20.0]), MONDAY_US + DAY_US * np.arange(3), 10_000.0, "fx")
    assert returns == pytest.approx([-0.5, -1.002])
    longer = daily_returns(np.array([5_000.0, -10.0, -20.0, -30.0]), MONDAY_US + DAY_US * np.arange(4), 10_000.0, "fx")
    assert longer.tolist() == returns.tolist()
    nothing_left = daily_returns(np.array([5_000.0, 0.0, 0.0]), MONDAY_US + DAY_US * np.arange(3), 10_000.0, "fx")
    assert nothing_left.tolist() == [-0.5, -1.0]


def test_a_loss_whose_square_is_nothing_in_floats_gives_no_sortino_ratio() -> None:
    assert sortino_ratio(np.array([0.01, -1e-170]), 252) is None


def test_sums_of_many_booked_items_carry_no_noise() -> None:
    got = metrics([0.1] * 100_000 + [-0.3] * 30_000, [11_000.0])
    assert (got.net_profit, got.avg_win, got.avg_loss) == (1_000.0, 0.1, -0.3)
    assert profit_factor(sums_by_sign(np.array([0.1] * 30 + [-0.3] * 10))) == 1.0


def test_average_spread_is_the_mean_over_bars() -> None:
    arguments = {
        "profits": np.array([]),
        "equity": np.full(4, 1e4),
        "days": session_days(MONDAY_US + DAY_US * np.arange(4), "fx"),
        "deposit": 1e4,
        "duration_us": DAY_US,
    }
    of_bars = compute_metrics(**arguments, session="fx", spread_pips=np.array([0.1, 0.2, 0.3, 0.0]))  # type: ignore[arg-type]  # built once for both
    assert of_bars.avg_spread == pytest.approx(0.15, rel=1e-15)
    fixed = compute_metrics(**arguments, session="fx", spread_pips=np.full(1_000_000, 1.1))  # type: ignore[arg-type]  # built once for both
    assert fixed.avg_spread == 1.1


amounts = st.integers(-3000_00, 3000_00).map(lambda cents: cents / 100)


@given(
    profits=st.lists(amounts | st.just(0.0), max_size=12),
    equity=st.lists(st.integers(1_00, 20_000_00).map(lambda cents: cents / 100), min_size=1, max_size=40),
    hours=st.lists(st.integers(1, 30), min_size=40, max_size=40),
    session=st.sampled_from(["fx", "always"]),
)
def test_every_figure_agrees_with_exact_fractions(
    profits: list[float], equity: list[float], hours: list[int], session: Literal["fx", "always"]
) -> None:
    times = as_us(utc("2024-03-06 00:00")) + 3_600_000_000 * np.cumsum(hours[: len(equity)])
    got = compute_metrics(
        profits=np.array(profits, np.float64),
        equity=np.array(equity),
        days=session_days(times, session),
        deposit=10_000.0,
        session=session,
        duration_us=DAY_US,
        spread_pips=np.arange(len(equity), dtype=np.float64),
    )
    days: list[date] = [trading_day(int(time_us), session) for time_us in times]
    expected = measure(
        Fraction(10_000),
        [Fraction(repr(profit)) for profit in profits],
        [Fraction(repr(value)) for value in equity],
        days,
        [Fraction(i) for i in range(len(equity))],
        Fraction(365 if session == "always" else 252),
    )
    values = asdict(got)
    reasons = values.pop("null_reasons")
    assert set(reasons) == set(expected.null_reasons)
    assert values == {
        name: value if value is None else pytest.approx(value, rel=1e-9, abs=1e-11)
        for name, value in expected.values.items()
    }


def test_a_sum_of_very_many_values_stays_exact_from_part_to_part() -> None:
    values = np.zeros(100_000)
    values[[0, 40_000, 99_999]] = 1e16, 1.0, -1e16
    assert exact_sum(values) == 1.0
    assert sums_by_sign(values)[:5] == (1.0, 2, 1, 1e16, -1e16)


def test_a_loss_of_the_last_digit_is_no_more_and_no_less_than_that() -> None:
    equity = np.array([10_000.1, 10_000.1 - 1e-8, 10_200.1])
    returns = returns_by_day(equity, 10_000.0)
    assert returns[1] == pytest.approx(-1e-8 / 10_000.1, rel=1e-12)
