"""The strategies that are installed: entry points of the group `backtest_consumer.strategies`, the name being the key.

A strategy is code, so only what an administrator installed can run; nothing here ever loads what an event names
unless it is registered. Looking keys up imports nothing; loading one imports its module only.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from engine.errors import UnknownStrategy
from engine.strategy import StrategyParams

GROUP = "backtest_consumer.strategies"


@dataclass(frozen=True, slots=True)
class RegisteredStrategy:
    """One registered strategy, not imported yet."""

    key: str
    target: str
    """module:Class."""
    distribution: str
    """Package that registered it, with its version; "" when unknown."""


def registered_strategies() -> dict[str, RegisteredStrategy]:
    """Every registered strategy by key, in the order of keys."""
    return dict(_registered())


def forget_registered() -> None:
    """Look anew the next time: something was installed while this process runs."""
    _registered.cache_clear()
    _entry_points.cache_clear()
    load_strategy.cache_clear()


@cache
def _registered() -> dict[str, RegisteredStrategy]:
    """Once a process: naming the distributions parses their metadata, 5 ms for every request that would ask."""
    return {
        key: RegisteredStrategy(key, points[0].value, _distribution(points[0]))
        for key, points in sorted(_entry_points().items())
    }


def is_registered(key: str) -> bool:
    """Whether a package registers a strategy under this key; imports nothing."""
    return key in _entry_points()


@cache
def load_strategy(key: str) -> type[Any]:
    """Import and return the strategy class; the same one again in this process.

    Raises UnknownStrategy: not registered, registered by two packages as different classes (which of them runs must
    not depend on the order of a directory), not importable, or no strategy (docs/strategies.md).
    """
    points = _entry_points().get(key)
    if points is None:
        known = ", ".join(sorted(_entry_points())) or "none"
        raise UnknownStrategy(f"unknown strategy {key!r}; registered are: {known}")
    if len({point.value for point in points}) > 1:
        claims = " and ".join(sorted(f"{point.value} ({_distribution(point)})" for point in points))
        raise UnknownStrategy(f"strategy {key!r} is registered more than once: {claims}")
    try:
        loaded = points[0].load()
    except (Exception, SystemExit) as error:  # any code may run at a user's import
        first_line = str(error).partition("\n")[0]
        raise UnknownStrategy(
            f"strategy {key!r} cannot be loaded from {points[0].value}: {type(error).__name__}: {first_line}"
        ) from error
    if not isinstance(loaded, type):
        raise UnknownStrategy(f"strategy {key!r}: {points[0].value} is not a class")
    lacks = _lacks(loaded)
    if lacks:
        raise UnknownStrategy(f"strategy {key!r}: {points[0].value} has no {lacks}")
    return loaded


def _lacks(strategy: type[Any]) -> str | None:
    """What the class would need to be a strategy."""
    if not any(callable(getattr(strategy, name, None)) for name in ("decide_all", "decide")):
        return "method decide_all or decide"
    params = getattr(strategy, "Params", None)
    if not (isinstance(params, type) and issubclass(params, StrategyParams)):
        return "class Params made from StrategyParams"
    return None


@cache
def _entry_points() -> dict[str, list[EntryPoint]]:
    """Read once a process: what is installed does not change under a running worker."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
