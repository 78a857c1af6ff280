"""One document over another: what a request says of a strategy's rules, and `--params` of a file's."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.errors import InvalidParams, ParameterProblem
from engine.expressions.document import KEY, unknown_params

BY_NAME: Final = ("params", "llm")
"""Fields whose entries are merged; any other field of the later document stands in place of the earlier one's."""
_NAME: Final = re.compile(r"[^\W\d]\w*")


def merged(document: Mapping[str, Any], over: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[ParameterProblem, ...]]:
    """Return one document over another, neither checked, and which of its params neither the document below nor any
    expression knows: a misspelt one would vary nothing.
    """
    both = {**document, **over}
    for name in BY_NAME:
        below, above = document.get(name), over.get(name)
        if isinstance(below, Mapping) and above is None:
            both[name] = below
        elif isinstance(below, Mapping) and isinstance(above, Mapping):
            both[name] = {**below, **above}
    known = document.get("params")
    known = known if isinstance(known, Mapping) else {}
    asked = over.get("params")
    strangers = [name for name in asked if name not in known] if isinstance(asked, Mapping) else []
    if strangers:
        named = set(_names(both))
        strangers = [name for name in strangers if name not in named]
    return both, unknown_params(strangers, known)


def with_params(document: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with these of its params changed. Raises InvalidParams for names that it does not have."""
    known = document.get("params")
    known = known if isinstance(known, Mapping) else {}
    strangers = [name for name in params if name not in known]
    if strangers:
        raise InvalidParams(KEY, unknown_params(strangers, known))
    return {**document, "params": {**known, **params}}


def params_over(strategy_key: str | None, fixed: Mapping[str, Any], varied: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a single run of a combination."""
    name = within(strategy_key)
    if name is not None:
        return {**fixed, name: {**(fixed.get(name) or {}), **varied}}
    return {**fixed, **varied}


def within(strategy_key: str | None) -> str | None:
    """Which of a strategy's parameters is an object of what a search varies; None: the parameters themselves are."""
    return "params" if strategy_key == KEY else None


def _names(document: Mapping[str, Any]) -> Iterator[str]:
    """Every name in any expression of the document."""
    waiting = [value for name, value in document.items() if name not in BY_NAME]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield from _NAME.findall(value)
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
