"""What a campaign is about: all of the load and faults, or runs with more of one subject and none of the other."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

MORE: Final = 3
MIXES: Final[dict[str, dict[str, int]]] = {
    "all": {},
    "runs": {"searches": 0, "models": 0},
    "posts": {"searches": 0, "models": 0, "posts": MORE},
    "searches": {"searches": MORE, "models": 0},
    "models": {"searches": 0, "models": MORE},
}
"""How much more often than in `all` its load and faults come, by subject."""
Kind = TypeVar("Kind", bound=Callable[..., Any])


def of_mix(kinds: dict[Kind, int], mix: str) -> dict[Kind, int]:
    """With their weights. Raises KeyError for a mix that is none of MIXES."""
    found = {kind: weight * MIXES[mix].get(subject_of(kind), 1) for kind, weight in kinds.items()}
    return {kind: weight for kind, weight in found.items() if weight}


def subject_of(kind: Callable[..., Any]) -> str:
    """By its name."""
    name = str(getattr(kind, "__name__", kind))
    if "search" in name:
        return "searches"
    if "model" in name or name.endswith("_at_a_call"):
        return "models"
    return "posts" if "posted" in name or "api" in name else "runs"
