"""Decisions: from a strategy's columns, a signal file's rows or a bar strategy's answer to what the kernel carries out.

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
    carried_by_close,
    name_too_long,
    scalar_problem,
    skipped,
    skips_any,
    with_default_levels,
)
from engine.deciders.table import (
    PATTERN_COLUMNS,
    UNKNOWN,
    Columns,
    DecisionTable,
    columns_of,
    columns_problem,
    first_fault,
    given_and_physical,
    pattern_texts,
    read_table,
)
from engine.errors import BadSignals, StrategyError
from engine.kernel.layout import CLOSE_CODE
from engine.market.bars import TIME, Bars
from engine.market.instruments import Instrument
from engine.market.lots import lot_steps
from engine.numeric.rounding import round_price
from engine.numeric.times import as_us, iso_time
from engine.results.result import Patterns
from engine.specification import Specification
from engine.strategy import Decision

_PART = 1 << 20
"""Rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Decisions to carry out, oldest first; bars are counted from the run's first.

    rows: deciding bar, int64 (m,). actions: kernel codes, int64 (m,). steps: lot steps, 0 where the specification
    sizes, int64 (m,). levels: float64 (m, 1 + k), stop then targets nearest first, NaN where there is none.
    """

    rows: NDArray[np.int64]
    actions: NDArray[np.int64]
    steps: NDArray[np.int64]
    levels: NDArray[np.float64]
    pattern_name: pl.Series | None = None
    pattern_metadata: pl.Series | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Decisions from a file, checked: made by signals_from_frame. values: time, then each column, for the digest."""

    decisions: Decisions
    values: tuple[NDArray[Any], ...]


def decisions_from_columns(
    frame: pl.DataFrame, bars: Bars, first: int, specification: Specification, instrument: Instrument
) -> Decisions:
    """Check what decide_all returned, one row for each of `bars`, and keep what is decided from bar `first` on.

    Levels beside a CLOSE are not looked at, since a strategy may well fill those columns on every row; a volume there
    is an error, since it would ask for a part and close all. Only null means absent: NaN or infinity beside a BUY or
    SELL is an error, since a stop that is silently not there costs money. Decisions of skipped hours are checked, then
    dropped.
    Raises StrategyError with the time of the first bar at fault.
    """
    if frame.height != bars.height:
        raise StrategyError(f"decide_all returned {frame.height} rows for {bars.height} bars")
    columns = columns_of(frame.slice(first))
    problem = columns_problem(columns, needed=("action",))
    if problem:
        raise StrategyError(f"decide_all: {problem}")
    acts, physical = given_and_physical(columns["action"])
    decided = _row_numbers(acts, first)
    columns = {name: column.filter(acts) for name, column in columns.items()}
    del frame  # Three columns of five million bars are 90 MB, and few of them decide anything.
    table = read_table(columns, physical.filter(acts))
    closes = bars.close[decided]
    fault = first_fault(table, closes, instrument, bare_close=False)
    if fault is not None:
        row, what = fault
        raise StrategyError(f"decision at {iso_time(int(bars.time_us[decided[row]]))}: {what}")
    return _to_carry_out(table, columns, decided, closes, first, bars, specification, instrument)


def _row_numbers(mask: pl.Series, first: int) -> NDArray[np.int64]:
    """Return the places where the mask is true, counted from `first`.

    Part by part, so that numbering all rows takes little memory; and eagerly, since waiting for polars' threads costs
    more than the work on a short run.
    """
    parts = [mask.slice(begin, _PART) for begin in range(0, mask.len(), _PART)]
    numbered = (
        part.to_frame().with_row_index("bar", offset=first + i * _PART)["bar"].filter(part).to_numpy()
        for i, part in enumerate(parts)
    )
    return np.concatenate([np.empty(0, np.int64), *numbered], dtype=np.int64)


def signals_from_frame(
    frame: pl.DataFrame, source: str, bars: Bars, first: int, specification: Specification, instrument: Instrument
) -> Signals:
    """Check a signal file's rows as a whole: time, action, optional volume, stop_loss, take_profit, take_profit_2, ...

    bars: the run's, warm-up included; rows outside [specification.start, end) are checked without a close and ignored.
    Raises BadSignals: `source: row N (time T): what is wrong`, or `source: what is wrong` for the whole of it.
    """
    columns = columns_of(frame)
    problem = columns_problem(columns, needed=("time", "action"))
    if problem:
        raise BadSignals(f"{source}: {problem}")
    times = _signal_times(frame["time"], source)
    time_us = times.to_physical().fill_null(0).to_numpy()
    unknown_time = times.is_null().to_numpy()
    start_us, end_us = as_us(specification.start), as_us(specification.end)
    inside = (time_us >= start_us) & (time_us < end_us)
    place = np.minimum(np.searchsorted(bars.time_us, time_us), bars.height - 1)
    on_bar = inside & (bars.time_us[place] == time_us)
    table = read_table(columns)
    rises = np.ones(time_us.size, bool)
    rises[1:] = time_us[1:] > time_us[:-1]
    own_faults: list[tuple[NDArray[np.bool_], Callable[[int], str]]] = [
        (unknown_time, lambda _: "time is null"),
        (~rises, lambda _: "time does not rise"),
        (table.codes == UNKNOWN, table.unknown_action),
        (inside & ~on_bar, lambda _: "there is no bar at this time"),
    ]
    closes = np.where(on_bar, bars.close[place], np.nan)
    fault = first_fault(table, closes, instrument, bare_close=True, before=own_faults)
    if fault is not None:
        row, what = fault
        time = "null" if unknown_time[row] else iso_time(int(time_us[row]))
        raise BadSignals(f"{source}: row {row + 1} (time {time}): {what}")
    chosen = np.flatnonzero(on_bar & (place >= first))
    rows = place[chosen].astype(np.int64)
    decisions = _to_carry_out(
        table.take(chosen), columns_of(frame[chosen]), rows, bars.close[rows], first, bars, specification, instrument
    )
    # A target column without a value is no input: the same rows give one digest with or without it.
    targets = table.targets[:, table.targets_given.any(axis=0)]
    return Signals(decisions, (time_us, table.codes, table.volume, table.stop, targets))


def encode_decision(
    decision: Decision, close: float, time_us: int, specification: Specification, instrument: Instrument
) -> tuple[int, int, list[float]]:
    """Return a bar strategy's decision as (action code, lot steps or 0, [stop, *targets] with NaN for no stop).

    Raises StrategyError with the bar's time, worded as for columns.
    """
    code = CODES.get(decision.action)
    what: str | None = None
    levels = [math.nan]
    steps = 0
    if code is None:
        what = f"unknown action {decision.action!r}"
    elif code == CLOSE_CODE:
        what = carried_by_close(decision)
    else:
        stop, targets = decision.stop_loss, list(decision.take_profits)
        what = scalar_problem(code, close, decision.volume, stop, targets, instrument.lot_step)
        if what is None:
            stop, targets = with_default_levels(code, close, stop, targets, specification, instrument)
            levels = [math.nan if stop is None else stop, *targets]
            steps = 0 if decision.volume is None else lot_steps(decision.volume, instrument.lot_step)
    if what is None and decision.pattern_name is not None and len(decision.pattern_name) > LONGEST_PATTERN_NAME:
        what = name_too_long(decision.pattern_name)
    if what is not None or code is None:
        raise StrategyError(f"decision at {iso_time(time_us)}: {what}")
    return code, steps, levels


def _to_carry_out(
    table: DecisionTable,
    columns: Columns,
    rows: NDArray[np.int64],
    closes: NDArray[np.float64],
    first: int,
    bars: Bars,
    specification: Specification,
    instrument: Instrument,
) -> Decisions:
    """Fill in levels from pips and sizes from volumes, and drop what falls into skipped hours.

    rows: in `bars`. closes: theirs.
    """
    side = table.codes.astype(np.float64)
    stop, targets = table.stop, table.targets
    if specification.stop_loss_pips is not None:
        default = round_price(closes - side * (specification.stop_loss_pips * instrument.pip), instrument.price_scale)
        stop = np.where(table.stop_given, stop, default)
    if specification.take_profit_pips is not None:
        default = round_price(closes + side * (specification.take_profit_pips * instrument.pip), instrument.price_scale)
        targets = targets.copy() if targets.shape[1] else np.full((side.size, 1), np.nan)
        targets[:, 0] = np.where(np.isnan(targets[:, 0]), default, targets[:, 0])
    levels = np.empty((side.size, 1 + targets.shape[1]))
    levels[:, 0], levels[:, 1:] = stop, targets
    levels += 0.0
    closing = table.codes == CLOSE_CODE
    levels[closing] = np.nan
    steps = np.zeros(side.size, np.int64)
    if table.volume_given.any():
        sized = table.volume_given & ~closing
        steps[sized] = np.rint(table.volume[sized] / instrument.lot_step).astype(np.int64)
    name, metadata = (pattern_texts(columns, column) for column in PATTERN_COLUMNS)
    if not skips_any(specification):
        return Decisions(rows - first, table.codes, steps, levels, name, metadata)
    kept = ~skipped(bars.close_time_us[rows], specification)
    return Decisions(
        (rows - first)[kept],
        table.codes[kept],
        steps[kept],
        levels[kept],
        None if name is None else name.filter(pl.Series(kept)),
        None if metadata is None else metadata.filter(pl.Series(kept)),
    )


def _signal_times(column: pl.Series, source: str) -> pl.Series:
    if not isinstance(column.dtype, pl.Datetime):
        raise BadSignals(f"{source}: column time holds {column.dtype}, not times")
    if column.dtype.time_zone is None:
        return column.cast(pl.Datetime("us")).cast(TIME)
    return column.dt.convert_time_zone("UTC").cast(TIME)


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
