"""What a strategy's Params say to the space of a search: names, values, ends of intervals, whether anything stands.

Apart since few checks are about one, and what a search is made of takes its time to load.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from consumer.ports.strategies import StrategyCheck
from consumer.preparation.varied import RULES, params_over
from engine.deciders.guard import guarded
from engine.errors import InvalidParams, ParameterProblem
from engine.search.combinations import Judge, check_values, draw_combinations, judge_of
from engine.search.space import Space, read_space
from engine.strategy import checked_params, no_parameter
from schemas.json_text import printable, shown_key
from schemas.problems import FieldProblem

_MISSING = "Field required"
"""pydantic's words."""


def problems_of_space(strategy: type, check: StrategyCheck) -> Iterator[FieldProblem]:
    """As a rejection names them: param_grid.<name>, and strategy_params.<name> for what is not varied.

    Raises EngineError where the strategy's code comes to no answer.
    """
    asked, fixed = json.loads(check.space), json.loads(check.params)
    space = read_space(asked["param_grid"], intervals=asked["method"] != "grid")

    def checked(combination: Mapping[str, Any]) -> object:
        params = params_over(check.key, fixed, combination)
        return guarded(lambda: checked_params(strategy, check.key, params), "checking them")

    judge = judge_of(checked)
    problems = list(_of_names(space, check.key, fixed))
    if not problems:
        problems = [*_of_fixed(space, judge, fixed), *_of_varied(space, judge, check.key)]
    if not problems:
        problems = list(_of_all(space, judge, check.key))
    for problem in problems:
        field = ".".join(shown_key(part) for part in problem.field.split("."))
        yield FieldProblem(field, "invalid_params", printable(problem.message))


def _of_names(space: Space, key: str, fixed: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    """Names that rules do not have: their document may have any, so that its Params would not say."""
    if key == RULES:
        known = fixed.get("params") or {}
        for name in space.choices.keys() - known.keys():
            yield ParameterProblem(f"param_grid.{name}", no_parameter(name, known, "name of the rules' params"))


def _of_fixed(space: Space, judge: Judge, fixed: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    """What is wrong whatever is varied: unknown names and refused values among the rest, and names that are missing."""
    first = {name: next(iter(_values(choice))) for name, choice in space.choices.items()}
    for problem in judge(first):
        name = problem.field.partition(".")[0]
        if name not in space.choices and (name in fixed or problem.message == _MISSING):
            yield ParameterProblem(f"strategy_params.{problem.field}", problem.message)


def _values(choice: Any) -> Iterator[Any]:
    yield choice.low if hasattr(choice, "low") else choice.at(0)


def _of_varied(space: Space, judge: Judge, key: str) -> Iterator[ParameterProblem]:
    try:
        check_values(space, judge, key)
    except InvalidParams as error:
        yield from error.problems


def _of_all(space: Space, judge: Judge, key: str) -> Iterator[ParameterProblem]:
    """Whether anything stands: the first place of a grid that does settles it, or one draw."""
    size = space.size
    try:
        if size is None:
            draw_combinations(space, judge, 1, 0, key)
            return
        if all(judge(space.at(place)) for place in range(size)):
            why = judge(space.at(0))
            message = f"the strategy refuses every combination, the first because: {why[0].message}"
            yield ParameterProblem(f"param_grid.{next(iter(space.choices))}", message)
    except InvalidParams as error:
        yield from error.problems
