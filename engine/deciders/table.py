"""Decisions as columns: reading them from a frame, and finding the first row at fault fast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.rules import (
    CODES,
    LONGEST_PATTERN_NAME,
    ORDERS,
    TERM_NUMBERS,
    WHOLE_TERMS,
    decision_problem,
    name_too_long,
    target_name,
    unknown_action,
)
from engine.deciders.terms import CLOSED_SIDES, CLOSES, TERM_COLUMNS, TermColumns, read_terms
from engine.kernel.layout import BUY_CODE, CANCEL_CODE, CLOSE_CODE, MOVE_CODE
from engine.market.instruments import Instrument
from engine.market.lots import LARGEST_STEPS
from engine.numeric.rounding import round_price
from engine.strategy import Decision

PATTERN_COLUMNS = ("pattern_name", "pattern_metadata")
UNKNOWN = 99
"""Code of an action that is none."""
_TEXTS = {
    "action": f"{', '.join(CODES)} or null",
    "order": f"{', '.join(ORDERS)} or null",
    CLOSES: f"{', '.join(CLOSED_SIDES)} or null",
    "pattern_name": "text",
}
_GIVEN = pl.col("action").is_not_null().alias("given")
_PHYSICAL = pl.col("action").to_physical()
Columns = Mapping[str, pl.Series]
"""By name: asking a frame for its names and types takes longer than a short column's work."""


@dataclass(frozen=True, slots=True, eq=False)
class DecisionTable:
    """Columns of decisions as arrays; *_given: where the cell is not null. targets: (m, k).

    terms: None where no row has any. only_opens_and_closes: whether all actions are BUY, SELL and CLOSE.
    """

    actions: pl.Series
    codes: NDArray[np.int64]
    volume: NDArray[np.float64]
    volume_given: NDArray[np.bool_]
    stop: NDArray[np.float64]
    stop_given: NDArray[np.bool_]
    targets: NDArray[np.float64]
    targets_given: NDArray[np.bool_]
    names_too_long: NDArray[np.bool_]
    terms: TermColumns | None
    only_opens_and_closes: bool

    @property
    def opening(self) -> NDArray[np.bool_]:
        opens: NDArray[np.bool_] = np.abs(self.codes) == BUY_CODE
        return opens

    def sides(self, closes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the direction of the position that each row opens or, a MOVE, is meant for; 0 for none."""
        codes = self.codes.astype(np.float64)
        if self.only_opens_and_closes:
            return codes
        anchor = np.where(np.isnan(closes), self.stop, closes)
        unknown = np.full(codes.size, np.nan)
        first, second = (self.targets[:, j] if j < self.targets.shape[1] else unknown for j in range(2))
        # By the first difference there is; a stop alone beside an unknown close may be anybody's.
        steps = np.stack([first - anchor, second - first, closes - self.stop, np.ones(codes.size)])
        first_known = np.argmax(~np.isnan(steps), axis=0)
        meant_for = np.sign(steps[first_known, np.arange(codes.size)])
        return np.where(self.codes == MOVE_CODE, meant_for, np.where(self.opening, codes, 0.0))

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
            None if self.terms is None else self.terms.take(rows),
            self.only_opens_and_closes,
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
    codes = codes_of(actions, physical)
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
    return DecisionTable(
        *(actions, codes, volume, volume_given, stop, stop_given, targets, targets_given, too_long),
        terms=read_terms(columns, height),
        only_opens_and_closes=int(codes.max(initial=0)) <= BUY_CODE,
    )


def codes_of(actions: pl.Series, physical: pl.Series | None) -> NDArray[np.int64]:
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

    bare_close: CLOSE and CANCEL may carry nothing else. before: faults that come first, each a mask and its words.
    """
    faulty = (table.codes == UNKNOWN) | table.names_too_long
    trades = table.codes != CLOSE_CODE if table.only_opens_and_closes else table.opening
    side = table.sides(closes)
    if table.volume_given.any():
        faulty |= table.volume_given & (~trades | _off_step(table.volume, instrument.lot_step))
    middle = closes
    if table.terms is not None:
        middle = np.where(trades, table.terms.measured_from(closes), closes)
        faulty |= _terms_faults(table, table.terms, closes, middle, instrument, bare_close=bare_close)
        faulty |= table.terms.wrong_sides(table.codes)
    if not table.only_opens_and_closes:
        moving = table.codes == MOVE_CODE
        faulty |= moving & ((side == 0.0) | ~(table.stop_given | table.targets_given.any(axis=1)))
        trades = trades | moving
    faulty |= trades & _levels_out_of_order(table, middle, side)
    if bare_close:
        faulty |= ~trades & (table.stop_given | table.targets_given.any(axis=1))
    for mask, _ in before:
        faulty |= mask
    if not faulty.any():
        return None
    row = int(np.argmax(faulty))
    for mask, words in before:
        if mask[row]:
            return row, words(row)
    return row, _words(table, row, float(closes[row]), instrument, bare_close=bare_close)


def _levels_out_of_order(
    table: DecisionTable, middle: NDArray[np.float64], side: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the rows with a level that is not finite or on its side. middle: what lies between stop and targets."""
    faulty = np.zeros(side.size, bool)
    if table.stop_given.any():
        faulty |= table.stop_given & (~np.isfinite(table.stop) | ((middle - table.stop) * side <= 0.0))
    nearer = np.where(np.isnan(middle), table.stop, middle)
    missing = np.zeros(side.size, bool)
    for j in range(table.targets.shape[1]):
        target, given = table.targets[:, j], table.targets_given[:, j]
        faulty |= given & (~np.isfinite(target) | missing | ((target - nearer) * side <= 0.0))
        nearer = np.where(given, target, nearer)
        missing |= ~given
    return faulty


def _off_step(volume: NDArray[np.float64], lot_step: float) -> NDArray[np.bool_]:
    steps = volume / lot_step
    whole = np.rint(steps)
    off: NDArray[np.bool_] = ~((np.abs(steps - whole) <= 1e-9 * np.maximum(1.0, steps * 1e-3)) & (whole >= 1.0))
    off |= ~(steps <= LARGEST_STEPS)
    return off


def _terms_faults(
    table: DecisionTable,
    terms: TermColumns,
    closes: NDArray[np.float64],
    middle: NDArray[np.float64],
    instrument: Instrument,
    *,
    bare_close: bool,
) -> NDArray[np.bool_]:
    """Return the rows whose terms are wrong, or carried by what carries none."""
    side, opening = table.sides(closes), table.opening
    stop = round_price(terms.trail_stop(closes, side), instrument.price_scale)
    faults = terms.faults(closes, side) | (~table.stop_given & ((middle - stop) * side <= 0.0))
    carriers = ~opening if bare_close else table.codes == MOVE_CODE
    wrong: NDArray[np.bool_] = np.where(opening, faults, carriers & terms.carries)
    return wrong


def _words(table: DecisionTable, row: int, close: float, instrument: Instrument, *, bare_close: bool) -> str:
    """Say what is wrong in a row that is at fault."""
    if table.codes[row] == UNKNOWN:
        return table.unknown_action(row)
    given = table.targets_given[row]
    count = int(given.sum())
    if table.codes[row] not in (CLOSE_CODE, CANCEL_CODE) and not given[:count].all():
        return f"{target_name(int(np.flatnonzero(given)[-1]))} without {target_name(int(np.argmin(given)))}"
    if table.terms is not None and table.terms.wrong_sides(table.codes)[row]:
        return _wrong_side(table.actions[row])
    decision = _decision_at(table, row)
    if table.codes[row] in (CLOSE_CODE, CANCEL_CODE) and not bare_close:
        decision = Decision(decision.action, decision.volume)
    return decision_problem(decision, close, instrument) or name_too_long(None)


def _wrong_side(action: str) -> str:
    whose = {"BUY": '"short"', "SELL": '"long"'}
    return f"{CLOSES} beside {action} is {whose.get(action, ' or '.join(map(repr, CLOSED_SIDES)))} or null"


def _decision_at(table: DecisionTable, row: int) -> Decision:
    """Return a row of known action as a bar strategy would have said it."""
    terms = table.terms
    said: dict[str, Any] = {}
    if terms is not None:
        numbers = zip(TERM_NUMBERS, terms.values[row].tolist(), terms.given[row], strict=True)
        said = {name: _as_written(name, value) for name, value, given in numbers if given}
        said["order"] = terms.orders[row] or "market"
    return Decision(
        table.actions[row],
        float(table.volume[row]) if table.volume_given[row] else None,
        float(table.stop[row]) if table.stop_given[row] else None,
        tuple(table.targets[row][table.targets_given[row]].tolist()),
        **said,
    )


def _as_written(name: str, value: float) -> float:
    return int(value) if name in WHOLE_TERMS and value.is_integer() else value


def frame_problem(columns: Columns) -> str | None:
    """As columns_problem, of what a column strategy returns."""
    return columns_problem(columns, needed=("action",), further=(CLOSES,))


def columns_problem(columns: Columns, needed: tuple[str, ...], further: tuple[str, ...] = ()) -> str | None:
    """Say which column is missing, unknown or of a wrong kind: a misspelt stop_loss must not mean no stop."""
    known = {"action", "volume", "stop_loss", *TERM_COLUMNS, *PATTERN_COLUMNS, *needed, *_target_names(columns)}
    known.update(further)
    for name in needed:
        if name not in columns:
            strangers = [_unknown_column(each, known, columns) for each in columns if each not in known]
            return "; ".join([f"column {name} is missing", *strangers])
    for name, column in columns.items():
        kind = column.dtype
        if name not in known:
            return _unknown_column(name, known, columns)
        if name in _TEXTS and not isinstance(kind, (pl.String, pl.Enum, pl.Categorical, pl.Null)):
            return f"column {name} holds {kind}, not {_TEXTS[name]}"
        if name not in ("time", "pattern_metadata", *_TEXTS) and not (kind.is_numeric() or kind == pl.Null):
            return f"column {name} holds {kind}, not numbers"
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
