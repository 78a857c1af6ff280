"""The strategies that are installed: entry points of the group `backtest_consumer.strategies`, the name being the key.

A strategy is code, so only what an administrator installed can run; nothing here ever loads what an event names
unless it is registered. Looking keys up imports nothing; loading one imports its module only.
"""

import os
import sys
import time
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from engine.errors import UnknownStrategy

GROUP = "backtest_consumer.strategies"

SETTLING_NS: Final = 2_000_000_000
"""For an installer to write a package's metadata, once it made their folder."""

_LONGEST_GUESSED: Final = 100
"""Characters of a key that somebody may have mistyped: looking for the nearest takes its time."""

Installed = tuple[tuple[str, int], ...]
"""What may be imported, by the folders of it: another one after something was installed or removed."""


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
    return dict(_registered(installed()))


@lru_cache(maxsize=1)
def _registered(state: Installed) -> dict[str, RegisteredStrategy]:
    """Once: naming the distributions parses their metadata, 5 ms for every request that would ask."""
    return {
        key: RegisteredStrategy(key, points[0].value, _distribution(points[0]))
        for key, points in sorted(_entry_points(state).items())
    }


def is_registered(key: str) -> bool:
    """Whether a package registers a strategy under this key; imports nothing."""
    return key in _entry_points(installed())


def entry_point_of(key: str) -> EntryPoint:
    """What registers the key; imports nothing of it.

    Raises UnknownStrategy: not registered, or by two packages as different classes (which of them runs must not depend
    on the order of a directory).
    """
    registered = _entry_points(installed())
    points = registered.get(key)
    if points is None:
        known = ", ".join(sorted(registered)) or "none"
        close = get_close_matches(key, registered, n=1) if len(key) <= _LONGEST_GUESSED else []
        advice = f" (did you mean {close[0]!r}?)" if close else ""
        raise UnknownStrategy(f"unknown strategy {key!r}{advice}; registered are: {known}")
    if len({point.value for point in points}) > 1:
        claims = " and ".join(sorted(f"{point.value} ({_distribution(point)})" for point in points))
        raise UnknownStrategy(f"strategy {key!r} is registered more than once: {claims}")
    return points[0]


def load_strategy(key: str) -> type[Any]:
    """Import and return the strategy class.

    Raises UnknownStrategy: as `entry_point_of`, or not importable, or no strategy by its looks.
    """
    point = entry_point_of(key)
    try:
        loaded = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # any code may run at a user's import
        first_line = str(error).partition("\n")[0]
        raise UnknownStrategy(
            f"strategy {key!r} cannot be loaded from {point.value}: {type(error).__name__}: {first_line}"
        ) from error
    if not isinstance(loaded, type):
        raise UnknownStrategy(f"strategy {key!r}: {point.value} is not a class")
    lacks = lacks_of_a_strategy(loaded)
    if lacks:
        raise UnknownStrategy(f"strategy {key!r}: {point.value} has no {lacks}")
    return loaded


def lacks_of_a_strategy(strategy: type[Any]) -> str | None:
    """What the class would need to be a strategy; None where it is one by its looks."""
    if not any(callable(getattr(strategy, name, None)) for name in ("decide_all", "decide")):
        return "method decide_all or decide"
    from engine.strategy import StrategyParams  # here: it loads polars, which a worker's own process can do without

    params = getattr(strategy, "Params", None)
    if not (isinstance(params, type) and issubclass(params, StrategyParams)):
        return "class Params made from StrategyParams"
    return None


def installed() -> Installed:
    """What is installed now: the folders that packages lie in are touched by every change of it.

    Of a folder that was touched just now each call makes another one: an installer makes a package's folder first and
    writes into it then, which does not touch the folder around it.
    """
    now = time.time_ns()
    found = []
    for folder in sys.path:
        try:
            touched = os.stat(folder or ".").st_mtime_ns  # noqa: PTH116  # microseconds, once a run
        except OSError:
            touched = 0
        found.append((folder, now if abs(now - touched) < SETTLING_NS else touched))
    return tuple(found)


@lru_cache(maxsize=1)
def _entry_points(state: Installed) -> dict[str, list[EntryPoint]]:  # the key of the cache
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
