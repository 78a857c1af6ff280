"""A shard's results as a table, and back: what the steps of a search hand on to each other."""

import json
from typing import Any, Final

import numpy as np
import polars as pl

from engine.search.figures import FIGURES
from engine.search.parts import Part, Shard
from engine.warm_up import WarmUp

_DRAWN: Final = "__drawn"
_FIGURE: Final = "__figure_"


def table_of_shard(fold: int | None, shard: Shard) -> pl.DataFrame:
    """A row a combination: number, place or drawn values, figures, ratio, error, and the returns of those kept."""
    count = len(shard.part)
    returns: list[Any] = [None] * count
    for number, row in zip(shard.kept.tolist(), shard.returns, strict=True):
        returns[number - shard.part.first] = row.tolist()
    errors = [shard.errors.get(number) for number in shard.part.numbers.tolist()]
    warm_up = None if shard.warm_up is None else json.dumps([dict(shard.warm_up.bars), dict(shard.warm_up.wanted)])
    columns = [
        pl.Series("number", shard.part.numbers),
        *_rows(shard.part.rows),
        *(pl.Series(_FIGURE + name, np.ascontiguousarray(shard.figures[:, at])) for at, name in enumerate(FIGURES)),
        pl.Series("ratio", shard.ratios),
        pl.Series("code", [None if each is None else each[0] for each in errors], pl.String),
        pl.Series("message", [None if each is None else each[1] for each in errors], pl.String),
        pl.Series("returns", returns, pl.List(pl.Float64)),
        pl.Series("fold", [fold] * count, pl.Int64),
        pl.Series("warm_up", [warm_up] * count, pl.String),
        pl.Series("days", [shard.returns.shape[1]] * count, pl.Int64),
    ]
    return pl.DataFrame(columns)


def shard_of_table(table: pl.DataFrame) -> tuple[int | None, Shard]:
    """What `table_of_shard` was given, bit for bit."""
    first = int(table["number"][0])
    drawn = [name for name in table.columns if name.startswith(_DRAWN)]
    rows = table.select(drawn).to_numpy() if drawn else table["place"].to_numpy()
    errors = {
        number: (code, message)
        for number, code, message in table.select("number", "code", "message").iter_rows()
        if code is not None
    }
    kept = table.filter(pl.col("returns").is_not_null())
    days = int(table["days"][0])
    returns = np.array([row.to_numpy() for row in kept["returns"]]).reshape(kept.height, days)
    figures = np.column_stack([table[_FIGURE + name].to_numpy() for name in FIGURES])
    warm_up = table["warm_up"][0]
    shard = Shard(
        part=Part(first, np.ascontiguousarray(rows)),
        figures=figures,
        ratios=table["ratio"].to_numpy(),
        errors=errors,
        kept=kept["number"].to_numpy(),
        returns=returns,
        warm_up=None if warm_up is None else WarmUp(*json.loads(warm_up)),
    )
    fold: int | None = table["fold"][0]
    return fold, shard


def _rows(rows: Any) -> list[pl.Series]:
    if rows.ndim == 1:
        return [pl.Series("place", rows.astype(np.int64))]
    return [pl.Series(f"{_DRAWN}{at:04}", np.ascontiguousarray(rows[:, at])) for at in range(rows.shape[1])]


def table_of_numbering(rows: Any) -> pl.DataFrame:
    """Places (n,) or drawn values (n, names) of a search's combinations, in order of number."""
    return pl.DataFrame(_rows(rows))


def numbering_of_table(table: pl.DataFrame) -> Any:
    """What `table_of_numbering` was given."""
    return table["place"].to_numpy() if "place" in table.columns else table.to_numpy()
