"""What the kernel carries out: decisions as arrays, of many rows at once or of one answer.

Every decision is checked, by one set of rules and one wording (`rules`), before it can move money.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.rules import (
    CODES,
    LONGEST_PATTERN_NAME,
    ORDERS,
    TERM_NUMBERS,
    decision_problem,
    move_side,
    name_too_long,
    skipped,
    skips_any,
    with_default_levels,
)
from engine.deciders.table import (
    PATTERN_COLUMNS,
    Columns,
    DecisionTable,
    pattern_texts,
)
from engine.errors import StrategyError
from engine.kernel.layout import BUY_CODE, CLOSE_CODE, MOVE_CODE, SELL_CODE, TERMS
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.lots import LARGEST_STEPS, lot_steps
from engine.numeric.rounding import round_price
from engine.numeric.times import iso_time
from engine.specification import Specification
from engine.strategy import Decision


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Decisions to carry out, oldest first; bars are counted from the run's first.

    rows: deciding bar, int64 (m,). actions: kernel codes, int64 (m,). steps: lot steps, 0 where the specification
    sizes, int64 (m,). levels: float64 (m, 1 + k), stop then targets nearest first, NaN where there is none. terms:
    kernel.layout.TERMS (m,), None where there are only market orders to open and to close, without any.
    """

    rows: NDArray[np.int64]
    actions: NDArray[np.int64]
    steps: NDArray[np.int64]
    levels: NDArray[np.float64]
    pattern_name: pl.Series | None = None
    pattern_metadata: pl.Series | None = None
    terms: NDArray[Any] | None = None
    warnings: tuple[str, ...] = ()
    """What whoever believes the run should know of how they came about."""
    plots: Callable[[], pl.DataFrame] | None = None
    """Makes what is to be drawn beside the run's bars, a row each (engine.deciders.plots); None where there is nothing.
    """


def one_decision_slot() -> Decisions:
    """Return room for one decision at a time, as `Simulation.conclude` uses it."""
    return Decisions(np.full(1, -1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.full((1, 2), np.nan))


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """What decisions said about themselves: texts for each exit row, null where nothing was said."""

    name: pl.Series
    metadata: pl.Series


Terms = tuple[int, int, int, int, float, float]
"""One TERMS record."""
OneDecision = tuple[int, int, list[float], Terms | None]
"""Action code, lot steps or 0, [stop, *targets] with NaN for no stop, and terms: None for a market order to open
without any, and for CLOSE."""
_NO_TERMS: Terms = (0, 0, 0, 0, 0.0, 0.0)


def encode_decision(
    decision: Decision, close: float, time_us: int, specification: Specification, instrument: Instrument
) -> OneDecision:
    """Return a bar strategy's decision as what the kernel carries out.

    Raises StrategyError with the bar's time, worded as for columns.
    """
    what = decision_problem(decision, close, instrument)
    if what is None and decision.pattern_name is not None and len(decision.pattern_name) > LONGEST_PATTERN_NAME:
        what = name_too_long(decision.pattern_name)
    if what is not None:
        raise StrategyError(f"decision at {iso_time(time_us)}: {what}")
    code = CODES[decision.action]
    if abs(code) == BUY_CODE:
        stop, targets = with_default_levels(decision, code, close, specification, instrument)
        steps = 0 if decision.volume is None else lot_steps(decision.volume, instrument.lot_step)
        return code, steps, [math.nan if stop is None else stop, *targets], _terms_of(decision)
    if code == MOVE_CODE:
        stop, targets = decision.stop_loss, list(decision.take_profits)
        side = move_side(close, stop, targets)
        return side * code, 0, [math.nan if stop is None else stop, *targets], _NO_TERMS
    return code, 0, [math.nan], None if code == CLOSE_CODE else _NO_TERMS


def _terms_of(decision: Decision) -> Terms | None:
    if decision.order == "market" and all(getattr(decision, name) is None for name in TERM_NUMBERS):
        return None
    return (
        ORDERS[decision.order],
        min(int(decision.max_bars or 0), LARGEST_STEPS),
        min(int(decision.expires_bars or 0), LARGEST_STEPS),
        0,
        float(decision.trailing_stop or 0.0),
        float(decision.price or 0.0),
    )


def bare_actions(codes: NDArray[np.int64], rows: NDArray[np.int64], specification: Specification) -> Decisions | None:
    """Return decisions to open and to close that carry nothing, in which nothing can be at fault; a search has hundreds
    of thousands of such columns. None where one is another action or none, or gets levels or is left out by
    specification. rows: counted from the run's first bar.
    """
    asked = specification
    if asked.stop_loss_pips is not None or asked.take_profit_pips is not None or skips_any(asked):
        return None
    if codes.size and (int(codes.max()) > BUY_CODE or int(codes.min()) < SELL_CODE):
        return None
    return Decisions(rows, codes, np.zeros(codes.size, np.int64), np.full((codes.size, 1), np.nan))


def to_carry_out(
    table: DecisionTable,
    columns: Columns,
    rows: NDArray[np.int64],
    closes: NDArray[np.float64],
    first: int,
    bars: Bars,
    specification: Specification,
    instrument: Instrument,
) -> Decisions:
    """Return checked decisions with levels filled in from pips and sizes from volumes, without those of skipped hours.

    columns: for the patterns. rows: in `bars`. closes: theirs. first: the run's first bar.
    """
    side, opening = table.sides(closes), table.opening
    stop, targets, middle, codes = table.stop, table.targets, closes, table.codes
    terms = _records(table, opening)
    if table.terms is not None:
        middle = table.terms.measured_from(closes)
        trail = round_price(table.terms.trail_stop(closes, side), instrument.price_scale)
        stop = np.where(opening & ~table.stop_given, trail, stop)
    if specification.stop_loss_pips is not None:
        default = round_price(middle - side * (specification.stop_loss_pips * instrument.pip), instrument.price_scale)
        stop = np.where(opening & np.isnan(stop), default, stop)
    if specification.take_profit_pips is not None:
        default = round_price(middle + side * (specification.take_profit_pips * instrument.pip), instrument.price_scale)
        targets = targets.copy() if targets.shape[1] else np.full((side.size, 1), np.nan)
        targets[:, 0] = np.where(opening & np.isnan(targets[:, 0]), default, targets[:, 0])
    levels = np.empty((side.size, 1 + targets.shape[1]))
    levels[:, 0], levels[:, 1:] = stop, targets
    levels += 0.0
    levels[side == 0.0] = np.nan
    if not table.only_opens_and_closes:
        codes = np.where(codes == MOVE_CODE, side.astype(np.int64) * MOVE_CODE, codes)
    steps = np.zeros(side.size, np.int64)
    if table.volume_given.any():
        sized = table.volume_given & opening
        steps[sized] = np.rint(table.volume[sized] / instrument.lot_step).astype(np.int64)
    name, metadata = (pattern_texts(columns, column) for column in PATTERN_COLUMNS)
    if not skips_any(specification):
        return Decisions(rows - first, codes, steps, levels, name, metadata, terms)
    kept = ~skipped(bars.close_time_us[rows], specification)
    return Decisions(
        (rows - first)[kept],
        codes[kept],
        steps[kept],
        levels[kept],
        None if name is None else name.filter(pl.Series(kept)),
        None if metadata is None else metadata.filter(pl.Series(kept)),
        None if terms is None else terms[kept],
    )


def _records(table: DecisionTable, opening: NDArray[np.bool_]) -> NDArray[Any] | None:
    if table.terms is not None and bool(((table.terms.carries & opening) | (table.terms.closes != 0)).any()):
        return table.terms.records(opening)
    return None if table.only_opens_and_closes else np.zeros(opening.size, TERMS)


def patterns_of_trades(decisions: Decisions, deciding_bars: NDArray[np.int64]) -> Patterns | None:
    """Look up what the deciding bars' decisions said about themselves; None where no decision says anything."""
    if decisions.pattern_name is None and decisions.pattern_metadata is None:
        return None
    index = pl.Series(np.searchsorted(decisions.rows, deciding_bars).astype(np.uint32))
    silent = pl.Series([None], dtype=pl.String).new_from_index(0, deciding_bars.size)
    name, metadata = decisions.pattern_name, decisions.pattern_metadata
    return Patterns(
        silent if name is None else name.gather(index),
        silent if metadata is None else metadata.gather(index),
    )


def metadata_json(metadata: Any, time_us: int) -> str | None:
    """Return a bar strategy's pattern_metadata as JSON text. Raises StrategyError where it is none."""
    if metadata is None:
        return None
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StrategyError(f"decision at {iso_time(time_us)}: pattern_metadata is not JSON: {error}") from error
