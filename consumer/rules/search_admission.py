"""Decides whether a search may run, and resolves it: what it has in common with a run by the rules of runs, the rest
here.

Counted without making a combination. What the strategy's code has to say, of names and values and whether it takes any
combination at all, was asked before, as for runs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consumer.ports import Admitted, Refused, StrategyCheck, StrategyRow, Unchecked, Verdict
from consumer.ports.searches import SearchAdmitted, SearchDecision, SearchRefused, SearchRow, SearchUnchecked
from consumer.rules.admission import Admission, Varied
from consumer.rules.columns import SEARCH_COLUMNS
from consumer.rules.search_specification import row_as_admitted
from engine.errors import InvalidSpace
from engine.expressions.document import KEY as RULES
from engine.search.figure_names import LOWER_IS_BETTER, check_metric
from engine.search.folds import WalkForward, folds_of
from engine.search.limits import check_method
from engine.search.space import Space, read_space
from schemas.json_text import JsonTextError, printable, shown, shown_key, strict_json
from schemas.optimization_requested import (
    SEARCH_DEFAULTS,
    OptimizationRequested,
    parse_optimization_requested,
    set_search_fields,
    usable_search_part,
)
from schemas.problems import INVALID_REQUEST, FieldProblem, InvalidRequestError, bounded, one_a_field
from schemas.requested import BacktestRequested, fields_at_fault, usable_part

JSON_COLUMNS: Final = ("param_grid", "context_tfs", "walk_forward")
_MOST_SHOWN: Final = 200
"""Characters of an object in a message."""
MOST_RESULTS: Final = 2**31 - 1
"""Combinations, times folds, that the row's columns can count."""
_SHARED_FIELDS: Final = BacktestRequested.model_fields.keys() & OptimizationRequested.model_fields.keys() - {
    "request_id"
}
"""What a run and a search have in common."""


@dataclass(frozen=True, slots=True)
class SearchAdmission:
    """max_combinations: the product of the choices, before any is left out."""

    admission: Admission
    max_combinations: int

    def __call__(
        self,
        request: OptimizationRequested,
        strategy: StrategyRow | None,
        row: SearchRow | None,
        problems: tuple[FieldProblem, ...],
        verdicts: Mapping[StrategyCheck, Verdict],
    ) -> SearchDecision:
        """Decide one request against the rows it names (None: there is no such row): `ports.AdmitSearch`, with the
        verdicts there are of strategies' code.
        """
        found = [*problems]
        if request.optimization_id is not None:
            found += _problems_of_row(request, row)
            if row is None:
                return SearchRefused(bounded(found))
            request, of_row = _with_row(request, row)
            found += of_row
        asked = _filled(request)
        space, of_space = self._space(asked, fields_at_fault(found))
        found += of_space
        found += _fixed_and_varied(asked, strategy)
        varied = Varied(frozenset(asked["param_grid"] or ()), _question(asked) if space is not None else None)
        decision = self.admission(
            usable_part({name: getattr(request, name) for name in _SHARED_FIELDS}, ()),
            strategy,
            None,
            tuple(found),
            verdicts,
            varied=varied,
        )
        match decision:
            case Unchecked(check):
                return SearchUnchecked(check)
            case Refused(refused):
                return SearchRefused(bounded(one_a_field(refused)))
            case Admitted(specification, columns):
                return _admitted(asked, specification, columns)

    def _space(self, asked: Mapping[str, Any], at_fault: frozenset[str]) -> tuple[Space | None, list[FieldProblem]]:
        """The space, and what is wrong with form and counts, of fields that are right so far."""
        problems: list[FieldProblem] = []
        space: Space | None = None
        is_grid = asked["method"] == "grid"
        try:
            check_metric(asked["optimize_metric"])
        except InvalidSpace as error:
            problems += _told(error)
        if asked["param_grid"] is not None and "method" not in at_fault:
            try:
                space = read_space(asked["param_grid"], intervals=not is_grid)
                if is_grid and (space.size or 0) > self.max_combinations:
                    too_many, space = space, None  # the strategy's code is not asked about so many
                    check_method(too_many, asked["method"], None, asked["seed"], self.max_combinations)
                elif not {"samples", "seed"} & at_fault:
                    check_method(space, asked["method"], asked["samples"], asked["seed"], self.max_combinations)
            except InvalidSpace as error:
                problems += _told(error)
        problems += _problems_of_folds(asked, space)
        return space, [each for each in problems if each.field.partition(".")[0] not in at_fault]


def _fixed_and_varied(asked: Mapping[str, Any], strategy: StrategyRow | None) -> Iterator[FieldProblem]:
    """Names of rules that the request itself gives a value beside those to try; of other strategies the schema says
    so.
    """
    if strategy is None or strategy.strategy_key != RULES:
        return
    fixed, varied = (asked["strategy_params"] or {}).get("params"), asked["param_grid"] or {}
    for name in fixed if isinstance(fixed, Mapping) else ():
        if name in varied:
            field = f"strategy_params.params.{shown_key(name)}"
            yield FieldProblem(field, INVALID_REQUEST, "must not stand in param_grid too")


def _told(error: InvalidSpace) -> Iterator[FieldProblem]:
    for problem in error.problems:
        yield FieldProblem(problem.field, INVALID_REQUEST, problem.message)


def _problems_of_folds(asked: Mapping[str, Any], space: Space | None) -> Iterator[FieldProblem]:
    start, end = asked["start_date"], asked["end_date"]
    if asked["walk_forward"] is None or start is None or end is None or start >= end:
        return
    try:
        folds = len(folds_of(WalkForward(**asked["walk_forward"]), start, end))
    except InvalidSpace as error:
        yield from _told(error)
        return
    count = space.size if asked["method"] == "grid" and space is not None else asked["samples"]
    if count is not None and count * folds > MOST_RESULTS:
        message = f"makes {folds} folds of {count} combinations, more than {MOST_RESULTS} results"
        yield FieldProblem("walk_forward", INVALID_REQUEST, message)


def _problems_of_row(request: OptimizationRequested, row: SearchRow | None) -> Iterator[FieldProblem]:
    """The named row must exist, wait, and agree. A row already cancelled is let through: it ends cancelled."""
    if row is None:
        yield FieldProblem("optimization_id", "run_not_found", f"names no search: {request.optimization_id}")
        return
    if row.has_search:
        message = f"names search {row.id}, for which a request was accepted before"
        yield FieldProblem("optimization_id", "run_not_pending", message)
    elif row.status not in {"pending", "cancelled"}:
        yield FieldProblem("optimization_id", "run_not_pending", f"names search {row.id}, which is {row.status}")
    given = set_search_fields(request)
    for name in SEARCH_COLUMNS:
        if name not in given:
            continue
        said, kept = getattr(request, name), row.columns[name]
        if name in JSON_COLUMNS:
            kept = _parsed(kept)
            said = said.model_dump() if name == "walk_forward" else said
            kept = {**WALK_FORWARD_DEFAULTS, **kept} if name == "walk_forward" and isinstance(kept, dict) else kept
        if said != kept:
            told, there = map(_plainly, (said, kept))
            yield FieldProblem(name, "run_disagrees", f"is {told}, but the search's row says {there}")


def _plainly(value: Any) -> str:
    """A value of a column in a message: what an object or a list has in it, not that it is one."""
    return str(printable(json.dumps(value)[:_MOST_SHOWN])) if isinstance(value, dict | list) else shown(value)


WALK_FORWARD_DEFAULTS: Final[Mapping[str, Any]] = {
    "train_days": 365,
    "test_days": 90,
    "anchored": False,
    "purge_days": 0,
}


def _with_row(request: OptimizationRequested, row: SearchRow) -> tuple[OptimizationRequested, tuple[FieldProblem, ...]]:
    """The request as if it said itself what the row says; and what the row says wrong, by column."""
    own = {
        name: getattr(request, name)
        for name in set_search_fields(request) - {*SEARCH_COLUMNS, "optimization_id", "request_id"}
    }
    columns: dict[str, Any] = {name: value for name, value in row.columns.items() if value is not None}
    unread = []
    for name in JSON_COLUMNS:
        if name in columns:
            columns[name] = _parsed(columns[name])
            if columns[name] is None:
                del columns[name]
                unread.append(FieldProblem(name, INVALID_REQUEST, f"must be JSON, is {shown(row.columns[name])}"))
    data = {**own, **columns}
    try:
        return parse_optimization_requested(data), tuple(unread)
    except InvalidRequestError as error:
        at_fault = {problem.field for problem in unread}
        problems = (*unread, *(each for each in error.problems if each.field not in at_fault))
        return usable_search_part(data, error.problems), problems


def _parsed(text: Any) -> Any:
    try:
        return strict_json(text) if isinstance(text, str) else None
    except JsonTextError:
        return None


def _filled(request: OptimizationRequested) -> dict[str, Any]:
    """The request's fields, with the table's defaults where it sets none."""
    asked = {name: getattr(request, name) for name in OptimizationRequested.model_fields}
    asked |= {name: default for name, default in SEARCH_DEFAULTS.items() if asked[name] is None}
    asked["walk_forward"] = request.walk_forward.model_dump() if request.walk_forward is not None else None
    return asked


def _question(asked: Mapping[str, Any]) -> str:
    """What the strategy's code is asked about, as JSON (preparation.strategy_verdict reads it)."""
    return json.dumps({name: asked[name] for name in ("param_grid", "method", "samples", "seed")})


def _admitted(asked: Mapping[str, Any], engine: dict[str, Any], of_run: Mapping[str, Any]) -> SearchAdmitted:
    columns = {name: of_run.get(name, asked[name]) for name in SEARCH_COLUMNS}
    columns["param_grid"] = json.dumps(asked["param_grid"])
    columns["walk_forward"] = json.dumps(asked["walk_forward"]) if asked["walk_forward"] is not None else None
    names = ("param_grid", "method", "samples", "seed", "optimize_metric", "min_trades", "walk_forward")
    search = {name: asked[name] for name in names}
    search["lower_is_better"] = asked["optimize_metric"] in LOWER_IS_BETTER
    specification = {
        "strategy_id": columns["strategy_id"],
        "engine": engine,
        "search": search,
        "row": row_as_admitted(columns),
    }
    return SearchAdmitted(specification, columns)
