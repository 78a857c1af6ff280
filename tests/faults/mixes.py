"""What a campaign is about: all of the load and faults, or runs with more of one subject and none of the other."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

MIXES: Final = ("all", "runs", "searches", "models")
Kind = TypeVar("Kind", bound=Callable[..., Any])
MORE: Final = 3


def of_mix(kinds: dict[Kind, int], mix: str) -> dict[Kind, int]:
    """With their weights. Raises KeyError for a mix that is none of MIXES."""
    weights = {"all": (1, 1, 1), "runs": (1, 0, 0), "searches": (1, MORE, 0), "models": (1, 0, MORE)}[mix]
    of_subject = dict(zip(("runs", "searches", "models"), weights, strict=True))
    found = {kind: weight * of_subject[subject_of(kind)] for kind, weight in kinds.items()}
    return {kind: weight for kind, weight in found.items() if weight}


def subject_of(kind: Callable[..., Any]) -> str:
    """By its name."""
    name = str(getattr(kind, "__name__", kind))
    if "search" in name:
        return "searches"
    return "models" if "model" in name or name.endswith("_at_a_call") else "runs"
