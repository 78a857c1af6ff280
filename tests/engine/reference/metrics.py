"""Section 5, each figure the obvious way, from exact rows and exact equity."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from tests.engine.reference.model import Metric

DIGITS = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Measured:
    """values: every metric column. null_reasons: why, for each column whose value is None.

    ratio_noise: by how much Sharpe and Sortino may differ where each day's return is off by a double's last digit.
    """

    values: Mapping[str, Metric]
    null_reasons: Mapping[str, str]
    ratio_noise: float


def measure(
    deposit: Fraction,
    profits: Sequence[Fraction],
    equity: Sequence[Fraction],
    periods: Sequence[Hashable],
    spreads_pips: Sequence[Fraction],
    periods_a_year: Fraction,
) -> Measured:
    """profits: one a row, in row order. equity, periods and spreads_pips: one a simulated bar.

    periods: what a return is taken over, the day a bar belongs to or the bar itself.
    """
    values: dict[str, Metric] = {}
    reasons: dict[str, str] = {}

    def put(column: str, value: Fraction | Decimal | int | None, reason: str) -> None:
        if not profits and column not in VALUED_WITHOUT_TRADES:
            value, reason = None, "no_trades"
        values[column] = float(value) if isinstance(value, (Fraction, Decimal)) else value
        if value is None:
            reasons[column] = reason

    wins = [profit for profit in profits if profit > 0]
    losses = [profit for profit in profits if profit < 0]
    net_profit = sum(profits, Fraction(0))
    fall_in_money, fall_in_percent = _largest_falls(deposit, equity)
    returns = _returns(deposit, equity, periods)

    put("total_trades", len(profits), "")
    put("net_profit", net_profit, "")
    put("final_equity", equity[-1], "")
    put("total_return_pct", net_profit / deposit * 100, "")
    put("max_drawdown_pct", fall_in_percent, "")
    put("max_consec_wins", _longest_streak([profit > 0 for profit in profits]), "")
    put("max_consec_losses", _longest_streak([profit < 0 for profit in profits]), "")
    put("avg_spread", _mean(spreads_pips), "")
    put("win_rate", Fraction(len(wins), len(profits)) if profits else None, "no_trades")
    put("expectancy", _mean(profits), "no_trades")
    put("profit_factor", sum(wins, Fraction(0)) / -sum(losses) if losses else None, "no_losses")
    put("avg_win", _mean(wins), "no_wins")
    put("avg_loss", _mean(losses), "no_losses")
    put("recovery_factor", net_profit / fall_in_money if fall_in_money else None, "no_drawdown")
    put("sharpe_ratio", _sharpe(returns, periods_a_year), "too_few_days" if len(returns) < 2 else "no_dispersion")
    put("sortino_ratio", _sortino(returns, periods_a_year), "too_few_days" if len(returns) < 2 else "no_losing_day")
    return Measured(values, reasons, _ratio_noise(returns, periods_a_year))


VALUED_WITHOUT_TRADES = frozenset(
    {
        "total_trades",
        "net_profit",
        "final_equity",
        "total_return_pct",
        "max_drawdown_pct",
        "max_consec_wins",
        "max_consec_losses",
        "avg_spread",
    }
)


def _mean(values: Sequence[Fraction]) -> Fraction | None:
    return sum(values, Fraction(0)) / len(values) if values else None


def _longest_streak(hits: Sequence[bool]) -> int:
    longest = current = 0
    for hit in hits:
        current = current + 1 if hit else 0
        longest = max(longest, current)
    return longest


def _largest_falls(deposit: Fraction, equity: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """The largest fall from a running peak in money, and the largest in per cent of that peak:

    not always the same fall.
    """
    peak, in_money, in_percent = deposit, Fraction(0), Fraction(0)
    for value in equity:
        peak = max(peak, value)
        in_money = max(in_money, peak - value)
        in_percent = max(in_percent, (peak - value) / peak * 100)
    return in_money, in_percent


def _returns(deposit: Fraction, equity: Sequence[Fraction], periods: Sequence[Hashable]) -> list[Fraction]:
    last_of_each = dict(zip(periods, equity, strict=True))
    returns, before = [], deposit
    for value in last_of_each.values():
        returns.append(value / before - 1)
        before = value
    return returns


def _sharpe(returns: Sequence[Fraction], periods_a_year: Fraction) -> Decimal | None:
    return _sharpe_of(_mean(returns), returns, periods_a_year)


def _sharpe_of(numerator: Fraction | None, returns: Sequence[Fraction], periods_a_year: Fraction) -> Decimal | None:
    mean = _mean(returns)
    if numerator is None or mean is None or len(returns) < 2 or len(set(returns)) == 1:
        return None
    variance = sum(((each - mean) ** 2 for each in returns), Fraction(0)) / (len(returns) - 1)
    return _ratio(numerator, variance, periods_a_year)


def _sortino(returns: Sequence[Fraction], periods_a_year: Fraction) -> Decimal | None:
    return _sortino_of(_mean(returns), returns, periods_a_year)


def _sortino_of(numerator: Fraction | None, returns: Sequence[Fraction], periods_a_year: Fraction) -> Decimal | None:
    if numerator is None or len(returns) < 2 or min(returns) >= 0:
        return None
    downside = sum((min(each, Fraction(0)) ** 2 for each in returns), Fraction(0)) / len(returns)
    return _ratio(numerator, downside, periods_a_year)


def _ratio_noise(returns: Sequence[Fraction], periods_a_year: Fraction) -> float:
    """The ratio that a mean of two last digits of 1.0 would have, over the smaller of both deviations."""
    digits = Fraction(2) ** -51
    both = _sharpe_of(digits, returns, periods_a_year), _sortino_of(digits, returns, periods_a_year)
    return max((float(noise) for noise in both if noise is not None), default=0.0)


def _ratio(mean: Fraction, mean_square: Fraction, periods_a_year: Fraction) -> Decimal:
    with localcontext(DIGITS):
        return _decimal(mean) / _decimal(mean_square).sqrt() * _decimal(periods_a_year).sqrt()


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
