"""From a specification to the strategy that decides; apart from the registry because it loads the simulation."""

from collections.abc import Mapping
from typing import Any

from consumer.installed.strategy_code import load_current
from consumer.preparation.strategy_file import class_in_file
from engine.deciders.advised.advisor import Advisor
from engine.deciders.advised.decider import AdvisedDecider, advised
from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.deciders.guard import guarded
from engine.errors import InvalidSpecification
from engine.specification import Specification


def chosen_strategy(specification: Specification) -> ChosenStrategy:
    """The specification's strategy with its parameters. Raises UnknownStrategy, InvalidParams, InvalidSpecification."""
    if specification.strategy_key is None:
        raise InvalidSpecification("the specification of the run names no strategy")
    return strategy_with(specification.strategy_key, specification.strategy_params)


def decider_of(specification: Specification, advisor: Advisor | None) -> ChosenStrategy | AdvisedDecider:
    """Who decides in a run: its strategy, or a language model, over it where there is one. Raises as above.

    advisor: asks for the run; only one that leaves something to a model needs it.
    """
    rule = chosen_strategy(specification) if specification.strategy_key is not None else None
    if specification.advice is not None and advisor is not None:
        return advised(specification, rule, advisor)
    return rule if rule is not None else chosen_strategy(specification)


def strategy_with(key: str, params: Mapping[str, Any]) -> ChosenStrategy:
    """A registered strategy, as its code is now, with these parameters. Raises UnknownStrategy, CodeChanged (where this
    process imported another one), InvalidParams.
    """
    return _chosen(*load_current(key), key, params)


def strategy_in_file(name: str, params: Mapping[str, Any]) -> ChosenStrategy:
    """The class of a file, path/to/file.py:Class, with these parameters. Raises UnknownStrategy, InvalidParams."""
    return _chosen(*class_in_file(name), name, params)


def _chosen(found: type[Any], version: str, key: str, params: Mapping[str, Any]) -> ChosenStrategy:
    return guarded(lambda: choose_strategy(found, key, params, version), "checking the parameters")  # type: ignore[no-any-return]  # guarded passes its step's value through
