"""The figures of a run (docs/engine-rules.md, Metrics), one pure function each, with formula and source.

Inputs are arrays, not trade objects: a row of the trade list is a trade, equity has one value a simulated bar. Where a
figure has no value the function returns None and `compute_metrics` says why; NaN and infinity never leave here. Sums
are exact (`engine.numeric.sums`), so the order of trades never decides a digit.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.market.instruments import Session
from engine.market.sessions import SessionDays, session_days
from engine.market.spread import average_spread
from engine.market.timeframes import DAY_US, YEAR_US
from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled
from engine.numeric.sums import BySign, exact_sum, sums_by_sign

_BLOCK = 64
"""Values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metric columns of `backtest_runs`, net_profit and final_equity; null_reasons says why a figure is None."""

    total_trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    max_drawdown_pct: float
    recovery_factor: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    total_return_pct: float
    avg_win: float | None
    avg_loss: float | None
    max_consec_wins: int
    max_consec_losses: int
    avg_spread: float
    net_profit: float
    final_equity: float
    null_reasons: dict[str, str]


def compute_metrics(
    *,
    profits: Floats,
    equity: Floats,
    days: SessionDays,
    deposit: float,
    session: Session,
    duration_us: int,
    spread_pips: Floats | float,
) -> Metrics:
    """Return every figure of one simulation.

    profits: after costs, one a trade row, as written. equity: at each simulated bar's close, at least one bar. days:
    those of the simulated bars. deposit > 0. duration_us: of a bar. spread_pips: of each simulated bar, or of all.
    """
    yearly = returns_per_year(session, duration_us)
    trades = profits.size
    signs = sums_by_sign(profits)
    net = net_profit(signs)
    fall = drawdown(equity, deposit)
    returns = returns_by_day(equity[days.last_row], deposit)
    values: dict[str, float | None] = {
        "win_rate": win_rate(signs, trades),
        "profit_factor": profit_factor(signs),
        "expectancy": expectancy(net, trades),
        "recovery_factor": recovery_factor(net, fall.money) if trades else None,
        "sharpe_ratio": sharpe_ratio(returns, yearly) if trades else None,
        "sortino_ratio": sortino_ratio(returns, yearly) if trades else None,
        "avg_win": average_win(signs),
        "avg_loss": average_loss(signs),
    }
    wins, losses = longest_streaks(signs)
    return Metrics(
        total_trades=trades,
        net_profit=net,
        final_equity=float(equity[-1]),
        max_drawdown_pct=fall.percent,
        total_return_pct=total_return_pct(net, deposit),
        max_consec_wins=wins,
        max_consec_losses=losses,
        avg_spread=average_spread(spread_pips),
        null_reasons=_null_reasons(values, trades, returns),
        **values,
    )


def win_rate(profits: BySign, trades: int) -> float | None:
    """Return trades with profit > 0 over all trades, 0 to 1; None without trades."""
    return profits.above / trades if trades else None


def profit_factor(profits: BySign) -> float | None:
    """Return the sum of wins over the absolute sum of losses; 0 with losses only, None without a loss."""
    losses = round(profits.sum_below, 8)
    return _finite(round(profits.sum_above, 8) / abs(losses)) if losses < 0 else None


def net_profit(profits: BySign) -> float:
    """Return the sum of all trades' profit, account currency, to 1e-8 as everything booked."""
    return round(profits.total, 8)


def expectancy(net: float, trades: int) -> float | None:
    """Return net profit / trades, the mean profit of a trade (Tharp's expectancy in money); None without trades."""
    return net / trades if trades else None


def average_win(profits: BySign) -> float | None:
    """Return the mean profit of winning trades; None without one."""
    return round(profits.sum_above, 8) / profits.above if profits.above else None


def average_loss(profits: BySign) -> float | None:
    """Return the mean profit of losing trades, negative; None without one."""
    return round(profits.sum_below, 8) / profits.below if profits.below else None


def longest_streaks(profits: BySign) -> tuple[int, int]:
    """Return the longest runs of wins and of losses in the order written; a break-even trade ends both."""
    return profits.longest_above, profits.longest_below


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The largest falls from a running peak, in money and in per cent of that peak: they may be two different falls."""

    money: float
    percent: float


def drawdown(equity: Floats, deposit: float) -> Drawdown:
    """Return max(peak - equity) and max((peak - equity) / peak * 100), the peak beginning at the deposit; 0 for none.

    Source: Magdon-Ismail & Atiya, "Maximum drawdown", Risk 17(10), 2004.
    """
    return drawdown_of(*deepest_falls(read_only(equity), deposit))


def drawdown_of(money_peak: float, money_low: float, share_peak: float, share_low: float) -> Drawdown:
    """Return the drawdown whose peaks and lows `deepest_falls` found."""
    return Drawdown(
        money=round(money_peak - money_low, 8), percent=round(share_peak - share_low, 8) / share_peak * 100.0
    )


def recovery_factor(net: float, largest_drawdown: float) -> float | None:
    """Return net profit / largest drawdown in money, signed; None without a drawdown."""
    return _finite(net / largest_drawdown) if largest_drawdown > 0 else None


def total_return_pct(net: float, deposit: float) -> float:
    """Return net profit / deposit * 100."""
    return net / deposit * 100.0


def daily_returns(equity: Floats, time_us: NDArray[np.int64], deposit: float, session: Session) -> Floats:
    """Return each day's change of equity as a fraction of the day before's, the first from the deposit.

    A day's equity is that of its last simulated bar; a day without bars is no day (`engine.market.sessions` says what a
    day is). n days give n returns. Equity that the day before left at or below 0 ends the sequence: nothing is a
    fraction of it.
    """
    return returns_by_day(equity[session_days(time_us, session).last_row], deposit)


def returns_by_day(closing: Floats, deposit: float) -> Floats:
    """Return `daily_returns` from each day's equity."""
    before = np.concatenate(([deposit], closing[:-1]))
    ruined = np.flatnonzero(before <= 0)
    days = int(ruined[0]) if ruined.size else closing.size
    # Equity is whole units of 1e-8; the difference of two doubles is not, and a ratio magnifies what it is off by.
    return np.round(closing[:days] - before[:days], 8) / before[:days]


def returns_per_year(session: Session, duration_us: int) -> float:
    """Return how many returns a year has: 252 days, or 365 for instruments open at weekends.

    Above D1 each bar is a day of its own (`session_days`), so a return is a bar's: 365.25 days / timeframe of them.
    """
    if duration_us > DAY_US:
        return YEAR_US / duration_us
    return 365.0 if session == "always" else 252.0


def sharpe_ratio(returns: Floats, periods_per_year: float) -> float | None:
    """Return mean / std(ddof=1) * sqrt(periods_per_year) of daily returns, risk-free rate 0.

    None for fewer than two days or without dispersion. Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio
    Management 21(1), 1994.
    """
    if returns.size < 2 or not _disperse(returns):
        return None
    total = exact_sum(returns)
    squares = exact_sum((returns - total / returns.size) ** 2)
    return sharpe_of(total, squares, returns.size, periods_per_year)


def sharpe_of(total: float, squares: float, count: int, periods_per_year: float) -> float | None:
    """Return `sharpe_ratio` from the sum of returns that disperse, and of their squared differences from the mean."""
    deviation = math.sqrt(squares / (count - 1))
    return _finite(total / count / deviation * math.sqrt(periods_per_year))


def sortino_ratio(returns: Floats, periods_per_year: float) -> float | None:
    """Return mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods_per_year) of daily returns, target and risk-free rate 0.

    None for fewer than two days or without a losing day. Source: Sortino & Price, "Performance Measurement in a
    Downside Risk Framework", Journal of Investing 3(3), 1994.
    """
    losing = returns[returns < 0]
    if returns.size < 2 or losing.size == 0:
        return None
    return sortino_of(exact_sum(returns), exact_sum(losing**2), returns.size, periods_per_year)


def sortino_of(total: float, losing_squares: float, count: int, periods_per_year: float) -> float | None:
    """Return `sortino_ratio` from the sum of returns, and that of the squares of those below 0."""
    downside = math.sqrt(losing_squares / count)
    return _finite(total / count / downside * math.sqrt(periods_per_year)) if downside > 0 else None


def _null_reasons(values: dict[str, float | None], trades: int, returns: Floats) -> dict[str, str]:
    """Say of each figure that is None why it is."""
    dispersion = "fewer than two days" if returns.size < 2 else "daily returns do not differ"
    downside = "fewer than two days" if returns.size < 2 else "no losing day"
    reasons = {
        "profit_factor": "no losing trade",
        "recovery_factor": "no drawdown",
        "sharpe_ratio": dispersion,
        "sortino_ratio": downside,
        "avg_win": "no winning trade",
        "avg_loss": "no losing trade",
    }
    return {name: reasons[name] if trades else "no trades" for name, value in values.items() if value is None}


def _disperse(returns: Floats) -> bool:
    """Whether returns differ by more than their own rounding: the same 1 % twice is no dispersion."""
    return differ(float(returns.min()), float(returns.max()))


def differ(lowest: float, highest: float) -> bool:
    """Whether returns that lie between these do: by more than their own rounding."""
    return highest - lowest > 1e-15 * (1.0 + max(highest, -lowest))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@compiled
def deepest_falls(equity: Floats, deposit: float) -> tuple[float, float, float, float]:
    """Return peak and low of the largest fall in money, then of the largest in proportion.

    A fall is judged when its peak is passed or the data end: between two peaks only the lowest value can matter. Blocks
    that leave neither peak nor low behind are passed over, which the processor does several values at a time.
    """
    peak, low = deposit, deposit
    money_peak, money_low, share_peak, share_low = deposit, deposit, deposit, deposit
    size = np.uintp(equity.size)
    for start in range(np.uintp(0), size + np.uintp(1), np.uintp(_BLOCK)):
        end = start + np.uintp(_BLOCK)
        if end <= size:
            outside = False
            for i in range(start, end):
                outside |= (equity[i] < low) | (equity[i] > peak)
            if not outside:
                continue
        for i in range(start, min(end, size + np.uintp(1))):
            value = equity[i] if i < size else np.inf
            if value < low:
                low = value
            elif value > peak:
                if peak - low > money_peak - money_low:
                    money_peak, money_low = peak, low
                if (peak - low) * share_peak > (share_peak - share_low) * peak:
                    share_peak, share_low = peak, low
                peak, low = value, value
    return money_peak, money_low, share_peak, share_low
