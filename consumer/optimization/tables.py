"""The tables of a search: every combination with its figures, and the returns of some."""

import json
from typing import Any

import numpy as np
import polars as pl

from consumer.optimization.columns import ERROR, FOLD, parameter_column
from engine.search.answer import Answer
from engine.search.figures import FIGURES, WHOLE
from engine.search.parts import Shard
from engine.search.question import Question
from engine.search.space import Choice, Interval, Listed, Stepped
from schemas.json_text import storable


def rows_of(question: Question, fold: int | None, shard: Shard) -> pl.DataFrame:
    """Return one row a combination, in order of number: its parameters, every figure, fold (null for the whole range)
    and error (`code: message`, null without).
    """
    bench = question.bench(fold, range(0))
    combinations = [bench.combination(row) for row in shard.part.rows]
    columns = [
        _parameter(name, choice, [each[name] for each in combinations])
        for name, choice in question.space.choices.items()
    ]
    for at, name in enumerate(FIGURES):
        column = pl.Series(name, np.ascontiguousarray(shard.figures[:, at]), nan_to_null=True)
        columns.append(column.cast(pl.Int64) if name in WHOLE else column)
    errors = [shard.errors.get(number) for number in shard.part.numbers.tolist()]
    columns.append(pl.Series(FOLD, [fold] * len(errors), pl.Int64))
    columns.append(
        pl.Series(ERROR, [None if each is None else storable(": ".join(each)) for each in errors], pl.String)
    )
    return pl.DataFrame(columns)


def returns_of(answer: Answer) -> pl.DataFrame:
    """Return `day` and the returns of the sample and of the best 100, a column c<number> each."""
    days, numbers, returns = answer.returns()
    columns = [pl.Series("day", days).cast(pl.Date)]
    columns += [pl.Series(f"c{number}", row) for number, row in zip(numbers, returns, strict=True)]
    return pl.DataFrame(columns)


def search_object(answer: Answer, duration_seconds: float) -> dict[str, Any]:
    """Return what `backtest optimize --json` prints."""
    return {
        "total_combinations": answer.total,
        "completed_combinations": answer.completed,
        "failed_combinations": answer.failed,
        "best_params": answer.best_params,
        "best_value": answer.best_value,
        "robust_params": answer.robust_params,
        "results": answer.results,
        "statistics": answer.statistics,
        "result_digest": answer.result_digest,
        "warnings": list(answer.warnings),
        "duration_seconds": duration_seconds,
    }


def _parameter(name: str, choice: Choice, values: list[Any]) -> pl.Series:
    kind = _kind(choice)
    if isinstance(kind, pl.String) and not _is_text(choice):
        values = [None if value is None else _as_text(value) for value in values]
    return pl.Series(parameter_column(name), values, kind, strict=False)


def _kind(choice: Choice) -> pl.DataType:
    """The type of a parameter's column: the narrowest that holds all its values, JSON text where none else does."""
    match choice:
        case Interval():
            return pl.Int64() if choice.whole else pl.Float64()
        case Stepped():
            return pl.Int64() if isinstance(choice.at(0), int) else pl.Float64()
        case Listed(values):
            kinds = {type(value) for value in values if value is not None}
            if kinds <= {bool}:
                return pl.Boolean()
            if kinds <= {int}:
                return pl.Int64()
            return pl.Float64() if kinds <= {int, float} else pl.String()


def _is_text(choice: Choice) -> bool:
    return isinstance(choice, Listed) and all(value is None or isinstance(value, str) for value in choice.values)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
