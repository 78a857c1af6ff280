"""A search's metric over two of its parameters, the others held: what a heat map shows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import polars as pl

from consumer.optimization.columns import ERROR, FOLD, parameter_column
from engine.search.figure_names import LOWER_IS_BETTER

MOST_VALUES: Final = 500
"""Of one axis: more cells than anybody looks at."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """values[i][j]: of y_values[i] and x_values[j]; null where no such combination was simulated, or it has none."""

    x: str
    y: str
    metric: str
    x_values: list[Any]
    y_values: list[Any]
    values: list[list[float | None]]
    trades: list[list[int | None]]
    fixed: Mapping[str, Any]
    """The other parameters, as they are held. One that is not named here is at its best in each cell."""


class NoHeatMap(ValueError):
    """Why there is none; field: what of the question is at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def heat_map(
    results: bytes,
    metric: str,
    names: list[str],
    x: str,
    y: str,
    fixed: Mapping[str, str],
    best: Mapping[str, Any] | None,
) -> HeatMap:
    """Read it from a search's results file.

    names: of the parameters that were varied. fixed: values as text, for others than x and y; what is not fixed stands
    at its value in `best`, or where there is no best, at what makes each cell best. Raises NoHeatMap.
    """
    for field, name in (("x", x), ("y", y), *(("fix", name) for name in fixed)):
        if name not in names:
            raise NoHeatMap(field, f"{name!r} is none of {', '.join(names)}")
    if x == y:
        raise NoHeatMap("y", "must be another parameter than x")
    if x in fixed or y in fixed:
        raise NoHeatMap("fix", "must not hold x or y")
    columns = {name: parameter_column(name) for name in names}
    table = pl.read_parquet(BytesIO(results), columns=[*columns.values(), metric, "total_trades", FOLD, ERROR])
    held: dict[str, Any] = {}
    for name in names:
        if name in {x, y} or (name not in fixed and best is None):
            continue
        column = table[columns[name]]
        value = _value_of(column, fixed[name], name) if name in fixed else _as_stored(column, (best or {})[name])
        held[name] = value
        table = table.filter(pl.col(columns[name]).eq_missing(pl.lit(value, column.dtype)))
    x_values, y_values = (_axis(table[columns[name]], field) for field, name in (("x", x), ("y", y)))
    order = pl.col(metric) * (-1 if metric in LOWER_IS_BETTER else 1)
    cells = (
        table.filter(pl.col(ERROR).is_null())
        .sort(order, descending=True, nulls_last=True, maintain_order=True)
        .unique([columns[x], columns[y]], keep="first", maintain_order=True)
    )
    found = {
        (row[0], row[1]): (row[2], row[3])
        for row in cells.select(columns[x], columns[y], metric, "total_trades").iter_rows()
    }
    of_cells = [[found.get((across, down), (None, None)) for across in x_values] for down in y_values]
    values = [[cell[0] for cell in row] for row in of_cells]
    trades = [[cell[1] for cell in row] for row in of_cells]
    return HeatMap(x, y, metric, x_values, y_values, values, trades, held)


def _axis(column: pl.Series, field: str) -> list[Any]:
    values = column.unique().sort(nulls_last=True).to_list()
    if len(values) > MOST_VALUES:
        raise NoHeatMap(field, f"has {len(values)} values, more than {MOST_VALUES}")
    return values


def _value_of(column: pl.Series, text: str, name: str) -> Any:
    """The stored value that a text means. Raises NoHeatMap."""
    for value in column.unique().to_list():
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        if text in (str(value), json.dumps(value)) or (is_number and _number(text) == value):
            return value
    raise NoHeatMap("fix", f"holds {name!r} at {text!r}, which no combination has")


def _as_stored(column: pl.Series, value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) and column.dtype == pl.String else value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
