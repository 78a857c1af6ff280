"""Runs on bars longer than a day: a return is a bar's, and a year has as many as the calendar says."""

from datetime import timedelta

import pytest

from engine.market.timeframes import timeframe
from engine.results.metrics import returns_per_year
from tests.engine.bar_builders import bars_of, utc
from tests.engine.run_builders import backtest, scripted


def test_weekly_returns_are_not_annualised_as_daily_ones() -> None:
    times = [utc("2024-01-01 00:00") + timedelta(weeks=week) for week in range(4)]
    closes = [1.1, 1.11, 1.1, 1.12]
    bars = bars_of("W1", times, open=closes, high=closes, low=closes, close=closes)
    metrics = backtest(bars, scripted(["BUY", None, None, None]), volume=0.1).metrics
    assert metrics.sharpe_ratio == pytest.approx(2.820, abs=5e-4)
    # Returns 0, 0.01, -100/10100 and 0.02: no day is made of a week.
    returns = [0.0, 100 / 10_000, -100 / 10_100, 200 / 10_000]
    downside = (returns[2] ** 2 / 4) ** 0.5
    assert metrics.sortino_ratio == pytest.approx(sum(returns) / 4 / downside * (365.25 / 7) ** 0.5, rel=1e-9)


def test_a_year_has_52_weeks_and_12_months_and_days_as_before() -> None:
    yearly = {name: returns_per_year("fx", timeframe(name).duration_us) for name in ("H1", "D1", "W1", "MN1")}
    assert yearly == {"H1": 252.0, "D1": 252.0, "W1": pytest.approx(52.18, abs=5e-3), "MN1": 12.0}
    assert returns_per_year("always", timeframe("D1").duration_us) == 365.0


def test_a_month_that_is_no_longer_than_february_is_one_bar() -> None:
    firsts = [utc(f"2024-{month:02}-01 00:00") for month in range(1, 7)]
    closes = [1.1, 1.11, 1.1, 1.12, 1.11, 1.13]
    bars = bars_of("MN1", firsts, open=closes, high=closes, low=closes, close=closes)
    result = backtest(bars, scripted(["BUY", *[None] * 5]), volume=0.1)
    assert result.trades.height == 1
    assert result.equity.height == 6
