"""Columns of what decisions to open carry beyond volume and levels: a trail, a time to leave, an entry order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.rules import ORDERS, TERM_NUMBERS, WHOLE_TERMS
from engine.kernel.layout import LIMIT, MARKET, TERMS
from engine.numeric.arrays import Floats

TERM_COLUMNS = (*TERM_NUMBERS, "order")
CLOSES = "closes"
"""Column of whole frames only: signal files and bar strategies say what they mean by their decisions."""
CLOSED_SIDES = {"long": 1, "short": -1}
UNKNOWN_ORDER = UNKNOWN_SIDE = 99
"""Code of an order, or of a side, that is none."""
_TRAIL, _, _PRICE, _EXPIRES = range(len(TERM_NUMBERS))
_WHOLE = [TERM_NUMBERS.index(name) for name in WHOLE_TERMS]
_MOST_BARS = float(2**53)
"""More than any run has; a float counts no further one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class TermColumns:
    """As arrays, in the order of TERM_NUMBERS: values, NaN where not given, and given, both (m, 4).

    kinds: MARKET, LIMIT, STOP_ORDER or UNKNOWN_ORDER. orders: as written. closes: +1 long, -1 short, 0 not given,
    UNKNOWN_SIDE.
    """

    values: Floats
    given: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    orders: pl.Series
    closes: NDArray[np.int64]

    @property
    def carries(self) -> NDArray[np.bool_]:
        """Where any of them has a value, the order `market` aside."""
        carries: NDArray[np.bool_] = self.given.any(axis=1) | (self.kinds != MARKET)
        return carries

    def take(self, rows: NDArray[np.int64]) -> "TermColumns":
        return TermColumns(self.values[rows], self.given[rows], self.kinds[rows], self.orders[rows], self.closes[rows])

    def measured_from(self, closes: Floats) -> Floats:
        """Return what levels are measured from and held against: the close, or an entry order's price."""
        return np.where(self.kinds == MARKET, closes, self.values[:, _PRICE])

    def trail_stop(self, closes: Floats, side: Floats) -> Floats:
        """Return where the trail alone puts the stop, not rounded; NaN without one."""
        stops: Floats = self.measured_from(closes) - side * self.values[:, _TRAIL]
        return stops

    def faults(self, closes: Floats, side: Floats) -> NDArray[np.bool_]:
        """Return which decisions to open are wrong in them, whatever their levels."""
        values, given, kinds = self.values, self.given, self.kinds
        numbers = given & ~((values > 0.0) & (values < np.inf))
        numbers[:, _WHOLE] |= given[:, _WHOLE] & (values[:, _WHOLE] != np.rint(values[:, _WHOLE]))
        waits, at_market = kinds != MARKET, kinds == MARKET
        price = values[:, _PRICE]
        # A BUY limit and a SELL stop wait for a lower price.
        downwards = np.where(kinds == LIMIT, side, -side)
        on_wrong_side = waits & given[:, _PRICE] & ((closes - price) * downwards <= 0.0)
        faults: NDArray[np.bool_] = numbers.any(axis=1) | (kinds == UNKNOWN_ORDER) | on_wrong_side
        faults |= (waits & ~given[:, _PRICE]) | (at_market & (given[:, _PRICE] | given[:, _EXPIRES]))
        return faults

    def wrong_sides(self, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where what is to be closed is no side, or the one that the decision opens."""
        wrong: NDArray[np.bool_] = (self.closes == UNKNOWN_SIDE) | ((self.closes != 0) & (self.closes == codes))
        return wrong

    def records(self, opening: NDArray[np.bool_]) -> NDArray[Any]:
        """Return them as the kernel takes them: all of decisions to open, of others what they close. Only for columns
        without faults."""
        records = np.zeros(self.kinds.size, TERMS)
        records["closes"] = self.closes
        records["order"][opening] = self.kinds[opening]
        for j, name in enumerate(TERM_NUMBERS):
            chosen = opening & self.given[:, j]
            records[name][chosen] = np.minimum(self.values[chosen, j], _MOST_BARS if j in _WHOLE else np.inf)
        return records

    def digest_inputs(self) -> tuple[NDArray[Any], ...]:
        """Return those with a value, each after its place among TERM_COLUMNS."""
        values = range(len(TERM_NUMBERS))
        columns: list[tuple[int, NDArray[Any]]]
        columns = [(j, np.ascontiguousarray(self.values[:, j])) for j in values if self.given[:, j].any()]
        columns += [(len(values), self.kinds)] if (self.kinds != MARKET).any() else []
        return tuple(array for j, column in columns for array in (np.array([j]), column))


def read_terms(columns: Mapping[str, pl.Series], height: int) -> TermColumns | None:
    """Return them as arrays; None where no row has any."""
    there = (*TERM_COLUMNS, CLOSES)
    named = [name for name in there if name in columns and columns[name].null_count() < height]
    if not named:
        return None
    values = np.full((height, len(TERM_NUMBERS)), np.nan)
    given = np.zeros(values.shape, bool)
    for name in named:
        if name in TERM_NUMBERS:
            j, column = TERM_NUMBERS.index(name), columns[name].cast(pl.Float64)
            given[:, j] = column.is_not_null().to_numpy()
            values[:, j] = column.fill_null(np.nan).to_numpy()
    orders = columns["order"].cast(pl.String) if "order" in named else pl.Series([None], dtype=pl.String)
    orders = orders if orders.len() == height else orders.new_from_index(0, height)
    kinds = orders.replace_strict(ORDERS, default=UNKNOWN_ORDER, return_dtype=pl.Int64)
    at_market = orders.is_null().to_numpy()
    closes = np.zeros(height, np.int64)
    if CLOSES in named:
        texts = columns[CLOSES].cast(pl.String)
        sides = texts.replace_strict(CLOSED_SIDES, default=UNKNOWN_SIDE, return_dtype=pl.Int64)
        closes = sides.set(texts.is_null(), 0).to_numpy()
    kinds_known = np.where(at_market, MARKET, kinds.fill_null(MARKET).to_numpy())
    return TermColumns(values, given, kinds_known, orders, closes)
