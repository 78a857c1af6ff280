"""Whether a row of `strategies` can run: it is held to what a request for it would be held to, before anybody asks."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from consumer.ports import Refused, StrategyCheck, StrategyRow, Unchecked, Verdict
from consumer.rules.admission import Admission
from schemas.problems import FieldProblem, one_a_field
from schemas.requested import BacktestRequested
from schemas.strategy_row import StrategyRowGiven

JSON_COLUMNS: Final = ("strategy_params", "context_tfs", "symbols", "skip_hours", "skip_weekdays")

_OWN_FIELDS: Final = {"timeframe": "primary_tf"}
"""Field of a request -> the column that it comes from."""
_COLUMN_OF_CODE: Final = {"unknown_strategy": "strategy_key", "mode_unavailable": "execution_mode"}
_A_DAY: Final = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Fit:
    """Nothing stands against the row."""


def columns_of(given: StrategyRowGiven) -> dict[str, Any]:
    """The row as the table stores it."""
    values = given.model_dump()
    return {name: stored_value(name, value) for name, value in values.items()}


def stored_value(name: str, value: Any) -> Any:
    """A column's value as the table stores it: JSON as text."""
    return json.dumps(value) if name in JSON_COLUMNS and value is not None else value


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its JSON columns as JSON; text of another service that is none is shown as it is."""
    return {name: _read_json(value) if name in JSON_COLUMNS else value for name, value in row.items()}


def judge_row(
    columns: Mapping[str, Any], admission: Admission, verdicts: Mapping[StrategyCheck, Verdict]
) -> Fit | Refused | Unchecked:
    """Hold a whole row, as stored, to what a request for each of its symbols would be held to, active or not.

    A row that names no symbol is asked about with a packaged one, and then its lot size is for each request to judge.
    """
    row = replace(_strategy_row(columns), is_active=True)
    symbols = [str(each) for each in _read_json(row.symbols) or ()]
    problems: list[FieldProblem] = []
    for index, symbol in enumerate(symbols or [next(iter(admission.instruments))]):
        asked = row if symbols else replace(row, lot_size=None)
        decision = admission(_request(symbol), asked, None, (), verdicts)
        if isinstance(decision, Unchecked):
            return decision
        if isinstance(decision, Refused):
            problems += _named_as_columns(decision.problems, f"symbols.{index}")
    return Refused(one_a_field(problems)) if problems else Fit()


def _request(symbol: str) -> BacktestRequested:
    return BacktestRequested(strategy_id=1, symbol=symbol, start_date=_A_DAY[0], end_date=_A_DAY[1])


def _strategy_row(columns: Mapping[str, Any]) -> StrategyRow:
    return StrategyRow(
        **{"id": 1, **{each.name: columns[each.name] for each in fields(StrategyRow) if each.name != "id"}}
    )


def _named_as_columns(problems: Iterable[FieldProblem], symbol: str) -> Iterator[FieldProblem]:
    for problem in problems:
        name = problem.field.removeprefix("strategies.")
        if name == "strategy_id":
            name = _COLUMN_OF_CODE.get(problem.code, name)
        elif name == "symbol":
            name = symbol
        yield replace(problem, field=_OWN_FIELDS.get(name, name))


def _read_json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text
