"""Indicators that name each other: in which order they are made, and which are made of themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import ParameterProblem
from engine.expressions.syntax import Expression
from engine.expressions.tokens import shown


@dataclass(frozen=True, slots=True)
class Indicator:
    """timeframe: None for the run's bars, or those of whoever names it."""

    timeframe: str | None
    expression: Expression


def in_order(indicators: Mapping[str, Indicator]) -> tuple[list[str], list[ParameterProblem]]:
    """Return the indicators, each after those it names, without those that are made of themselves, which are told."""
    waiting = {name: set(references(each.expression, indicators)) for name, each in indicators.items()}
    named_by: dict[str, list[str]] = {name: [] for name in indicators}
    for name, named in waiting.items():
        for each in named:
            named_by[each].append(name)
    ready = [name for name, named in waiting.items() if not named]
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        del waiting[name]
        for other in named_by[name]:
            waiting[other].discard(name)
            if not waiting[other]:
                ready.append(other)
    return order, [_problem(name, indicators, waiting) for name in _in_circles(waiting)]


def references(expression: Expression, indicators: Mapping[str, Indicator]) -> dict[str, int]:
    """Return the indicators that an expression names, each with the column of the first place."""
    found: dict[str, int] = {}
    for node in expression.nodes:
        if node.kind == "name" and node.value in indicators:
            found.setdefault(str(node.value), node.column)
    return found


def made_elsewhere(indicators: Mapping[str, Indicator], order: list[str]) -> frozenset[str]:
    """Return the indicators that have a timeframe, or are made of one that has. order: of `in_order`."""
    found: set[str] = set()
    for name in order:
        own = indicators[name]
        if own.timeframe is not None or any(each in found for each in references(own.expression, indicators)):
            found.add(name)
    return frozenset(found)


def _in_circles(waiting: Mapping[str, set[str]]) -> list[str]:
    """Of what waits for others, those that others of them wait for in turn: the rest is only made of such."""
    left = dict(waiting)
    while True:
        wanted = {each for named in left.values() for each in named}
        idle = [name for name in left if name not in wanted]
        if not idle:
            return list(left)
        for name in idle:
            del left[name]


def _problem(name: str, indicators: Mapping[str, Indicator], waiting: Mapping[str, set[str]]) -> ParameterProblem:
    named = references(indicators[name].expression, indicators)
    reference, column = next((each, column) for each, column in named.items() if each in waiting)
    what = "itself" if reference == name else f"{shown(reference)}, which is made of this one"
    return ParameterProblem(f"indicators.{name}", f"column {column}: names {what}")
