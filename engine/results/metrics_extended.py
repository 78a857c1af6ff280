"""Figures beyond the columns of `backtest_runs`: what a trader asks next. They go into the event and `--json` only.

Apart from `metrics` because no other program is held to them; conventions (None, reasons, exact sums) are the same.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.market.instruments import Session
from engine.market.sessions import SessionDays
from engine.market.timeframes import DAY_US
from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled
from engine.numeric.sums import booked_sum, exact_sum
from engine.results.metrics import returns_by_day, returns_per_year, sharpe_ratio

SHORTEST_ANNUALISED_DAYS = 30
FEWEST_DAYS, FEWEST_CHANGES = 20, 5
"""For an interval of the Sharpe ratio."""
Z_95 = 1.959963984540054
"""Standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFigures:
    """What a simulation hands over. Row arrays have one value a trade row, bar arrays one a simulated bar."""

    profits: Floats
    spread_costs: Floats
    commissions: Floats
    swaps: Floats
    slippage_cost: float
    """Of all rows, account currency."""
    pip_values: Floats
    """Account currency that one pip is worth on the row's volume at the exit's rate: pip * contract * volume * rate."""
    equity: Floats
    time_us: NDArray[np.int64]
    """Open times."""
    duration_us: int
    """Of a bar."""
    deposit: float
    session: Session
    days: SessionDays
    """Trading days of the simulated bars."""
    first_open: float
    """Bid, of the first simulated bar."""
    last_close: float
    bars_in_position: int
    """Closes at which a position was open: over positions, the sum of exit bar - entry bar."""
    max_drawdown_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedMetrics:
    """null_reasons says why a figure is None."""

    total_spread_cost: float
    """Account currency, positive; inside the prices, so already part of profit."""
    total_commission: float
    total_swap: float
    """Negative when paid."""
    total_slippage_cost: float
    """Of entries and exits, positive; inside the prices."""
    break_even_spread_pips: float | None
    longest_drawdown_days: float
    exposure_pct: float
    cagr_pct: float | None
    calmar_ratio: float | None
    sharpe_ci_low: float | None
    sharpe_ci_high: float | None
    expectancy_t: float | None
    expectancy_p: float | None
    buy_and_hold_return_pct: float
    worst_month_pct: float
    best_month_pct: float
    null_reasons: dict[str, str]


def compute_extended_metrics(run: RunFigures) -> ExtendedMetrics:
    """Return every further figure of one simulation of at least one bar."""
    reasons: dict[str, str] = {}
    days = (int(run.time_us[-1]) + run.duration_us - int(run.time_us[0])) / DAY_US
    months = monthly_returns_pct(run.equity, run.days, run.deposit)
    returns = returns_by_day(run.equity[run.days.last_row], run.deposit)
    growth = cagr_pct(float(run.equity[-1]), run.deposit, days)
    calmar = calmar_ratio(growth, run.max_drawdown_pct)
    interval = sharpe_interval(returns, returns_per_year(run.session, run.duration_us))
    test = expectancy_test(run.profits)
    break_even = break_even_spread_pips(run.profits, run.spread_costs, run.pip_values)
    if break_even is None:
        reasons["break_even_spread_pips"] = "no trades"
    if growth is None:
        reasons["cagr_pct"] = f"shorter than {SHORTEST_ANNUALISED_DAYS} days, or nothing left"
    if calmar is None:
        reasons["calmar_ratio"] = "no drawdown" if growth is not None else reasons["cagr_pct"]
    if interval is None:
        reasons["sharpe_ci_low"] = reasons["sharpe_ci_high"] = "too few days on which equity changed"
    if test is None:
        reasons["expectancy_t"] = reasons["expectancy_p"] = "fewer than two trades, or all alike"
    return ExtendedMetrics(
        total_spread_cost=booked_sum(run.spread_costs),
        total_commission=booked_sum(run.commissions),
        total_swap=booked_sum(run.swaps),
        total_slippage_cost=run.slippage_cost,
        break_even_spread_pips=break_even,
        longest_drawdown_days=longest_drawdown_days(run.equity, run.time_us, run.duration_us, run.deposit),
        exposure_pct=run.bars_in_position / run.equity.size * 100.0,
        cagr_pct=growth,
        calmar_ratio=calmar,
        sharpe_ci_low=interval[0] if interval else None,
        sharpe_ci_high=interval[1] if interval else None,
        expectancy_t=test[0] if test else None,
        expectancy_p=test[1] if test else None,
        buy_and_hold_return_pct=(run.last_close - run.first_open) / run.first_open * 100.0,
        worst_month_pct=float(months.min()),
        best_month_pct=float(months.max()),
        null_reasons=reasons,
    )


def break_even_spread_pips(profits: Floats, spread_costs: Floats, pip_values: Floats) -> float | None:
    """Return the spread at which the same trades earn 0: (net profit + spread paid) / worth of one pip of all of them.

    Fills are taken as they were; below 0 the trades lose without any spread. None without trades.
    """
    worth = exact_sum(pip_values)
    earned = exact_sum(profits) + exact_sum(spread_costs)
    return earned / worth if worth > 0 else None


def longest_drawdown_days(equity: Floats, time_us: NDArray[np.int64], duration_us: int, deposit: float) -> float:
    """Return the longest stay below a peak in calendar days, from the peak's close to the close that regains it.

    A stay that lasts to the end is counted to the last close. The deposit is the peak before the first bar's open.
    """
    if equity.size == 0:
        return 0.0
    start_us = int(time_us[0]) - duration_us
    return int(_longest_fall_us(read_only(equity), read_only(time_us), start_us, deposit)) / DAY_US


def cagr_pct(final_equity: float, deposit: float, days: float) -> float | None:
    """Return ((final equity / deposit)^(365.25 / days) - 1) * 100; None below 30 days or with nothing left."""
    if days < SHORTEST_ANNUALISED_DAYS or final_equity <= 0:
        return None
    exponent = math.log(final_equity / deposit) * 365.25 / days
    return math.expm1(exponent) * 100.0 if exponent < 700 else None


def calmar_ratio(growth_pct: float | None, max_drawdown_pct: float) -> float | None:
    """Return CAGR / max drawdown, both in per cent, over the whole run. Source: Young, Futures, October 1991."""
    return growth_pct / max_drawdown_pct if growth_pct is not None and max_drawdown_pct > 0 else None


def sharpe_interval(returns: Floats, periods_per_year: float) -> tuple[float, float] | None:
    """Return the 95 % interval of the annualised Sharpe ratio: the ratio -+ 1.96 standard errors, in closed form.

    With z = (r - mean) / std a return's share in the ratio's error is z - ratio * (z^2 - 1) / 2. The mean square of
    these shares is 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio^2; products of shares up to n^(1/3) returns apart
    are added with falling weights, for returns that remember the ones before. None below 20 returns, or where fewer
    than 5 are not 0.
    Sources: Mertens, "Comments on variance of the IID estimator in Lo (2002)", 2002; Opdyke, "Comparing Sharpe ratios",
    Journal of Asset Management 8(5), 2007; Newey & West, "A simple, positive semi-definite, heteroskedasticity and
    autocorrelation consistent covariance matrix", Econometrica 55(3), 1987.
    """
    annual = sharpe_ratio(returns, periods_per_year)
    if annual is None or returns.size < FEWEST_DAYS or np.count_nonzero(returns) < FEWEST_CHANGES:
        return None
    count = returns.size
    ratio = annual / math.sqrt(periods_per_year)
    centred = returns - exact_sum(returns) / count
    scaled = centred / math.sqrt(exact_sum(centred**2) / count)
    shares = scaled - ratio / 2.0 * (scaled**2 - 1.0)
    variance = exact_sum(shares**2)
    reach = round(count ** (1.0 / 3.0))
    for apart in range(1, reach + 1):
        variance += 2.0 * (1.0 - apart / (reach + 1)) * exact_sum(shares[apart:] * shares[:-apart])
    error = Z_95 * math.sqrt(max(variance, 0.0)) / count * math.sqrt(periods_per_year)
    return annual - error, annual + error


def expectancy_test(profits: Floats) -> tuple[float, float] | None:
    """Return t = mean / (std(ddof=1) / sqrt(n)) of trade profits and its two-sided p by Student's t, n - 1 degrees.

    None for fewer than two trades or without dispersion. Source: Student, "The probable error of a mean", 1908.
    """
    count = profits.size
    if count < 2 or float(np.ptp(profits)) == 0.0:
        return None
    mean = exact_sum(profits) / count
    variance = exact_sum((profits - mean) ** 2) / (count - 1)
    t = mean / math.sqrt(variance / count)
    freedom = count - 1.0
    return t, regularised_incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)


def monthly_returns_pct(equity: Floats, days: SessionDays, deposit: float) -> Floats:
    """Return each calendar month's change of equity in per cent, of the month before's last, the first of the deposit.

    A day belongs to the month of its label (`engine.market.sessions`). A month that begins at or below 0 ends the
    sequence.
    """
    month = days.label.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    last_of_month = np.flatnonzero(np.diff(month, append=month[-1] + 1))
    closing = equity[days.last_row[last_of_month]]
    before = np.concatenate(([deposit], closing[:-1]))
    sound = int(np.argmax(before <= 0)) if (before <= 0).any() else before.size
    return (closing[:sound] - before[:sound]) / before[:sound] * 100.0


def regularised_incomplete_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b) for 0 <= x <= 1 by Lentz's continued fraction, good to about 1e-14.

    Source: Press et al., "Numerical Recipes", 3rd edition, section 6.4.
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - regularised_incomplete_beta(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / a / _beta_fraction(x, a, b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)), by the modified Lentz method."""
    tiny = 1e-300
    fraction, numerator_ratio, denominator_ratio = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        denominator_ratio = 1.0 / (1.0 + term * denominator_ratio or tiny)
        numerator_ratio = 1.0 + term / numerator_ratio or tiny
        change = numerator_ratio * denominator_ratio
        fraction *= change
        if abs(change - 1.0) < 1e-15:
            break
    return fraction


@compiled
def _longest_fall_us(equity: Floats, time_us: NDArray[np.int64], start_us: int, deposit: float) -> int:
    peak, peak_us, longest_us = deposit, start_us, 0
    falling = False
    for i in range(equity.size):
        if falling or equity[i] < peak:
            longest_us = max(longest_us, time_us[i] - peak_us)
        falling = equity[i] < peak
        if not falling:
            peak, peak_us = equity[i], time_us[i]
    return longest_us
