"""A strategy's parameters as it takes them: with its defaults, which decide as much as what was asked for."""

from collections.abc import Mapping
from typing import Any

from consumer.installed.registry import load_strategy
from consumer.installed.strategy_code import strategy_version
from engine.deciders.guard import guarded
from engine.errors import EngineError
from engine.strategy import checked_params


def full_params(key: str, asked: Mapping[str, Any], version: str | None) -> Mapping[str, Any] | None:
    """The parameters with the defaults of the code of that version, as JSON; imports it.

    None where the code that is installed is another one, whose defaults may be others, or has no answer.
    """
    try:
        if version is None or strategy_version(key) != version:
            return None
        strategy = load_strategy(key)
        checked: dict[str, Any] = guarded(
            lambda: checked_params(strategy, key, dict(asked)).model_dump(mode="json"), "showing its parameters"
        )
    except EngineError:
        return None
    return checked
