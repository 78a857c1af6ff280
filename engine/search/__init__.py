"""Many parameters on the same bars: spaces, combinations, shards, statistics."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.search.optimizing import optimize

__all__ = ["optimize"]


def __getattr__(name: str) -> Any:
    """Import `optimize` when it is asked for: who only checks a request needs neither arrays nor compiler."""
    if name != "optimize":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.search.optimizing import optimize

    return optimize
