"""The space of a search: which values each parameter may take, counted and numbered without making any combination."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidSpace, ParameterProblem

_DECIMALS = 9
"""Values of a range are rounded to them, so that 0.1 + 2 * 0.1 is 0.3."""
_RANGE, _INTERVAL = ("from", "to", "step"), ("low", "high", "log", "int")


@dataclass(frozen=True, slots=True)
class Listed:
    """Values as they were listed."""

    values: tuple[Any, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    def at(self, place: int) -> Any:
        return self.values[place]


@dataclass(frozen=True, slots=True)
class Stepped:
    """first + place * step, whole numbers where both are."""

    first: float
    step: float
    count: int

    def at(self, place: int) -> float:
        value = self.first + place * self.step
        return value if isinstance(value, int) else round(value, _DECIMALS)


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from low to high, or all whole ones; log: their logarithms are drawn evenly."""

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def count(self) -> int | None:
        """How many there are; None without end."""
        return int(self.high - self.low) + 1 if self.whole else None

    def at(self, place: int) -> float:
        """Return a whole number of it."""
        return self.low + place


Choice = Listed | Stepped | Interval


@dataclass(frozen=True, slots=True)
class Space:
    """The choices of each parameter, names sorted. Its places are numbered from 0, the last name fastest."""

    choices: Mapping[str, Choice]

    @property
    def size(self) -> int | None:
        """The product of the choices; None without end."""
        size = 1
        for choice in self.choices.values():
            if choice.count is None:
                return None
            size *= choice.count
        return size

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each parameter has, of a space that has an end."""
        return tuple(choice.count or 0 for choice in self.choices.values())

    def at(self, place: int) -> dict[str, Any]:
        """Return the combination at a place of a space that has an end."""
        combination: dict[str, Any] = {}
        for name in reversed(list(self.choices)):
            choice = self.choices[name]
            place, of_choice = divmod(place, choice.count or 1)
            combination[name] = choice.at(of_choice)
        return dict(sorted(combination.items()))


def read_space(document: Mapping[str, Any], *, intervals: bool = True) -> Space:
    """Read `param_grid`: a list of values, {"from", "to", "step"} or {"low", "high", "log", "int"} for each name.

    intervals: whether such are allowed; a grid has none. Ranges are never made, however long. Raises InvalidSpace with
    every parameter at fault.
    """
    if not isinstance(document, Mapping):
        raise InvalidSpace((ParameterProblem("param_grid", "must be an object of parameters"),))
    if not document:
        raise InvalidSpace((ParameterProblem("param_grid", "names no parameter to vary"),))
    choices: dict[str, Choice] = {}
    problems = []
    for name in sorted(document):
        try:
            choices[name] = _choice(document[name], intervals=intervals)
        except _Refused as error:
            problems.append(ParameterProblem(f"param_grid.{name}", str(error)))
    if problems:
        raise InvalidSpace(tuple(problems))
    return Space(choices)


def identity(value: Any) -> str:
    """Return what two values share exactly when they are one: 5 and 5.0 are, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, allow_nan=False)


class _Refused(Exception):
    """What is wrong with one parameter's choices."""


def _choice(given: Any, *, intervals: bool) -> Choice:
    if isinstance(given, (list, tuple)):
        return _listed(tuple(given))
    if isinstance(given, range):
        return _listed(tuple(given))
    if not isinstance(given, Mapping):
        raise _Refused('must be a list of values, {"from", "to", "step"} or {"low", "high"}')
    if not given:
        raise _Refused("is empty")
    words = set(given)
    if words & {"low", "high"} and not words & set(_RANGE):
        _only(words, _INTERVAL)
        interval = _interval(given)
        if not intervals:
            raise _Refused("is an interval, which has no steps: a grid takes a list or a range; random and tpe draw")
        return interval
    _only(words, _RANGE)
    return _stepped(given)


def _listed(values: tuple[Any, ...]) -> Listed:
    if not values:
        raise _Refused("is empty")
    seen = set()
    for value in values:
        try:
            known = identity(value)
        except (TypeError, ValueError) as error:
            raise _Refused(f"{value!r} is no JSON value") from error
        if known in seen:
            raise _Refused(f"has {json.dumps(value)} twice")
        seen.add(known)
    return Listed(values)


def _stepped(given: Mapping[str, Any]) -> Stepped:
    first, last, step = _numbers(given, *_RANGE)
    if step <= 0:
        raise _Refused(f"step must be above 0, not {step:g}")
    if first > last:
        raise _Refused(f"from ({first:g}) is above to ({last:g})")
    steps = (last - first) / step
    if not math.isfinite(steps) or steps > 1e15 or (not isinstance(first + step, int) and step < 10.0**-_DECIMALS):
        raise _Refused(f"step {step:g} is too small")
    count = math.floor(steps) + 1
    # The quotient is rounded, and so are the values: one more may fit, or one fewer.
    range_ = Stepped(first, step, count)
    count += range_.at(count) <= last
    count -= range_.at(count - 1) > last
    return Stepped(first, step, count)


def _interval(given: Mapping[str, Any]) -> Interval:
    low, high = _numbers(given, "low", "high")
    flags = {name: given.get(name, False) for name in ("log", "int")}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise _Refused(f"{name} must be true or false, not {flag!r}")
    if low >= high:
        raise _Refused(f"low ({low:g}) must be below high ({high:g})")
    if flags["log"] and low <= 0:
        raise _Refused(f"log needs a low above 0, not {low:g}")
    if flags["int"]:
        if low != int(low) or high != int(high):
            raise _Refused("low and high of whole numbers must be whole")
        low, high = int(low), int(high)
    return Interval(low, high, flags["log"], flags["int"])


def _only(words: set[str], known: tuple[str, ...]) -> None:
    unknown = sorted(str(word) for word in words - set(known))
    if unknown:
        raise _Refused(f"unknown {', '.join(unknown)}; known are {', '.join(known)}")


def _numbers(given: Mapping[str, Any], *names: str) -> Iterator[float]:
    for name in names:
        value = given.get(name)
        if value is None:
            raise _Refused(f"{name} is missing")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise _Refused(f"{name} must be a number, not {value!r}")
        if abs(value) > 1e15:
            raise _Refused(f"{name} is too large")
        yield value
