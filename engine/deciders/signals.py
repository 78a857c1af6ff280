"""Signal files as deciders: every decision written down before the run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.decider import Carrier, DigestInputs
from engine.deciders.decisions import Decisions, to_carry_out
from engine.deciders.table import UNKNOWN, columns_of, columns_problem, first_fault, read_table
from engine.errors import BadSignals
from engine.market.bars import TIME, Bars
from engine.market.instruments import Instrument
from engine.numeric.times import as_us, iso_time
from engine.prepared import PreparedRun
from engine.specification import Specification
from engine.warm_up import WarmUp, signals_warm_up


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """A signal file, checked, as the decider of a run: see signals_from_frame.

    values: time, then each column, those of terms with a value only. left_out: rows outside of the run's range.
    """

    decisions: Decisions
    values: tuple[NDArray[Any], ...]
    left_out: int = 0

    @property
    def source(self) -> str:
        return "signals"

    @property
    def closes_as(self) -> str:
        return "signal"

    @property
    def warnings(self) -> tuple[str, ...]:
        if not self.left_out:
            return ()
        are = "signal is" if self.left_out == 1 else "signals are"
        return (f"{self.left_out} of {self.values[0].size} {are} outside of the run's range and left out",)

    def digest_inputs(self) -> DigestInputs:
        return DigestInputs({}, self.values)

    def warm_up(self, specification: Specification) -> WarmUp:
        return signals_warm_up(specification)

    def decide(self, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        del run, before
        carrier.carry_out(self.decisions)
        return self.decisions


def signals_from_frame(
    frame: pl.DataFrame, source: str, bars: Bars, first: int, specification: Specification, instrument: Instrument
) -> Signals:
    """Check a signal file's rows as a whole: time, action, optional volume, stop_loss, take_profit, take_profit_2, ...,
    and terms.TERM_COLUMNS.

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
    decisions = to_carry_out(
        table.take(chosen), columns_of(frame[chosen]), rows, bars.close[rows], first, bars, specification, instrument
    )
    # A target column without a value is no input: the same rows give one digest with or without it.
    targets = table.targets[:, table.targets_given.any(axis=0)]
    further = () if table.terms is None else table.terms.digest_inputs()
    values = (time_us, table.codes, table.volume, table.stop, targets, *further)
    return Signals(decisions, values, left_out=int((~inside).sum()))


def _signal_times(column: pl.Series, source: str) -> pl.Series:
    if not isinstance(column.dtype, pl.Datetime):
        raise BadSignals(f"{source}: column time holds {column.dtype}, not times")
    if column.dtype.time_zone is None:
        return column.cast(pl.Datetime("us")).cast(TIME)
    return column.dt.convert_time_zone("UTC").cast(TIME)
