"""What a strategy's Params say to the space of a search: names, values, ends of intervals, whether anything stands.

Apart since few checks are about one, and what a search is made of takes its time to load.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from consumer.ports.strategies import StrategyCheck
from engine.deciders.guard import guarded
from engine.errors import InvalidParams, ParameterProblem
from engine.expressions.document import KEY as RULES
from engine.expressions.merging import params_over, within
from engine.search.combinations import (
    Judge,
    check_values,
    draw_combinations,
    judge_of,
    named_within,
    refuses_all,
)
from engine.search.space import Space, read_space
from engine.strategy import checked_params, no_parameter
from schemas.json_text import printable, shown_key
from schemas.problems import FieldProblem

MOST_DRAWS: Final = 12_000
"""Of a random search, a tenth of a second; of a hundred samples all that may be refused."""
MOST_PLACES: Final = 200_000
"""Of a grid whose first ones do not stand, some seconds."""
_MISSING = "Field required"
"""pydantic's words."""


def problems_of_space(strategy: type, check: StrategyCheck) -> Iterator[FieldProblem]:
    """As a rejection names them: param_grid.<name>; what is not varied as of a run: strategy_params.<name>, or the
    field of a document.

    Raises EngineError where the strategy's code comes to no answer.
    """
    asked, fixed = json.loads(check.space), json.loads(check.params)
    space = read_space(asked["param_grid"], intervals=asked["method"] != "grid")

    def checked(combination: Mapping[str, Any]) -> object:
        params = params_over(check.key, fixed, combination)
        return guarded(lambda: checked_params(strategy, check.key, params), "checking them")

    judge = _judge(checked, check.key)
    problems = list(_of_names(space, check.key, fixed))
    strangers = {problem.field.partition(".")[2] for problem in problems}
    known = Space({name: choice for name, choice in space.choices.items() if name not in strangers})
    problems += [*_of_fixed(known, judge, fixed, check.key), *_of_varied(known, judge, check.key)]
    if not problems:
        problems = list(_of_all(space, judge, asked, check.key))
    for problem in problems:
        field = ".".join(shown_key(part) for part in problem.field.split("."))
        yield FieldProblem(field, "invalid_params", printable(problem.message))


def _of_names(space: Space, key: str, fixed: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    """Names that rules do not have: their document may have any, so that its Params would not say."""
    if key == RULES:
        known = fixed.get("params") or {}
        for name in space.choices.keys() - known.keys():
            yield ParameterProblem(f"param_grid.{name}", no_parameter(name, known, "name of the rules' params"))


def _judge(check: Callable[[Mapping[str, Any]], object], key: str) -> Judge:
    judge = judge_of(check)
    return lambda combination: named_within(within(key), judge(combination))


def _of_fixed(space: Space, judge: Judge, fixed: Mapping[str, Any], key: str) -> Iterator[ParameterProblem]:
    """What is wrong whatever is varied: unknown names and refused values among the rest, and names that are missing."""
    first = {name: next(iter(_values(choice))) for name, choice in space.choices.items()}
    for problem in judge({} if key == RULES else first):  # rules have a value for each of their names
        name = problem.field.partition(".")[0]
        if name in space.choices:
            continue
        if name in fixed or problem.message == _MISSING:
            where = "" if key == RULES else "strategy_params."  # a document's own fields are known by their names
            yield ParameterProblem(f"{where}{problem.field}", problem.message)
        elif name in (fixed.get(within(key) or "") or {}):
            yield ParameterProblem(f"{within(key)}.{problem.field}", problem.message)


def _values(choice: Any) -> Iterator[Any]:
    yield choice.low if hasattr(choice, "low") else choice.at(0)


def _of_varied(space: Space, judge: Judge, key: str) -> Iterator[ParameterProblem]:
    try:
        check_values(space, judge, key)
    except InvalidParams as error:
        yield from error.problems


def _of_all(space: Space, judge: Judge, asked: Mapping[str, Any], key: str) -> Iterator[ParameterProblem]:
    """Whether anything stands: the first place of a grid that does settles it, of draws as many as it takes here."""
    size, samples = space.size, asked["samples"]
    try:
        if asked["method"] == "random" and samples and (size is None or size > samples):
            with suppress(_Undecided):
                draw_combinations(space, _patient(judge, MOST_DRAWS), samples, asked["seed"], key)
        elif size is None:
            draw_combinations(space, judge, 1, 0, key)
        else:
            patient = _patient(judge, MOST_PLACES)
            with suppress(_Undecided):
                if all(patient(space.at(place)) for place in range(size)):
                    raise refuses_all(key, space, judge(space.at(0)))
    except InvalidParams as error:
        yield from error.problems


class _Undecided(Exception):
    """More than are asked about here; the search finds out."""


def _patient(judge: Judge, most: int) -> Judge:
    """Ask so often, and then no more: a rejection must not take longer than its request is waited for."""
    asked = 0

    def judged(combination: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        nonlocal asked
        asked += 1
        if asked > most:
            raise _Undecided
        return judge(combination)

    return judged
