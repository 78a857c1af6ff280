"""Decisions as columns: reading them from a frame, and finding the first row at fault fast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.rules import (
    CODES,
    LONGEST_PATTERN_NAME,
    close_carries,
    name_too_long,
    scalar_problem,
    target_name,
    unknown_action,
)
from engine.kernel.layout import CLOSE_CODE
from engine.market.instruments import Instrument

PATTERN_COLUMNS = ("pattern_name", "pattern_metadata")
UNKNOWN = 99
"""Code of an action that is none."""
_GIVEN = pl.col("action").is_not_null().alias("given")
_PHYSICAL = pl.col("action").to_physical()
Columns = Mapping[str, pl.Series]
"""By name: asking a frame for its names and types takes longer than a short column's work."""


@dataclass(frozen=True, slots=True, eq=False)
class DecisionTable:
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
        return unknown_action(self.actions[row]) if self.actions[row] is not None else "action is null"

    def take(self, rows: NDArray[np.int64]) -> "DecisionTable":
        return DecisionTable(
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


def columns_of(frame: pl.DataFrame) -> Columns:
    return {column.name: column for column in frame.iter_columns()}


def given_and_physical(actions: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return where there is an action, and what stands for it in memory: one query for both, each takes 17 us."""
    given, physical = actions.to_frame().select_seq(_GIVEN, _PHYSICAL).iter_columns()
    return given, physical


def read_table(columns: Columns, physical: pl.Series | None = None) -> DecisionTable:
    """Return the columns as arrays. physical: of the actions, where it is at hand (given_and_physical)."""
    actions = columns["action"]
    height = actions.len()
    codes = _codes(actions, physical)
    volume, volume_given = _numbers(columns, "volume", height)
    stop, stop_given = _numbers(columns, "stop_loss", height)
    names = _target_names(columns)
    targets, targets_given = np.empty((height, len(names))), np.empty((height, len(names)), bool)
    for j, name in enumerate(names):
        targets[:, j], targets_given[:, j] = _numbers(columns, name, height)
    too_long = np.zeros(height, bool)
    if "pattern_name" in columns and columns["pattern_name"].dtype != pl.Null:
        lengths = columns["pattern_name"].cast(pl.String).str.len_chars().fill_null(0)
        too_long = (lengths > LONGEST_PATTERN_NAME).to_numpy()
    return DecisionTable(actions, codes, volume, volume_given, stop, stop_given, targets, targets_given, too_long)


def _codes(actions: pl.Series, physical: pl.Series | None) -> NDArray[np.int64]:
    """Return kernel codes, UNKNOWN for null and for what is no action."""
    kind = actions.dtype
    if not isinstance(kind, pl.Enum):
        texts = actions.cast(pl.String)
        return texts.replace_strict(CODES, default=UNKNOWN, return_dtype=pl.Int64).fill_null(UNKNOWN).to_numpy()
    categories = kind.categories.to_list()
    codes = np.array([*(CODES.get(category, UNKNOWN) for category in categories), UNKNOWN], np.int64)
    physical = actions.to_physical() if physical is None else physical
    if physical.null_count():
        physical = physical.cast(pl.Int64).fill_null(len(categories))
    found: NDArray[np.int64] = codes[physical.to_numpy()]
    return found


def first_fault(
    table: DecisionTable,
    closes: NDArray[np.float64],
    instrument: Instrument,
    *,
    bare_close: bool,
    before: Sequence[tuple[NDArray[np.bool_], Callable[[int], str]]] = (),
) -> tuple[int, str] | None:
    """Return the first row at fault and what is first wrong in it. Masks find the row fast; the words come after.

    bare_close: CLOSE may carry nothing else. before: faults that come first, each a mask and its words.
    """
    faulty = (table.codes == UNKNOWN) | table.names_too_long
    closing = table.codes == CLOSE_CODE
    trades = ~closing
    side = table.codes.astype(np.float64)
    if table.volume_given.any():
        steps = table.volume / instrument.lot_step
        whole = np.rint(steps)
        faulty |= trades & table.volume_given & ~(np.abs(steps - whole) <= 1e-9 * np.maximum(1.0, steps * 1e-3))
        faulty |= trades & table.volume_given & ~(whole >= 1.0)
        faulty |= closing & table.volume_given
    if table.stop_given.any():
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
        faulty |= closing & (table.stop_given | table.targets_given.any(axis=1))
    for mask, _ in before:
        faulty |= mask
    if not faulty.any():
        return None
    row = int(np.argmax(faulty))
    for mask, words in before:
        if mask[row]:
            return row, words(row)
    return row, _words(table, row, float(closes[row]), instrument, bare_close=bare_close)


def _words(table: DecisionTable, row: int, close: float, instrument: Instrument, *, bare_close: bool) -> str:
    """Say what is wrong in a row that is at fault."""
    code = int(table.codes[row])
    if code == UNKNOWN:
        return table.unknown_action(row)
    given = table.targets_given[row]
    names = ["volume"] * bool(table.volume_given[row]) + ["stop_loss"] * bool(table.stop_given[row])
    names += [target_name(int(j)) for j in np.flatnonzero(given)]
    if code == CLOSE_CODE:
        carries = names if bare_close else names[: int(table.volume_given[row])]
        return close_carries(carries) if carries else name_too_long(None)
    count = int(given.sum())
    if not given[:count].all():
        return f"{target_name(int(np.flatnonzero(given)[-1]))} without {target_name(int(np.argmin(given)))}"
    volume = float(table.volume[row]) if table.volume_given[row] else None
    stop = float(table.stop[row]) if table.stop_given[row] else None
    targets = [float(target) for target in table.targets[row, :count]]
    return scalar_problem(code, close, volume, stop, targets, instrument.lot_step) or name_too_long(None)


def columns_problem(columns: Columns, needed: tuple[str, ...]) -> str | None:
    """Say which column is missing, unknown or of a wrong kind: a misspelt stop_loss must not mean no stop."""
    known = {"action", "volume", "stop_loss", *PATTERN_COLUMNS, *needed, *_target_names(columns)}
    for name in needed:
        if name not in columns:
            strangers = [_unknown_column(each, known, columns) for each in columns if each not in known]
            return "; ".join([f"column {name} is missing", *strangers])
    for name, column in columns.items():
        kind = column.dtype
        if name not in known:
            return _unknown_column(name, known, columns)
        if name == "action" and not isinstance(kind, (pl.String, pl.Enum, pl.Categorical, pl.Null)):
            return f"column action holds {kind}, not BUY, SELL, CLOSE or null"
        if name not in ("time", "action", *PATTERN_COLUMNS) and not (kind.is_numeric() or kind == pl.Null):
            return f"column {name} holds {kind}, not numbers"
        if name == "pattern_name" and not isinstance(kind, (pl.String, pl.Enum, pl.Categorical, pl.Null)):
            return f"column pattern_name holds {kind}, not text"
        if name == "pattern_metadata" and not isinstance(kind, (pl.String, pl.Struct, pl.Null)):
            return f"column pattern_metadata holds {kind}, not JSON text or a struct"
    return None


def _unknown_column(name: str, known: set[str], columns: Columns) -> str:
    """Name it, and what of the columns that are not there it may be meant for."""
    absent = sorted({*known, target_name(0)} - columns.keys())
    meant = get_close_matches(name, absent, n=1)
    return f"unknown column {name}" + (f" (did you mean {meant[0]}?)" if meant else "")


def _target_names(columns: Columns) -> list[str]:
    """Return take_profit, take_profit_2, ... as far as any is there; one left out in between counts as unknown."""
    names: list[str] = []
    while target_name(len(names)) in columns:
        names.append(target_name(len(names)))
    return names


def _numbers(columns: Columns, name: str, height: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a column's values, NaN for null, and where they are not null."""
    if name not in columns or columns[name].dtype == pl.Null:
        return np.full(height, np.nan), np.zeros(height, bool)
    column = columns[name].cast(pl.Float64)
    # Without a null this is one array as it stands; polars' own null handling costs more than a short run.
    if not column.null_count():
        return column.to_numpy(), np.ones(height, bool)
    return column.fill_null(np.nan).to_numpy(), column.is_not_null().to_numpy()


def pattern_texts(columns: Columns, name: str) -> pl.Series | None:
    if name not in columns or columns[name].dtype == pl.Null:
        return None
    column = columns[name]
    return column.struct.json_encode() if isinstance(column.dtype, pl.Struct) else column.cast(pl.String)
