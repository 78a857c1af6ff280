"""Column strategies: asked once, for all bars; and what they answer, checked.

A kind of strategy (`decider.StrategyKind`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.decider import Carrier, Listener
from engine.deciders.decisions import Decisions, bare_actions, to_carry_out
from engine.deciders.guard import guarded
from engine.deciders.left_out import left_out_warnings, no_decision
from engine.deciders.plots import checked_plots, without_plots
from engine.deciders.rules import CODES
from engine.deciders.table import (
    codes_of,
    columns_of,
    first_fault,
    frame_problem,
    given_and_physical,
    read_table,
)
from engine.errors import StrategyError, UnknownTimeframe
from engine.indicators.shared import shared_columns
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.resampling import join_context, last_closed, resample
from engine.market.timeframes import timeframe
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.specification import Specification, SpreadSource
from engine.strategy import ColumnStrategy, Contexts, Market, OwnBars

_PART = 1 << 20
"""Rows."""


def takes(strategy: Any) -> bool:
    return hasattr(strategy, "decide_all")


def decide(strategy: ColumnStrategy, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
    """Ask in the first simulation only: columns do not depend on fills."""
    decisions = _ask(strategy, run) if before is None else before
    carrier.carry_out(decisions)
    return decisions


def overheard(strategy: ColumnStrategy, listener: Listener) -> "_Overheard":
    return _Overheard(strategy, listener)


class _Overheard:
    def __init__(self, strategy: ColumnStrategy, listener: Listener) -> None:
        self._strategy, self._listener = strategy, listener

    def decide_all(self, market: Market) -> Any:
        return self._listener.decide_all(self._strategy, market)


def _ask(strategy: ColumnStrategy, run: PreparedRun) -> Decisions:
    left_out: dict[str, Any] = {}
    remarks: list[str] = []

    def asked() -> pl.DataFrame:
        # The market is gone when the answer is read: its joined columns take memory.
        market = _market(run, left_out, remarks)
        frame: object = guarded(lambda: strategy.decide_all(market), "decide_all")
        if not isinstance(frame, pl.DataFrame):
            raise StrategyError(f"decide_all returned {type(frame).__name__}, not a polars DataFrame")
        return frame

    frame, plots = without_plots(asked())
    decisions = decisions_from_columns(frame, run.bars, run.first, run.specification, run.instrument)
    del frame
    warnings = left_out_warnings(left_out, run)
    if not decisions.rows.size and not warnings:
        warnings = (no_decision(run),)
    warnings = (*warnings, *remarks)
    drawn = _plots(strategy, run, plots)
    return replace(decisions, warnings=warnings, plots=drawn) if warnings or drawn else decisions


def _market(run: PreparedRun, left_out: dict[str, Any], remarks: list[str]) -> Market:
    # Clones are the strategy's own: polars shares the values and copies them where one is changed.
    context = {name: join_context(run.bars, longer).clone() for name, longer in run.context.items()}
    return Market(run.bars.frame.clone(), Contexts(context), _own_bars(run), left_out, remarks)


def _plots(strategy: Any, run: PreparedRun, returned: pl.DataFrame | None) -> Callable[[], pl.DataFrame] | None:
    """Return what makes the run's plots: of the columns returned with the decisions, or, where a strategy has
    `plot_all` (rules), of what that computes when it is asked for, which a search never does.
    """
    if returned is not None:
        kept = checked_plots(returned, run.bars.height).slice(run.first)
        return lambda: kept
    if hasattr(strategy, "plot_all"):
        return lambda: checked_plots(strategy.plot_all(_market(run, {}, [])), run.bars.height).slice(run.first)
    return None


def _own_bars(run: PreparedRun) -> Callable[[str | None], OwnBars]:
    """Return what looks up the bars of a timeframe for `Market.on`; those that the run has not are resampled once."""
    found = {**run.context, run.bars.timeframe.name: run.bars}

    def own_bars(name: str | None) -> OwnBars:
        if name is not None and name not in found:
            try:
                found[name] = resample(run.bars, timeframe(name), run.instrument)
            except UnknownTimeframe as error:
                raise StrategyError(f"market.on({name!r}): {error}") from error
        own = run.bars if name is None else found[name]
        rows = last_closed(run.bars.close_time_us, own.close_time_us)
        return OwnBars(own.frame.clone(), rows, own.close_time_us, _spread_pips(run, own))

    return own_bars


def _spread_pips(run: PreparedRun, own: Bars) -> NDArray[np.float64] | float:
    """Return the spread of bars; where they have none recorded, that of the run's last bar in each."""
    asked = run.specification
    if asked.spread_source is SpreadSource.FIXED:
        return asked.spread_pips
    if own.spread_points is not None:
        return own.spread_points / run.instrument.points_per_pip
    assert run.bars.spread_points is not None, "refused before the run"
    rows = last_closed(own.close_time_us, run.bars.close_time_us)
    return np.where(rows < 0, np.nan, run.bars.spread_points[rows] / run.instrument.points_per_pip)


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
    if frame.width == 1:
        noted = _noted(frame, first, specification)
        if noted is not None:
            return noted
    columns = columns_of(frame.slice(first))
    problem = frame_problem(columns)
    if problem:
        raise StrategyError(f"decide_all: {problem}")
    acts, physical = given_and_physical(columns["action"])
    decided = _row_numbers(acts, first)
    if len(columns) == 1:
        bare = bare_actions(
            codes_of(columns["action"].filter(acts), physical.filter(acts)), decided - first, specification
        )
        if bare is not None:
            return bare
    columns = {name: column.filter(acts) for name, column in columns.items()}
    del frame  # Three columns of five million bars are 90 MB, and few of them decide anything.
    table = read_table(columns, physical.filter(acts))
    closes = bars.close[decided]
    fault = first_fault(table, closes, instrument, bare_close=False)
    if fault is not None:
        row, what = fault
        raise StrategyError(f"decision at {iso_time(int(bars.time_us[decided[row]]))}: {what}")
    return to_carry_out(table, columns, decided, closes, first, bars, specification, instrument)


def _noted(frame: pl.DataFrame, first: int, specification: Specification) -> Decisions | None:
    """Return the decisions of a frame that is nothing but the column that `actions` noted; None where it is not."""
    shared = shared_columns.get()
    noted = None if shared is None else shared.actions
    if noted is None or noted.above not in CODES or noted.below not in CODES:
        return None
    column = frame.to_series()
    if column.name != "action" or not column.equals(noted.column, check_dtypes=True):
        return None
    skipped_rows = int(np.searchsorted(noted.rows, first)) if first else 0
    codes = np.where(noted.signs > 0, CODES[noted.above], CODES[noted.below])[skipped_rows:]
    return bare_actions(codes, noted.rows[skipped_rows:] - first, specification)


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
