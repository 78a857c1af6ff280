"""Which figures a combination has, and which of them a search may ask for; apart because checking needs no array."""

from typing import Final

from engine.errors import InvalidSpace, ParameterProblem

FIGURES: Final = (
    "total_trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "max_drawdown_pct",
    "recovery_factor",
    "sharpe_ratio",
    "sortino_ratio",
    "total_return_pct",
    "avg_win",
    "avg_loss",
    "max_consec_wins",
    "max_consec_losses",
    "avg_spread",
    "net_profit",
    "final_equity",
    "ambiguous_bars",
    "longest_drawdown_days",
    "exposure_pct",
    "cagr_pct",
    "calmar_ratio",
)
"""In the order of a row of figures; NaN stands for none."""
WHOLE: Final = frozenset({"total_trades", "max_consec_wins", "max_consec_losses", "ambiguous_bars"})
LOWER_IS_BETTER: Final = frozenset({"max_drawdown_pct", "longest_drawdown_days", "max_consec_losses", "ambiguous_bars"})


def check_metric(metric: str) -> None:
    """Raises InvalidSpace for what is no figure."""
    if metric not in FIGURES:
        known = ", ".join(FIGURES)
        raise InvalidSpace((ParameterProblem("optimize_metric", f"{metric!r} is no metric; there are {known}"),))
