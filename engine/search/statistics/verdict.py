"""The statistics of a search in words: how likely a result this good is by luck alone."""

from collections.abc import Mapping
from typing import Any, Final

_UNLIKELY: Final = 0.05
_LIKELY: Final = 0.5


def verdict(found: Mapping[str, Any]) -> str:
    """Return one or two sentences. found: the statistics by name."""
    plain, deflated = found.get("probabilistic_sharpe"), found.get("deflated_sharpe")
    if plain is None:
        return "nothing to judge: no combination made enough trades, or its returns do not differ"
    if deflated is None and found.get("spa_p") is None:
        # One curve that was not selected among others: a walk-forward, or a search of one.
        return (
            f"{_likelihood(1.0 - plain)}: by luck alone a strategy without skill does this well {_chance(1.0 - plain)}"
        )
    trials = found["trials_known"]
    chances = {"deflated_sharpe": None if deflated is None else 1.0 - deflated, "spa_p": found.get("spa_p")}
    worst = max(chance for chance in chances.values() if chance is not None)
    told = [f"the best of {trials:,} tries without any skill does this well {_chance(worst)}"]
    if (pbo := found.get("pbo")) is not None:
        told.append(f"in {pbo:.0%} of splits the best of one half of the days was below the middle on the other half")
    judged = max(worst, 0.5 if pbo is not None and pbo > 0.5 else 0.0)
    return f"{_likelihood(judged)}: {'; '.join(told)}"


def _likelihood(chance: float) -> str:
    if chance >= _LIKELY:
        return "most likely luck"
    return "could well be luck" if chance > _UNLIKELY else "unlikely to be luck alone"


def _chance(chance: float) -> str:
    return "less than once in a thousand times" if chance < 0.001 else f"in {chance:.1%} of cases"
