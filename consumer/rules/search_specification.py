"""What is kept of a search that was admitted, and how it is read back."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.ports.outcomes import Failed
from consumer.ports.searches import SearchFacts
from consumer.rules.columns import SEARCH_COLUMNS, SEARCH_JSON_COLUMNS
from engine.expressions.merging import params_over
from schemas.json_text import shown
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested


def stored_search(specification: Mapping[str, Any]) -> str:
    """What `facts_of_search` reads: strategy_id, `engine` (a specification), `search` (what is varied, how), `row`."""
    return json.dumps(specification, sort_keys=True)


def row_as_admitted(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration columns of optimization_runs as plain JSON: what the row must still say when the search ends."""
    return {name: _plain(name, columns[name]) for name in SEARCH_COLUMNS}


def search_disagrees(specification: Mapping[str, Any], columns: Mapping[str, Any]) -> Failed | None:
    """The failure of a search whose row was changed after its request was accepted; None: they agree.

    columns: of the row as it is. Names every column that differs.
    """
    used, now = specification.get("row", {}), row_as_admitted(columns)
    problems = tuple(
        FieldProblem(name, "run_disagrees", f"is {shown(now[name])} in the row, but the search used {shown(value)}")
        for name, value in used.items()
        if now[name] != value
    )
    if not problems:
        return None
    told = "; ".join(f"{problem.field} {problem.message}" for problem in problems)
    return Failed("run_disagrees", f"the search's row was changed after its request was accepted: {told}", problems)


def specification_of_best(engine: Mapping[str, Any], best_params: Mapping[str, Any]) -> dict[str, Any]:
    """What the best run of a search executed. engine: of the search."""
    params = params_over(engine["strategy_key"], engine["strategy_params"], best_params)
    return {**engine, "strategy_params": params}


def request_of_best(
    strategy_key: str | None, asked: Mapping[str, Any], columns: Mapping[str, Any], best_params: Mapping[str, Any]
) -> dict[str, Any]:
    """What a single run like the best of a search is asked for as, beside what its row says.

    asked: the search's request; columns: of its row, whose sizes may be those of a service that made the row itself.
    """
    data = {name: value for name, value in asked.items() if name in BacktestRequested.model_fields}
    sizes = {name: columns[name] for name in ("volume", "risk_pct") if columns[name] is not None}
    params = params_over(strategy_key, asked.get("strategy_params") or {}, best_params)
    return {**data, **sizes, "strategy_params": params}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if name in SEARCH_JSON_COLUMNS and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def facts_of_search(optimization_id: int, request_id: str, stored: str) -> tuple[SearchFacts, Mapping[str, Any]]:
    """What events say of the search, and all of its specification.

    Of text that `stored_search` did not write, facts without names and an empty specification, by which it fails when
    its first step is taken.
    """
    try:
        specification = json.loads(stored)
        engine = specification["engine"]
        named = specification["strategy_id"], engine["symbol"], engine["timeframe"]
        if [type(each) for each in named] == [int, str, str] and isinstance(specification["search"], dict):
            return SearchFacts(optimization_id, request_id, *named), specification
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    return SearchFacts(optimization_id, request_id, 0, "", ""), {}
