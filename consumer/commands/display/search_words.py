"""What the statistics of a search are called for people, on the terminal of `optimize` and in the report alike."""

from typing import Any, Final

STATISTICS: Final = {
    "trials": "combinations tried",
    "trials_known": "tries known of, earlier ones too",
    "effective_trials": "of which independent",
    "expected_max_sharpe": "Sharpe ratio that luck reaches",
    "probabilistic_sharpe": "confidence in the best, were it the only one",
    "deflated_sharpe": "confidence in the best of all tries",
    "pbo": "probability of overfitting",
    "pbo_loss_share": "the best loses on other days",
    "spa_p": "p against doing nothing",
}
_SHARES: Final = frozenset({"probabilistic_sharpe", "deflated_sharpe", "pbo", "pbo_loss_share"})


def statistic_text(name: str, value: Any) -> str:
    """A figure of STATISTICS as people read it."""
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
