"""How figures are told to people: in groups, each with its unit. Terminal, report and page show the same ones.

Figures are named as `backtest run --json` prints them. One that has no place here yet is told last, as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Unit(StrEnum):
    """What a figure counts, and so how it is written."""

    MONEY = "money"
    """Of the account, two decimals."""
    COST = "cost"
    """Money of which a hundredth counts, four decimals."""
    PERCENT = "percent"
    FRACTION = "fraction"
    """0 to 1, written in per cent."""
    RATIO = "ratio"
    PIPS = "pips"
    COUNT = "count"
    DAYS = "days"
    PROBABILITY = "probability"


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """A title and rows of (label, value), as text."""

    title: str
    rows: tuple[tuple[str, str], ...]


_GROUPS: Final[Mapping[str, Mapping[str, tuple[str, Unit]]]] = {
    "result": {
        "net_profit": ("net profit", Unit.MONEY),
        "total_return_pct": ("return", Unit.PERCENT),
        "cagr_pct": ("return a year (CAGR)", Unit.PERCENT),
        "buy_and_hold_return_pct": ("buy and hold", Unit.PERCENT),
        "final_equity": ("final equity", Unit.MONEY),
        "best_month_pct": ("best month", Unit.PERCENT),
        "worst_month_pct": ("worst month", Unit.PERCENT),
    },
    "doubt": {
        "ambiguous_bars": ("ambiguous bars", Unit.COUNT),
        "net_profit_stop_first": ("net profit, stops first", Unit.MONEY),
        "net_profit_target_first": ("net profit, targets first", Unit.MONEY),
        "sharpe_ci_low": ("Sharpe, 95 % from", Unit.RATIO),
        "sharpe_ci_high": ("Sharpe, 95 % to", Unit.RATIO),
        "expectancy_t": ("t of the expectancy", Unit.RATIO),
        "expectancy_p": ("p of the expectancy", Unit.PROBABILITY),
    },
    "risk": {
        "max_drawdown_pct": ("max drawdown", Unit.PERCENT),
        "longest_drawdown_days": ("longest drawdown", Unit.DAYS),
        "sharpe_ratio": ("Sharpe ratio", Unit.RATIO),
        "sortino_ratio": ("Sortino ratio", Unit.RATIO),
        "calmar_ratio": ("Calmar ratio", Unit.RATIO),
        "recovery_factor": ("recovery factor", Unit.RATIO),
        "exposure_pct": ("time in the market", Unit.PERCENT),
    },
    "trades": {
        "total_trades": ("trades", Unit.COUNT),
        "win_rate": ("win rate", Unit.FRACTION),
        "profit_factor": ("profit factor", Unit.RATIO),
        "expectancy": ("expectancy a trade", Unit.MONEY),
        "avg_win": ("average win", Unit.MONEY),
        "avg_loss": ("average loss", Unit.MONEY),
        "max_consec_wins": ("wins in a row", Unit.COUNT),
        "max_consec_losses": ("losses in a row", Unit.COUNT),
    },
    "costs": {
        "total_spread_cost": ("spread, in the prices", Unit.MONEY),
        "total_commission": ("commission", Unit.MONEY),
        "total_swap": ("swap", Unit.MONEY),
        "total_slippage_cost": ("slippage, in the prices", Unit.MONEY),
        "avg_spread": ("average spread", Unit.PIPS),
        "break_even_spread_pips": ("spread at which it earns 0", Unit.PIPS),
    },
    "language model": {
        "llm_calls_used": ("calls", Unit.COUNT),
        "llm_calls_cached": ("answers of earlier calls", Unit.COUNT),
        "llm_cost": ("cost, beside the result", Unit.COST),
        "llm_input_tokens": ("tokens asked", Unit.COUNT),
        "llm_output_tokens": ("tokens answered", Unit.COUNT),
    },
}
GROUPED_FIGURES: Final = frozenset(name for figures in _GROUPS.values() for name in figures)
_NO_FIGURES: Final = frozenset({"null_reasons", "warnings", "result_digest", "data_passport", "strategy_version"})


def figure_groups(metrics: Mapping[str, Any], currency: str) -> list[FigureGroup]:
    """The figures that are there, in groups. A figure that is null says why, where null_reasons does."""
    reasons: Mapping[str, str] = metrics.get("null_reasons") or {}

    def told(name: str, unit: Unit | None) -> str:
        value = metrics[name]
        if value is None:
            return f"- ({reasons[name]})" if reasons.get(name) else "-"
        return figure_text(value, unit, currency)

    groups = []
    for title, figures in _GROUPS.items():
        there = [(name, label, unit) for name, (label, unit) in figures.items() if name in metrics]
        groups.append(FigureGroup(title, tuple((label, told(name, unit)) for name, label, unit in there)))
    left = sorted(metrics.keys() - GROUPED_FIGURES - _NO_FIGURES)
    plain = [name for name in left if not isinstance(metrics[name], dict | list)]
    groups.append(FigureGroup("further", tuple((name.replace("_", " "), told(name, None)) for name in plain)))
    return [group for group in groups if group.rows]


def ambiguity(metrics: Mapping[str, Any], currency: str) -> str | None:
    """What bars that reach stop and target leave open, in a line; None where nothing is, or nothing is known."""
    bars = metrics.get("ambiguous_bars")
    if not bars:
        return None
    stop_first, target_first = (metrics[f"net_profit_{each}_first"] for each in ("stop", "target"))
    first, last = (figure_text(each, Unit.MONEY, currency) for each in (stop_first, target_first))
    return f"interval: net profit from {first} (stops first) to {last} (targets first), {bars:,} ambiguous bars"


def figure_text(value: Any, unit: Unit | None, currency: str) -> str:
    """A figure as people read it. No sign stands before what rounds to 0."""
    match unit:
        case Unit.MONEY | Unit.COST:
            return f"{_plain(value, 4 if unit is Unit.COST else 2)} {currency}"
        case Unit.PERCENT:
            return f"{_plain(value, 2)} %"
        case Unit.FRACTION:
            return f"{_plain(value * 100, 2)} %"
        case Unit.PIPS:
            return f"{_plain(value, 2)} pips"
        case Unit.DAYS:
            return f"{_plain(value, 1)} days"
        case Unit.RATIO:
            return _plain(value, 3)
        case Unit.PROBABILITY:
            return _plain(value, 4)
        case Unit.COUNT:
            return f"{value:,}"
        case None:
            return _plain(value, 4) if isinstance(value, float) else str(value)


def _plain(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"
