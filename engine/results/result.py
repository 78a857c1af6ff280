"""What a run yields: the figures, the trades and the equity, in the columns and the order of the contract."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from engine.deciders.decisions import Patterns
from engine.kernel.layout import PLACES, REASONS, ROW
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.passport import Passport, data_passport
from engine.market.sessions import SessionDays
from engine.numeric.columns import MOMENTS, Coded, Column, Columns, coded, frame_of, repeated
from engine.results.booked import booked_items, exit_commissions
from engine.results.digest import result_digest, values_by_field
from engine.results.metrics import Metrics
from engine.results.metrics_extended import ExtendedMetrics, RunFigures, compute_extended_metrics
from engine.results.trail import Trail
from engine.specification import Specification

TRADE_COLUMNS = (
    "position_id",
    "symbol",
    "direction",
    "entry_time",
    "exit_time",
    "entry_price",
    "exit_price",
    "volume",
    "profit",
    "commission",
    "spread_cost",
    "swap",
    "equity_after",
    "stop_loss",
    "take_profit",
    "exit_reason",
    "pattern_name",
    "pattern_metadata",
    "source",
)
"""The columns of `backtest_trades` without id and run_id, in its order."""
PLACE_COLUMNS = ("entry_at", "exit_at", "stop_at_entry")
"""What files of trades tell beside: what of its bar each fill was at, and the stop that the position began with."""
_DIRECTIONS = ("SELL", "", "BUY")


@dataclass(frozen=True, eq=False, kw_only=True)
class BacktestResult:
    """One finished run. Frames are made when first asked for; figures are there at once."""

    specification: Specification
    instrument: Instrument
    source: str
    """Who decided: rule or signals."""
    metrics: Metrics
    """The columns of `backtest_runs` and more (engine.results.metrics)."""
    ambiguous_bars: int
    total_slippage_cost: float
    """Account currency, positive; it is inside the prices."""
    net_profit_target_first: float
    run_warnings: tuple[str, ...]
    """What the simulation has to say; `warnings` adds what the data have."""
    bars: Bars
    """Those the run used, warm-up included."""
    first_row: int
    """Of `bars`: the run's first bar."""
    days: SessionDays
    """Trading days of the simulated bars."""
    trail: Trail
    patterns: Patterns | None
    strategy_version: str | None
    """Of the code that decided; None for signals, and where nobody knows."""
    digest_inputs: Callable[[], tuple[bytes, ...]]
    """Lays out what went in (`digest.input_parts`), when the digest is asked for."""

    @property
    def net_profit(self) -> float:
        return self.metrics.net_profit

    @property
    def net_profit_stop_first(self) -> float:
        return self.metrics.net_profit

    @property
    def final_equity(self) -> float:
        return self.metrics.final_equity

    @property
    def null_reasons(self) -> Mapping[str, str]:
        """Why a metric is None, by its name."""
        return self.metrics.null_reasons

    @cached_property
    def result_digest(self) -> str:
        """SHA-256 in hex over everything that went in and every fill that came out."""
        return result_digest(self.digest_inputs(), self.trail)

    @cached_property
    def extended(self) -> ExtendedMetrics:
        """Figures beyond the table's columns (engine.results.metrics_extended)."""
        return compute_extended_metrics(self._figures())

    @cached_property
    def passport(self) -> Passport:
        """What the run's bars are like, warm-up included."""
        return data_passport(self.bars, self.instrument.session)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        return (*self.run_warnings, *self.passport.warnings)

    @cached_property
    def trades(self) -> pl.DataFrame:
        """One row an exit, columns TRADE_COLUMNS; times Datetime us UTC, absent levels null."""
        return frame_of({name: self.filed_trade_columns[name] for name in TRADE_COLUMNS})

    @cached_property
    def filed_trades(self) -> pl.DataFrame:
        """The trades as files have them: TRADE_COLUMNS, then PLACE_COLUMNS, of which two are open, close or level."""
        return frame_of(self.filed_trade_columns)

    @cached_property
    def filed_trade_columns(self) -> Columns:
        trail, patterns = self.trail, self.patterns
        rows = trail.rows.size
        column = dict(zip(ROW.names or (), trail.columns(), strict=True))
        columns: dict[str, Column] = {
            **{name: values for name, values in column.items() if name in TRADE_COLUMNS},
            "symbol": repeated(self.specification.symbol, rows),
            "direction": Coded(_DIRECTIONS, column["direction"] + 1),
            "entry_time": trail.time_us[column["entry_bar"]].view(MOMENTS),
            "exit_time": trail.time_us[column["exit_bar"]].view(MOMENTS),
            "exit_reason": Coded(REASONS, column["exit_reason"]),
            "pattern_name": coded(patterns.name if patterns else None, rows),
            "pattern_metadata": coded(patterns.metadata if patterns else None, rows),
            "source": repeated(self.source, rows),
            "entry_at": Coded(PLACES, column["entry_at"]),
            "exit_at": Coded(PLACES, column["exit_at"]),
            "stop_at_entry": column["stop_at_entry"],
        }
        return {name: columns[name] for name in (*TRADE_COLUMNS, *PLACE_COLUMNS)}

    @cached_property
    def equity(self) -> pl.DataFrame:
        """One row a simulated bar: time (the bar's open), balance and equity after all that happened at its close."""
        return frame_of(self.equity_columns)

    @property
    def equity_columns(self) -> Columns:
        trail = self.trail
        bars = trail.equity.size
        standing = np.diff(trail.balances["bar"], append=bars)
        return {
            "time": trail.time_us[:bars].view(MOMENTS),
            "balance": np.repeat(trail.balances["balance"], standing),
            "equity": trail.equity,
        }

    @cached_property
    def booked(self) -> pl.DataFrame:
        """One row a booked item, columns BOOKED_COLUMNS: what the balance is made of (engine.results.booked)."""
        trail, specification = self.trail, self.specification
        commissions = exit_commissions(trail.rows, specification, self.instrument)
        return booked_items(trail.rows, trail.time_us, specification.initial_balance, commissions)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the object of `backtest run --json`: JSON types only, no NaN, no infinity."""
        figures, further = values_by_field(self.metrics), values_by_field(self.extended)
        null_reasons = {**figures.pop("null_reasons"), **further.pop("null_reasons")}
        return {
            **figures,
            **further,
            "ambiguous_bars": self.ambiguous_bars,
            "net_profit_stop_first": self.net_profit_stop_first,
            "net_profit_target_first": self.net_profit_target_first,
            "result_digest": self.result_digest,
            "strategy_version": self.strategy_version,
            "null_reasons": null_reasons,
            "warnings": list(self.warnings),
            "data_passport": {**values_by_field(self.passport), "warnings": list(self.passport.warnings)},
        }

    def _figures(self) -> RunFigures:
        trail = self.trail
        bars_done = trail.equity.size
        return RunFigures(
            profits=trail.column("profit"),
            spread_costs=trail.column("spread_cost"),
            commissions=trail.column("commission"),
            swaps=trail.column("swap"),
            slippage_cost=self.total_slippage_cost,
            pip_values=self.instrument.pip * self.instrument.contract * trail.column("volume") * trail.column("rate"),
            equity=trail.equity,
            time_us=trail.time_us[:bars_done],
            duration_us=self.bars.timeframe.duration_us,
            deposit=self.specification.initial_balance,
            session=self.instrument.session,
            days=self.days,
            first_open=float(self.bars.open[self.first_row]),
            last_close=float(self.bars.close[self.first_row + bars_done - 1]),
            bars_in_position=trail.bars_in_position,
            max_drawdown_pct=self.metrics.max_drawdown_pct,
        )
