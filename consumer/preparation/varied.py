"""A strategy whose parameters a search varies; apart because a single run need not load what a search is made of."""

from collections.abc import Mapping
from typing import Any

from consumer.installed.strategy_code import load_current
from consumer.preparation.strategy_file import class_in_file
from engine.deciders.decider import Decider
from engine.deciders.guard import guarded
from engine.errors import InvalidSpecification
from engine.expressions.merging import within
from engine.search.parts import Choose, chooser
from engine.specification import Specification


def varied_strategy(specification: Specification) -> tuple[Choose, str, frozenset[str]]:
    """What chooses the specification's strategy with varied parameters over its own; the version of its code, which
    stays that of this process; and which names are fixed. Raises UnknownStrategy, CodeChanged, InvalidSpecification.
    """
    if specification.strategy_key is None:
        raise InvalidSpecification("the specification of the run names no strategy")
    found, version = load_current(specification.strategy_key)
    if (inner := within(specification.strategy_key)) is not None:
        return _guarded(chooser(found, specification, version, within=inner)), version, frozenset()
    return _varied(found, version, specification)


def varied_in_file(name: str, specification: Specification) -> tuple[Choose, str, frozenset[str]]:
    """As `varied_strategy`, of the class of a file, path/to/file.py:Class. Raises UnknownStrategy."""
    return _varied(*class_in_file(name), specification)


def _varied(found: type[Any], version: str, specification: Specification) -> tuple[Choose, str, frozenset[str]]:
    return _guarded(chooser(found, specification, version)), version, frozenset(specification.strategy_params)


def _guarded(choose: Choose) -> Choose:
    def chosen(varied: Mapping[str, Any]) -> Decider:
        decider: Decider = guarded(lambda: choose(varied), "checking the parameters")
        return decider

    return chosen
