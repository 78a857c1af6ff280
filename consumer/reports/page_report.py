"""A run as one HTML file that opens without a network: the page's run view, with the API's answers inside.

What is embedded is one object, described in the page's `core/source.ts`: answers of the routes, by the route's name,
with columns of numbers packed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from consumer.errors import ConsumerError, FilesGone
from consumer.ports.run_tables import RunTables
from consumer.reports.analytics import GROUPINGS, analytics
from consumer.reports.chart import chart_candles, chart_indicators, instrument_of
from consumer.reports.chart_candles import CandlesAsked, anchor_of
from consumer.reports.completed import CompletedRun
from consumer.reports.curves import drawdown_table, equity_table, monthly_table
from consumer.reports.json_values import plain
from consumer.reports.packed import packed
from consumer.reports.tables import Table
from consumer.reports.trade_list import TradesAsked, trade_table
from engine.market.instruments import Instrument
from engine.market.resampling import candle_opens
from engine.market.timeframes import TIMEFRAMES, can_resample, timeframe
from engine.market.zones import Zone

MOST_BARS: Final = 100_000
CURVE_POINTS: Final = 4_000
SHORT_RUN_BARS: Final = 70_000
"""Ten years of hours, and some."""
SHORT_RUN_BYTES: Final = 2_950_000
MOST_BYTES: Final = 9_900_000
COARSER: Final = ("M5", "M15", "M30", "H1", "H4", "D1", "W1", "MN1")
"""Timeframes that the chart can show beside the run's own."""
SLOT: Final = '<script type="application/json" id="backtest-data"></script>'
_INDICATOR_DIGITS: Final = 6
_FEWEST_BARS: Final = 2_000


class NoReportPage(ConsumerError):
    """The page's report was not built, so that there is nothing to put a run into."""

    def __init__(self, place: object) -> None:
        super().__init__(
            f"{place} is not there: the report's page is built by `make setup` where npm's packages can be had"
        )


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """answer: as `/v1/backtest/{run_id}` gives it. run: None for one without results."""

    answer: Mapping[str, Any]
    run: CompletedRun | None


def page_report(
    shell: str,
    reported: Sequence[ReportedRun],
    tables: RunTables,
    registry: Mapping[str, Instrument],
    written_at: datetime,
) -> str:
    """The file's text: the first run whole, the others to compare it with.

    shell: the page's report with an empty SLOT. Under MOST_BYTES, of a short run under SHORT_RUN_BYTES: what is too
    much is left out, indicators first, then bars are thinned further, then single trades; the page says so.
    Raises FilesGone, ArtifactsUnavailable.
    """
    first = reported[0]
    others = [_compared(each, tables) for each in reported] if len(reported) > 1 else None
    limit = _limit(first, tables)
    page = ""
    never_there: frozenset[str] | None = None
    for leave_out, most_bars in _attempts():
        content = embedded(first, tables, registry, most_bars=most_bars, leave_out=leave_out)
        content["generated_at"] = written_at
        if never_there is None:
            has_indicators = bool(content.get("indicators", {}).get("indicators"))
            never_there = frozenset() if has_indicators else frozenset({"indicators"})
        content["left_out"] = sorted(leave_out - never_there)
        if others is not None:
            content["compare"] = others
        page = with_data(shell, content)
        if len(page.encode()) <= limit:
            break
    return page


def with_data(shell: str, content: Mapping[str, Any]) -> str:
    """The shell with the data in its slot. No text in it can end the element: `<` is written as an escape."""
    if SLOT not in shell:
        raise ValueError("the report's page has no slot for data")
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    opening, closing = SLOT.split("><")
    escaped = text.replace("<", "\\u003c")
    return shell.replace(SLOT, f"{opening}>{escaped}<{closing}", 1)


def embedded(
    reported: ReportedRun,
    tables: RunTables,
    registry: Mapping[str, Instrument],
    *,
    most_bars: int = MOST_BARS,
    leave_out: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The object that is embedded, of one run; its columns packed. Of a run without results its answer alone."""
    run = reported.run
    if run is None:
        return {"run": reported.answer, "thinned": None}
    content: dict[str, Any] = {"run": reported.answer}
    if "trades" not in leave_out:
        with tables.table(run.run_id, run.epoch, "trades") as trades:
            content["trades"] = _table(trade_table(trades, TradesAsked()))
    with tables.table(run.run_id, run.epoch, "trades") as trades:
        content["analytics"] = {name: analytics(trades, [name], Zone("UTC", 0)) for name in GROUPINGS}
    for name, make in _CURVES.items():
        content[name] = _table(make(run, tables, CURVE_POINTS))
    candles, content["candles"], content["thinned"] = _candles(run, tables, registry, most_bars, leave_out)
    content["timeframes"] = _coarser(candles, content["candles"]["timeframe"], instrument_of(run, registry))
    if "indicators" not in leave_out:
        asked = CandlesAsked(timeframe=TIMEFRAMES[content["candles"]["timeframe"]])
        content["indicators"] = _indicators(chart_indicators(run, tables, registry, asked))
    return content


_CURVES: Final[Mapping[str, Callable[[CompletedRun, RunTables, int | None], Table]]] = {
    "equity": equity_table,
    "drawdown": drawdown_table,
    "monthly": monthly_table,
}


def _attempts() -> Sequence[tuple[frozenset[str], int]]:
    """What is left out, ever more of it, and how many bars are left."""
    fewer = [MOST_BARS // 2**halvings for halvings in range(6)]
    return [
        (frozenset(), MOST_BARS),
        (frozenset({"indicators"}), MOST_BARS),
        (frozenset({"indicators", "volume"}), MOST_BARS),
        *((frozenset({"indicators", "volume"}), max(_FEWEST_BARS, bars)) for bars in fewer[1:]),
        (frozenset({"indicators", "volume", "trades"}), _FEWEST_BARS),
    ]


def _limit(reported: ReportedRun, tables: RunTables) -> int:
    if reported.run is None:
        return MOST_BYTES
    with tables.table(reported.run.run_id, reported.run.epoch, "equity") as equity:
        bars = equity.select(pl.len()).collect().item()
    return SHORT_RUN_BYTES if bars <= SHORT_RUN_BARS else MOST_BYTES


def _compared(reported: ReportedRun, tables: RunTables) -> dict[str, Any]:
    if reported.run is None:
        return {"run": reported.answer}
    return {"run": reported.answer, "equity": _table(equity_table(reported.run, tables, CURVE_POINTS // 2))}


def _candles(
    run: CompletedRun,
    tables: RunTables,
    registry: Mapping[str, Instrument],
    most_bars: int,
    leave_out: frozenset[str],
) -> tuple[pl.DataFrame, dict[str, Any], str | None]:
    """The candles, what is embedded of them, and the words for their being fewer than there are."""
    with tables.bars(run.bars_place) as bars:
        table = chart_candles(run, bars, registry, CandlesAsked(max_points=most_bars))
        parts = list(table.parts)
    if not parts:
        raise FilesGone(f"a bar of run {run.run_id}")
    frame = pl.concat(parts)
    columns = [name for name in table.columns if name != "complete" and name not in leave_out]
    of = table.said["timeframe"]
    thinned = None if of == run.row["timeframe"] else f"thinned to {of}"
    return frame, {**_table(Table(tuple(columns), iter([frame.select(columns)]), table.said))}, thinned


def _coarser(candles: pl.DataFrame, own: str, instrument: Instrument | None) -> dict[str, Any]:
    """When the candles of each coarser timeframe open."""
    found = {}
    time_us = candles["time"].to_physical().to_numpy()
    for name in COARSER:
        of = TIMEFRAMES[name]
        if of.duration_us <= TIMEFRAMES[own].duration_us or not can_resample(timeframe(own), of):
            continue
        try:
            opens_us = np.unique(candle_opens(time_us, of, anchor_of(instrument, of)))
        except ConsumerError:  # a day that nobody knows the begin of
            continue
        found[name] = packed(pl.Series(opens_us).cast(pl.Datetime("us", "UTC")))
    return found


def _indicators(answer: Mapping[str, Any]) -> dict[str, Any]:
    """To six decimals: they are looked at, and all their digits would be most of the file."""
    drawn = [
        {
            **each,
            "values": packed(each["values"].round(_INDICATOR_DIGITS) if _is_float(each["values"]) else each["values"]),
        }
        for each in answer["indicators"]
    ]
    time = answer["time"]
    return {**answer, "time": packed(time) if isinstance(time, pl.Series) else time, "indicators": drawn}


def _is_float(values: pl.Series) -> bool:
    return values.dtype.is_float()


def _table(table: Table) -> dict[str, Any]:
    parts = list(table.parts)
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=list(table.columns))
    columns = {name: _column(name, frame[name]) for name in table.columns}
    return {**table.said, "columns": list(table.columns), **columns}


def _column(name: str, column: pl.Series) -> Any:
    if name == "pattern_metadata":
        return [None if text is None else json.loads(text) for text in column]
    return packed(column)
