"""A run's chart: its candles and what is drawn beside them, with the instrument that it traded."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from consumer.ports.run_tables import BarsFile, RunTables
from consumer.preparation.snapshot import recorded_instruments
from consumer.reports.chart_candles import CandlesAsked, candle_table
from consumer.reports.chart_indicators import indicators
from consumer.reports.completed import CompletedRun
from consumer.reports.tables import Table
from engine.market.instruments import Instrument, symbol_in
from engine.market.timeframes import timeframe


def chart_candles(run: CompletedRun, bars: BarsFile, registry: Mapping[str, Instrument], asked: CandlesAsked) -> Table:
    """Candles of the run's bars. Raises ChartRefused."""
    return candle_table(bars, timeframe(run.row["timeframe"]), instrument_of(run, registry), asked)


def chart_indicators(
    run: CompletedRun, tables: RunTables, registry: Mapping[str, Instrument], asked: CandlesAsked
) -> dict[str, Any]:
    """What is drawn. Raises ChartRefused, FilesGone, ArtifactsUnavailable."""
    own, instrument = timeframe(run.row["timeframe"]), instrument_of(run, registry)
    if not tables.has_table(run.run_id, run.epoch, "indicators"):
        with tables.table(run.run_id, run.epoch, "equity"):  # gone with all the rest, or never there
            return indicators(None, pl.Series(dtype=pl.Float64), own, instrument, asked)
    with tables.table(run.run_id, run.epoch, "indicators") as table:
        drawn = table.collect()
    with tables.bars(run.bars_place) as bars:
        closes = pl.concat([part["close"] for part in bars.parts(columns=("close",))])
    return indicators(drawn, closes, own, instrument, asked)


def instrument_of(run: CompletedRun, registry: Mapping[str, Instrument]) -> Instrument | None:
    """What the run traded; None where that is not known any more."""
    instruments = {**registry, **recorded_instruments(run.specification)}
    known = symbol_in(instruments, run.row["symbol"])
    return None if known is None else instruments[known]
