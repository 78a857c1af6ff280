"""What a strategy's own code says to a request: it is imported here and its Params validate, so call it where that may
go wrong, in an engine checker for users' packages.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches

from consumer.installed.registry import is_registered, load_strategy, registered_strategies
from consumer.ports.strategies import StrategyCheck, Verdict
from engine.errors import EngineError, InvalidParams
from engine.expressions.document import KEY as RULES
from schemas.json_text import printable, shown_key
from schemas.problems import FieldProblem, bounded


def verdict_of(check: StrategyCheck) -> Verdict:
    """Import the strategy and have its Params validate. Raises nothing that the strategy raises."""
    if not is_registered(check.key):
        meant = get_close_matches(check.key, registered_strategies(), n=1)
        advice = f" (did you mean {meant[0]!r}?)" if meant else ""
        return (unknown_strategy(f"names a strategy whose key {check.key!r} is not registered here{advice}"),)
    try:
        strategy = load_strategy(check.key)
    except EngineError as error:
        return (unknown_strategy(str(error)),)
    return bounded(tuple(_problems_of_params(strategy, check)))


def unknown_strategy(message: str) -> FieldProblem:
    """The strategy that the request names cannot be had."""
    return FieldProblem("strategy_id", "unknown_strategy", printable(message))


def unchecked_params(key: str, message: str) -> FieldProblem:
    """The strategy's Params came to no answer."""
    told = f"cannot be checked by strategy {key!r}: {message}"
    return FieldProblem("strategy_params", "invalid_params", printable(told))


def _problems_of_params(strategy: type, check: StrategyCheck) -> Iterator[FieldProblem]:
    from engine.deciders.guard import guarded  # here: they load polars, and who has others asked need not
    from engine.strategy import checked_params

    try:
        if check.space:
            from consumer.preparation.space_verdict import problems_of_space  # late: it loads what a search is made of

            yield from problems_of_space(strategy, check)
            return
        guarded(lambda: checked_params(strategy, check.key, json.loads(check.params)), "checking them")
    except InvalidParams as error:
        for problem in error.problems:
            # A document's own fields are known by their names, wherever it comes from.
            where = "" if check.key == RULES else "strategy_params."
            yield FieldProblem(where + shown_key(problem.field), "invalid_params", printable(problem.message))
    except EngineError as error:
        yield unchecked_params(check.key, str(error))
