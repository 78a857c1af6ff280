"""Figures beyond the table, by hand and by the laws they must obey."""

import math
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest

from engine.deciders.chosen import choose_strategy
from engine.market.bars import Bars
from engine.market.sessions import session_days
from engine.results.metrics import sharpe_ratio
from engine.results.metrics_extended import (
    RunFigures,
    break_even_spread_pips,
    cagr_pct,
    calmar_ratio,
    compute_extended_metrics,
    expectancy_test,
    longest_drawdown_days,
    monthly_returns_pct,
    regularised_incomplete_beta,
    sharpe_interval,
)
from engine.strategies.sma_cross import SmaCross
from tests.engine.bar_builders import as_us, utc
from tests.engine.run_builders import backtest, sample

DAY_US = 86_400_000_000
START_US = as_us(utc("2024-01-01 00:00"))


def run_figures(days: int = 60) -> RunFigures:
    times = START_US + DAY_US * np.arange(days)
    return RunFigures(
        profits=np.array([100.0, -40.0, 60.0]),
        spread_costs=np.array([10.0, 5.0, 15.0]),
        commissions=np.array([2.0, 1.0, 3.0]),
        slippage_cost=2.5,
        swaps=np.array([-1.0, 0.0, 0.25]),
        pip_values=np.array([10.0, 5.0, 15.0]),
        equity=10_000.0 + 120.0 * np.arange(1, days + 1) / days,
        time_us=times,
        duration_us=DAY_US,
        deposit=10_000.0,
        session="always",
        days=session_days(times, "always"),
        first_open=1.25,
        last_close=1.5,
        bars_in_position=15,
        max_drawdown_pct=4.0,
    )


def test_costs_are_added_up_and_exposure_is_a_share_of_bars() -> None:
    got = compute_extended_metrics(run_figures())
    assert (got.total_spread_cost, got.total_commission, got.total_swap) == (30.0, 6.0, -0.75)
    assert (got.exposure_pct, got.buy_and_hold_return_pct) == (25.0, 20.0)
    assert got.break_even_spread_pips == (120.0 + 30.0) / 30.0
    assert got.cagr_pct == pytest.approx((1.012 ** (365.25 / 60) - 1) * 100)
    assert got.calmar_ratio == pytest.approx(((1.012 ** (365.25 / 60) - 1) * 100) / 4.0)
    assert got.longest_drawdown_days == 0.0


def test_what_has_no_value_says_why() -> None:
    nothing = np.array([])
    idle = replace(
        run_figures(20),
        profits=nothing,
        spread_costs=nothing,
        commissions=nothing,
        swaps=nothing,
        pip_values=nothing,
        equity=np.full(20, 10_000.0),
        bars_in_position=0,
        max_drawdown_pct=0.0,
    )
    got = asdict(compute_extended_metrics(idle))
    reasons = got.pop("null_reasons")
    assert {name for name, value in got.items() if value is None} == set(reasons)
    assert reasons["break_even_spread_pips"] == "no trades"
    assert got["worst_month_pct"] == got["best_month_pct"] == got["exposure_pct"] == got["total_swap"] == 0.0
    long = run_figures(60)
    long_idle = asdict(
        compute_extended_metrics(replace(idle, equity=np.full(60, 1e4), time_us=long.time_us, days=long.days))
    )
    assert long_idle["null_reasons"]["calmar_ratio"] == "no drawdown"


def test_break_even_spread_is_negative_for_trades_that_lose_without_any() -> None:
    assert break_even_spread_pips(np.array([-50.0]), np.array([20.0]), np.array([10.0])) == -3.0


def test_longest_drawdown_runs_from_the_peak_to_its_recovery_or_to_the_end() -> None:
    times = START_US + DAY_US * np.arange(7)

    def days(*equity: float) -> float:
        return longest_drawdown_days(np.array(equity), times[: len(equity)], DAY_US, 100.0)

    assert days(101.0, 102.0, 103.0) == 0.0
    assert days(101.0, 100.0, 101.0, 102.0) == 2.0
    assert days(101.0, 100.0, 99.0, 100.0) == 3.0
    assert days(99.0, 98.0) == 2.0
    assert days(105.0, 104.0, 106.0, 103.0, 104.0, 105.0, 107.0) == 4.0


def test_growth_is_annualised_only_where_that_means_something() -> None:
    assert cagr_pct(20_000.0, 10_000.0, 365.25) == pytest.approx(100.0)
    assert cagr_pct(20_000.0, 10_000.0, 29.9) is None
    assert cagr_pct(0.0, 10_000.0, 365.25) is None
    assert calmar_ratio(30.0, 15.0) == 2.0
    assert calmar_ratio(30.0, 0.0) is None
    assert calmar_ratio(None, 1.0) is None


def test_the_first_month_is_measured_from_the_deposit_and_days_fold_into_their_month() -> None:
    times = np.array([as_us(utc(text)) for text in ("2024-01-30 12:00", "2024-01-31 22:30", "2024-02-29 12:00")])
    equity = np.array([11_000.0, 12_100.0, 9_680.0])
    assert monthly_returns_pct(equity, session_days(times, "always"), 10_000.0) == pytest.approx([21.0, -20.0])
    # 22:30 UTC on 31 January is past 17:00 New York: that bar opens in the day, and the month, of 1 February.
    assert monthly_returns_pct(equity, session_days(times, "fx"), 10_000.0) == pytest.approx([10.0, -12.0])


def test_the_expectancy_test_gives_students_t() -> None:
    # t for n = 3: mean 40, variance 5200; two-sided p with 2 degrees of freedom is 1 - t / sqrt(2 + t^2).
    tested = expectancy_test(np.array([100.0, -40.0, 60.0]))
    assert tested is not None
    t, p = tested
    assert t == pytest.approx(40.0 / math.sqrt(5_200.0 / 3.0))
    assert p == pytest.approx(1.0 - t / math.sqrt(2.0 + t * t), rel=1e-12)
    assert expectancy_test(np.array([1.0])) is None
    assert expectancy_test(np.array([1.0, 1.0])) is None


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [
        (12.706204736432095, 1, 0.05),
        (2.2281388519649385, 10, 0.05),
        (3.3905, 100, 0.001),
        (1.959963984540054, 1e7, 0.05),
    ],
)
def test_the_incomplete_beta_function_meets_the_tables_of_student(t: float, freedom: float, p: float) -> None:
    got = regularised_incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
    assert got == pytest.approx(p, rel=1e-4 if freedom == 100 else 1e-6)


def test_the_incomplete_beta_function_meets_its_closed_forms() -> None:
    assert regularised_incomplete_beta(0.5, 2.0, 3.0) == pytest.approx(0.6875, rel=1e-14)
    assert regularised_incomplete_beta(0.3, 1.0, 1.0) == pytest.approx(0.3, rel=1e-14)
    assert regularised_incomplete_beta(0.9, 5.0, 1.0) == pytest.approx(0.9**5, rel=1e-13)
    assert (regularised_incomplete_beta(0.0, 2.0, 3.0), regularised_incomplete_beta(1.0, 2.0, 3.0)) == (0.0, 1.0)


def daily(count: int, mean: float, seed: int = 3) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(mean, 0.01, count)


def test_the_sharpe_interval_of_independent_returns_is_mertens() -> None:
    rng = np.random.default_rng(11)
    returns = rng.exponential(0.01, 20_000) - 0.008
    interval, ratio = sharpe_interval(returns, 252), returns.mean() / returns.std()
    skewness, kurtosis = (float((((returns - returns.mean()) / returns.std()) ** power).mean()) for power in (3, 4))
    expected = math.sqrt((1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2) / returns.size * 252)
    assert interval is not None
    assert (interval[1] - interval[0]) / 2 / 1.959964 == pytest.approx(expected, rel=0.05)
    assert sum(interval) / 2 == pytest.approx(sharpe_ratio(returns, 252), rel=1e-12)


def test_the_sharpe_interval_is_that_of_four_returns_by_hand_repeated() -> None:
    # Returns 3, -1, 1, 1 in turn: mean 1, population deviation sqrt(2), ratio 1 / sqrt(2) * sqrt(19 / 20) at n = 20.
    returns = np.array([0.03, -0.01, 0.01, 0.01] * 5)
    ratio = math.sqrt(19 / 20 / 2)
    z = [math.sqrt(2), -math.sqrt(2), 0.0, 0.0] * 5
    share = [each - ratio / 2 * (each * each - 1) for each in z]
    weights = {0: 1.0, 1: 2 * 3 / 4, 2: 2 * 2 / 4, 3: 2 * 1 / 4}
    variance = sum(w * sum(share[i] * share[i - lag] for i in range(lag, 20)) for lag, w in weights.items())
    error = 1.959963984540054 * math.sqrt(variance) / 20
    assert sharpe_interval(returns, 1) == pytest.approx((ratio - error, ratio + error), rel=1e-12)


def test_nineteen_of_twenty_intervals_hold_the_true_ratio() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(400):
        interval = sharpe_interval(rng.standard_t(6, 750) * 0.01 + 0.0005, 252)
        assert interval is not None
        held += interval[0] <= 0.0005 / (0.01 * math.sqrt(6 / 4)) * math.sqrt(252) <= interval[1]
    assert 365 <= held <= 392


def test_the_sharpe_interval_does_not_move_with_a_spread_that_no_fill_used() -> None:
    """Its seed was the digest, which moved with every column of the data: so did the interval, by 0.1."""
    bars = sample("eurusd_h1", 3000)
    closes = tuple(range(bars.height))
    plain, other = (
        Bars(bars.timeframe, bars.frame.with_columns(pl.Series("spread", np.array(closes) % most + 0.0)))
        for most in (7, 11)
    )
    first, second = (backtest(each, choose_strategy(SmaCross, "", {})) for each in (plain, other))
    assert first.result_digest != second.result_digest
    assert first.extended.sharpe_ci_low is not None
    assert (first.extended.sharpe_ci_low, first.extended.sharpe_ci_high) == (
        second.extended.sharpe_ci_low,
        second.extended.sharpe_ci_high,
    )


def test_memory_widens_the_interval_of_returns_that_trend() -> None:
    rng = np.random.default_rng(5)
    trending = np.convolve(rng.normal(0.0, 0.01, 1010), np.ones(10) / 10, "valid")
    shuffled = rng.permutation(trending)
    widths = []
    for returns in (trending, shuffled):
        interval = sharpe_interval(returns, 252)
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert widths[0] > 1.5 * widths[1]


def test_too_few_days_or_too_few_changes_give_no_interval() -> None:
    assert sharpe_interval(daily(19, 0.001), 252) is None
    one_change = np.zeros(300)
    one_change[7] = 0.01
    assert sharpe_interval(one_change, 252) is None
