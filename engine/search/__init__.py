"""Many parameters on the same bars: spaces, combinations, shards, statistics."""

from engine.search.optimizing import optimize

__all__ = ["optimize"]
