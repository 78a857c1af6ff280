"""The trades of a completed run: some of them in an order, page by page, and all of them in parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

from consumer.reports.tables import Table
from engine.results.excursions import EXCURSION_COLUMNS
from engine.results.result import PLACE_COLUMNS, TRADE_COLUMNS

NUMBER: Final = "trade"
"""Each trade's number within its run, from 1, in the order booked."""
COLUMNS: Final = (NUMBER, *TRADE_COLUMNS, *PLACE_COLUMNS, *EXCURSION_COLUMNS)
SORTS: Final = tuple(name for name in COLUMNS if name != "pattern_metadata")
PART_ROWS: Final = 50_000

Outcome = Literal["win", "loss", "break_even"]


@dataclass(frozen=True, slots=True)
class TradesAsked:
    """Which trades, by what their rows say; None leaves none out. sort: a column of SORTS, nulls last either way, equal
    values by number in the same direction.
    """

    direction: str | None = None
    exit_reason: str | None = None
    pattern_name: str | None = None
    outcome: Outcome | None = None
    sort: str = NUMBER
    descending: bool = False


@dataclass(frozen=True, slots=True)
class TradePlace:
    """Where a trade stands in an order."""

    value: Any
    number: int


def trade_page(
    trades: pl.LazyFrame, asked: TradesAsked, limit: int, after: TradePlace | None = None
) -> list[dict[str, Any]]:
    """The first trades in that order, those behind `after` only; items by column of COLUMNS."""
    column = pl.col(asked.sort)
    ordered = _chosen(trades, asked).select(list(dict.fromkeys((NUMBER, asked.sort))))
    if after is not None:
        ordered = ordered.filter(_behind(column, asked, after))
    first = ordered.sort([asked.sort, NUMBER], descending=asked.descending, nulls_last=True, maintain_order=True).head(
        limit
    )
    numbers = first.select(NUMBER).collect()[NUMBER]
    rows = _numbered(trades).filter(pl.col(NUMBER).is_in(numbers.implode())).collect()
    by_number = {row[NUMBER]: row for row in rows.iter_rows(named=True)}
    return [by_number[number] for number in numbers]


def place_of(trade: dict[str, Any], asked: TradesAsked) -> TradePlace:
    return TradePlace(trade[asked.sort], trade[NUMBER])


def trade_table(trades: pl.LazyFrame, asked: TradesAsked) -> Table:
    """All chosen trades, in their order: as many rows at a time as fit well in memory."""
    return Table(COLUMNS, _parts(trades, asked))


def _parts(trades: pl.LazyFrame, asked: TradesAsked) -> Iterator[pl.DataFrame]:
    if (asked.sort, asked.descending) == (NUMBER, False):
        height = trades.select(pl.len()).collect().item()
        for first in range(0, height, PART_ROWS):
            yield _chosen(trades.slice(first, PART_ROWS), asked, first).collect()
        return
    # Only what is sorted by is in memory as a whole.
    keys = _chosen(trades, asked).select(list(dict.fromkeys((NUMBER, asked.sort))))
    order = keys.sort([asked.sort, NUMBER], descending=asked.descending, nulls_last=True).collect()[NUMBER]
    for first in range(0, order.len(), PART_ROWS):
        numbers = order.slice(first, PART_ROWS)
        rows = _numbered(trades).filter(pl.col(NUMBER).is_in(numbers.implode())).collect()
        yield numbers.to_frame().join(rows, on=NUMBER, how="left", maintain_order="left")


def _numbered(trades: pl.LazyFrame, before: int = 0) -> pl.LazyFrame:
    """With numbers, and all columns: runs of earlier releases have not recorded some."""
    there = trades.collect_schema().names()
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in EXCURSION_COLUMNS if name not in there]
    numbered = trades.with_row_index(NUMBER, before + 1).with_columns(pl.col(NUMBER).cast(pl.Int64), *lacking)
    return numbered.select(COLUMNS)


def _chosen(trades: pl.LazyFrame, asked: TradesAsked, before: int = 0) -> pl.LazyFrame:
    chosen = _numbered(trades, before)
    for name in ("direction", "exit_reason", "pattern_name"):
        wanted = getattr(asked, name)
        if wanted is not None:
            chosen = chosen.filter(pl.col(name) == wanted)
    profit = pl.col("profit")
    match asked.outcome:
        case "win":
            return chosen.filter(profit > 0.0)
        case "loss":
            return chosen.filter(profit < 0.0)
        case "break_even":
            return chosen.filter(profit == 0.0)
        case None:
            return chosen


def _behind(column: pl.Expr, asked: TradesAsked, after: TradePlace) -> pl.Expr:
    number = pl.col(NUMBER)
    beyond = number < after.number if asked.descending else number > after.number
    if after.value is None:
        return column.is_null() & beyond
    value = pl.lit(after.value, pl.Datetime("us", "UTC")) if isinstance(after.value, datetime) else pl.lit(after.value)
    further = column < value if asked.descending else column > value
    return further | ((column == value) & beyond) | column.is_null()
