"""Decisions: from a strategy's columns, a signal file's rows or a bar strategy's answer to what the kernel carries out.

Every decision is checked here, by one set of rules and one wording, before it can move money.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.bars import TIME, Bars, iso_time
from engine.errors import BadSignals, StrategyError
from engine.instruments import Instrument
from engine.kernel import BUY_CODE, CLOSE_CODE, SELL_CODE
from engine.money import lot_steps, round_price, volume_problem
from engine.result import Patterns
from engine.specification import Specification
from engine.strategy import Decision

CODES = {"BUY": BUY_CODE, "SELL": SELL_CODE, "CLOSE": CLOSE_CODE}
LONGEST_PATTERN_NAME = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN_COLUMNS = ("pattern_name", "pattern_metadata")


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

    Levels and volume beside a CLOSE are not looked at. Only null means absent: NaN or infinity beside a BUY or SELL is
    an error, since a stop that is silently not there costs money. Decisions of skipped hours are checked and dropped.
    Raises StrategyError with the time of the first bar at fault.
    """
    if frame.height != bars.height:
        raise StrategyError(f"decide_all returned {frame.height} rows for {bars.height} bars")
    problem = _columns_problem(frame, needed=("action",))
    if problem:
        raise StrategyError(f"decide_all: {problem}")
    action = frame["action"]
    if action.dtype == pl.Null:
        return _nothing()
    decided = action.is_not_null().arg_true().to_numpy().astype(np.int64)
    decided = decided[decided >= first]
    rows = frame[decided] if decided.size else frame.head(0)
    table = _read(rows)
    fault = _first_fault(table, bars.close[decided], instrument, bare_close=False)
    if fault is not None:
        row, what = fault
        raise StrategyError(f"decision at {iso_time(int(bars.time_us[decided[row]]))}: {what}")
    return _to_carry_out(table, rows, decided, first, bars, specification, instrument)


def signals_from_frame(
    frame: pl.DataFrame, source: str, bars: Bars, first: int, specification: Specification, instrument: Instrument
) -> Signals:
    """Check a signal file's rows as a whole: time, action, optional volume, stop_loss, take_profit, take_profit_2, ...

    bars: the run's, warm-up included; rows outside [specification.start, end) are checked without a close and ignored.
    Raises BadSignals: `source: row N (time T): what is wrong`, or `source: what is wrong` for the whole of it.
    """
    problem = _columns_problem(frame, needed=("time", "action"))
    if problem:
        raise BadSignals(f"{source}: {problem}")
    times = _signal_times(frame["time"], source)
    time_us = times.to_physical().fill_null(0).to_numpy()
    unknown_time = times.is_null().to_numpy()
    start_us, end_us = as_us(specification.start), as_us(specification.end)
    inside = (time_us >= start_us) & (time_us < end_us)
    place = np.minimum(np.searchsorted(bars.time_us, time_us), bars.height - 1)
    on_bar = inside & (bars.time_us[place] == time_us)
    table = _read(frame)
    rises = np.ones(time_us.size, bool)
    rises[1:] = time_us[1:] > time_us[:-1]
    own_faults: list[tuple[NDArray[np.bool_], Callable[[int], str]]] = [
        (unknown_time, lambda _: "time is null"),
        (~rises, lambda _: "time does not rise"),
        (table.codes == _UNKNOWN, table.unknown_action),
        (inside & ~on_bar, lambda _: "there is no bar at this time"),
    ]
    closes = np.where(on_bar, bars.close[place], np.nan)
    fault = _first_fault(table, closes, instrument, bare_close=True, before=own_faults)
    if fault is not None:
        row, what = fault
        time = "null" if unknown_time[row] else iso_time(int(time_us[row]))
        raise BadSignals(f"{source}: row {row + 1} (time {time}): {what}")
    chosen = np.flatnonzero(on_bar & (place >= first))
    decisions = _to_carry_out(
        table.take(chosen), frame[chosen], place[chosen].astype(np.int64), first, bars, specification, instrument
    )
    return Signals(decisions, (time_us, table.codes, table.volume, table.stop, table.targets))


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
    elif code != CLOSE_CODE:
        stop, targets = decision.stop_loss, list(decision.take_profits)
        what = scalar_problem(code, close, decision.volume, stop, targets, instrument.lot_step)
        if what is None:
            stop, targets = _with_defaults(code, close, stop, targets, specification, instrument)
            levels = [math.nan if stop is None else stop, *targets]
            steps = 0 if decision.volume is None else lot_steps(decision.volume, instrument.lot_step)
    if what is None and decision.pattern_name is not None and len(decision.pattern_name) > LONGEST_PATTERN_NAME:
        what = _name_too_long(decision.pattern_name)
    if what is not None or code is None:
        raise StrategyError(f"decision at {iso_time(time_us)}: {what}")
    return code, steps, levels


def scalar_problem(
    code: int, close: float, volume: float | None, stop: float | None, targets: Sequence[float], lot_step: float
) -> str | None:
    """Say what is wrong with one BUY or SELL, or None. A NaN close is unknown: levels are held against each other."""
    numbers = [("volume", volume), ("stop_loss", stop)]
    numbers += [(target_name(j), target) for j, target in enumerate(targets)]
    for name, value in numbers:
        if value is not None and not math.isfinite(value):
            return f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    if volume is not None:
        problem = volume_problem(volume, lot_step)
        if problem:
            return problem
    side, verb = ("BUY", "below") if code == BUY_CODE else ("SELL", "above")
    beyond = "above" if code == BUY_CODE else "below"
    if stop is not None and not (close != close or (close - stop) * code > 0.0):
        return f"{side} needs its stop_loss {verb} the close: {stop} against {close}"
    nearer, nearer_name = close, "the close"
    if close != close and stop is not None:
        nearer, nearer_name = stop, "its stop_loss"
    for j, target in enumerate(targets):
        if not (nearer != nearer or (target - nearer) * code > 0.0):
            return f"{side} needs its {target_name(j)} {beyond} {nearer_name}: {target} against {nearer}"
        nearer, nearer_name = target, target_name(j)
    return None


def as_us(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def target_name(j: int) -> str:
    """Return the column of target j, counted from 0: take_profit, take_profit_2, ..."""
    return "take_profit" if j == 0 else f"take_profit_{j + 1}"


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


# ------------------------------------------------------------------------------------------------- columns

_UNKNOWN = 99


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Columns of decisions as arrays; *_given: where the cell is not null. targets: (m, k)."""

    actions: pl.Series
    codes: NDArray[np.int64]
    volume: NDArray[np.float64]
    volume_given: NDArray[np.bool_]
    stop: NDArray[np.float64]
    stop_given: NDArray[np.bool_]
    targets: NDArray[np.float64]
    targets_given: NDArray[np.bool_]
    names_too_long: NDArray[np.bool_]

    def unknown_action(self, row: int) -> str:
        return f"unknown action {self.actions[row]!r}" if self.actions[row] is not None else "action is null"

    def take(self, rows: NDArray[np.int64]) -> "_Table":
        return _Table(
            self.actions[rows],
            self.codes[rows],
            self.volume[rows],
            self.volume_given[rows],
            self.stop[rows],
            self.stop_given[rows],
            self.targets[rows],
            self.targets_given[rows],
            self.names_too_long[rows],
        )


def _read(frame: pl.DataFrame) -> _Table:
    actions = frame["action"].cast(pl.String)
    codes = actions.replace_strict(CODES, default=_UNKNOWN, return_dtype=pl.Int64).fill_null(_UNKNOWN).to_numpy()
    volume, volume_given = _numbers(frame, "volume")
    stop, stop_given = _numbers(frame, "stop_loss")
    names = _target_names(frame)
    targets, targets_given = np.full((frame.height, len(names)), np.nan), np.zeros((frame.height, len(names)), bool)
    for j, name in enumerate(names):
        targets[:, j], targets_given[:, j] = _numbers(frame, name)
    too_long = np.zeros(frame.height, bool)
    if "pattern_name" in frame.columns and frame.schema["pattern_name"] != pl.Null:
        lengths = frame["pattern_name"].cast(pl.String).str.len_chars().fill_null(0)
        too_long = (lengths > LONGEST_PATTERN_NAME).to_numpy()
    return _Table(actions, codes, volume, volume_given, stop, stop_given, targets, targets_given, too_long)


def _first_fault(
    table: _Table,
    closes: NDArray[np.float64],
    instrument: Instrument,
    *,
    bare_close: bool,
    before: Sequence[tuple[NDArray[np.bool_], Callable[[int], str]]] = (),
) -> tuple[int, str] | None:
    """Return the first row at fault and what is first wrong in it. Masks find the row fast; the words come after.

    bare_close: CLOSE may carry nothing else. before: faults that come first, each a mask and its words.
    """
    side = table.codes.astype(np.float64)
    trades = (table.codes == BUY_CODE) | (table.codes == SELL_CODE)
    closing = table.codes == CLOSE_CODE
    steps = table.volume / instrument.lot_step
    faulty = ~trades & ~closing
    faulty |= trades & table.volume_given & ~(np.abs(steps - np.rint(steps)) <= 1e-9 * np.maximum(1.0, steps * 1e-3))
    faulty |= trades & table.volume_given & ~(np.rint(steps) >= 1.0)
    faulty |= trades & table.stop_given & ~np.isfinite(table.stop)
    faulty |= trades & table.stop_given & ((closes - table.stop) * side <= 0.0)
    nearer = np.where(np.isnan(closes), table.stop, closes)
    missing = np.zeros(side.size, bool)
    for j in range(table.targets.shape[1]):
        target, given = table.targets[:, j], table.targets_given[:, j]
        faulty |= trades & given & (~np.isfinite(target) | missing | ((target - nearer) * side <= 0.0))
        nearer = np.where(given, target, nearer)
        missing |= ~given
    if bare_close:
        faulty |= closing & (table.volume_given | table.stop_given | table.targets_given.any(axis=1))
    faulty |= table.names_too_long
    for mask, _ in before:
        faulty |= mask
    if not faulty.any():
        return None
    row = int(np.argmax(faulty))
    for mask, words in before:
        if mask[row]:
            return row, words(row)
    return row, _words(table, row, float(closes[row]), instrument)


def _words(table: _Table, row: int, close: float, instrument: Instrument) -> str:
    """Say what is wrong in a row that is at fault."""
    code = int(table.codes[row])
    if code == _UNKNOWN:
        return table.unknown_action(row)
    given = table.targets_given[row]
    names = ["volume"] * bool(table.volume_given[row]) + ["stop_loss"] * bool(table.stop_given[row])
    names += [target_name(int(j)) for j in np.flatnonzero(given)]
    if code == CLOSE_CODE:
        return f"CLOSE carries nothing else, but has {', '.join(names)}" if names else _name_too_long(None)
    count = int(given.sum())
    if not given[:count].all():
        return f"{target_name(int(np.flatnonzero(given)[-1]))} without {target_name(int(np.argmin(given)))}"
    volume = float(table.volume[row]) if table.volume_given[row] else None
    stop = float(table.stop[row]) if table.stop_given[row] else None
    targets = [float(target) for target in table.targets[row, :count]]
    return scalar_problem(code, close, volume, stop, targets, instrument.lot_step) or _name_too_long(None)


def _name_too_long(name: str | None) -> str:
    shown = "" if name is None else f" {name!r}"
    return f"pattern_name{shown} is longer than {LONGEST_PATTERN_NAME} characters"


def _to_carry_out(
    table: _Table,
    frame: pl.DataFrame,
    rows: NDArray[np.int64],
    first: int,
    bars: Bars,
    specification: Specification,
    instrument: Instrument,
) -> Decisions:
    """Fill in levels from pips and sizes from volumes, and drop what falls into skipped hours. rows: in `bars`."""
    closes = bars.close[rows]
    side = table.codes.astype(np.float64)
    stop = np.where(table.stop_given, table.stop, np.nan)
    targets = np.where(table.targets_given, table.targets, np.nan)
    if specification.stop_loss_pips is not None:
        default = round_price(closes - side * (specification.stop_loss_pips * instrument.pip))
        stop = np.where(table.stop_given, stop, default)
    if specification.take_profit_pips is not None:
        default = round_price(closes + side * (specification.take_profit_pips * instrument.pip))
        targets = targets if targets.shape[1] else np.full((side.size, 1), np.nan)
        targets[:, 0] = np.where(np.isnan(targets[:, 0]), default, targets[:, 0])
    levels = np.ascontiguousarray(np.column_stack((stop, targets)))
    levels[table.codes == CLOSE_CODE] = np.nan
    sized = table.volume_given & (table.codes != CLOSE_CODE)
    steps = np.zeros(side.size, np.int64)
    steps[sized] = np.rint(table.volume[sized] / instrument.lot_step).astype(np.int64)
    kept = ~skipped(bars.close_time_us[rows], specification) | (table.codes == CLOSE_CODE)
    name, metadata = (_pattern_texts(frame, column) for column in _PATTERN_COLUMNS)
    if kept.all():
        return Decisions(rows - first, table.codes, steps, levels, name, metadata)
    return Decisions(
        (rows - first)[kept],
        table.codes[kept],
        steps[kept],
        levels[kept],
        None if name is None else name.filter(pl.Series(kept)),
        None if metadata is None else metadata.filter(pl.Series(kept)),
    )


def skipped(close_time_us: NDArray[np.int64], specification: Specification) -> NDArray[np.bool_]:
    """Return where BUY and SELL are not taken, by hour and weekday of the decision's close in skip_timezone.

    A skipped decision does nothing at all: one against the open position neither reverses nor closes it. CLOSE is
    always taken: it lowers risk, and skipping is about opening at bad hours.
    """
    if not specification.skip_hours and not specification.skip_weekdays:
        return np.zeros(close_time_us.size, bool)
    local = pl.Series(close_time_us).cast(TIME).dt.convert_time_zone(specification.skip_timezone)
    hours, weekdays = local.dt.hour().to_numpy(), local.dt.weekday().to_numpy() - 1
    at: NDArray[np.bool_] = np.isin(hours, specification.skip_hours) | np.isin(weekdays, specification.skip_weekdays)
    return at


def _with_defaults(
    code: int,
    close: float,
    stop: float | None,
    targets: list[float],
    specification: Specification,
    instrument: Instrument,
) -> tuple[float | None, list[float]]:
    if stop is None and specification.stop_loss_pips is not None:
        stop = float(round_price(np.array(close - code * (specification.stop_loss_pips * instrument.pip))))
    if not targets and specification.take_profit_pips is not None:
        targets = [float(round_price(np.array(close + code * (specification.take_profit_pips * instrument.pip))))]
    return stop, targets


def _columns_problem(frame: pl.DataFrame, needed: tuple[str, ...]) -> str | None:
    """Say which column is missing, unknown or of a wrong kind: a misspelt stop_loss must not mean no stop."""
    known = {"action", "volume", "stop_loss", *_PATTERN_COLUMNS, *needed, *_target_names(frame)}
    for name in needed:
        if name not in frame.columns:
            return f"column {name} is missing"
    for name, kind in frame.schema.items():
        if name not in known:
            return f"unknown column {name}"
        if name == "action" and not isinstance(kind, (pl.String, pl.Enum, pl.Categorical, pl.Null)):
            return f"column action holds {kind}, not BUY, SELL, CLOSE or null"
        if name not in ("time", "action", *_PATTERN_COLUMNS) and not (kind.is_numeric() or kind == pl.Null):
            return f"column {name} holds {kind}, not numbers"
        if name == "pattern_name" and not isinstance(kind, (pl.String, pl.Enum, pl.Categorical, pl.Null)):
            return f"column pattern_name holds {kind}, not text"
        if name == "pattern_metadata" and not isinstance(kind, (pl.String, pl.Struct, pl.Null)):
            return f"column pattern_metadata holds {kind}, not JSON text or a struct"
    return None


def _target_names(frame: pl.DataFrame) -> list[str]:
    """Return take_profit, take_profit_2, ... as far as any is there; one left out in between counts as unknown."""
    names: list[str] = []
    while target_name(len(names)) in frame.columns:
        names.append(target_name(len(names)))
    return names


def _numbers(frame: pl.DataFrame, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if name not in frame.columns or frame.schema[name] == pl.Null:
        return np.full(frame.height, np.nan), np.zeros(frame.height, bool)
    column = frame[name].cast(pl.Float64)
    return column.fill_null(np.nan).to_numpy(), column.is_not_null().to_numpy()


def _pattern_texts(frame: pl.DataFrame, name: str) -> pl.Series | None:
    if name not in frame.columns or frame.schema[name] == pl.Null:
        return None
    column = frame[name]
    return column.struct.json_encode() if isinstance(column.dtype, pl.Struct) else column.cast(pl.String)


def _signal_times(column: pl.Series, source: str) -> pl.Series:
    if not isinstance(column.dtype, pl.Datetime):
        raise BadSignals(f"{source}: column time holds {column.dtype}, not times")
    if column.dtype.time_zone is None:
        return column.cast(pl.Datetime("us")).cast(TIME)
    return column.dt.convert_time_zone("UTC").cast(TIME)


def _nothing() -> Decisions:
    nothing = np.empty(0, np.int64)
    return Decisions(nothing, nothing, nothing, np.empty((0, 1)))
