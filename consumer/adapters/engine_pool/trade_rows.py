"""A run's trades as rows for COPY into backtest_trades, made in the child: the worker passes them on as they are."""

import polars as pl

from engine.errors import StrategyError
from engine.numeric.csv_rows import csv_rows
from engine.results.result import BacktestResult


def trades_csv(run_id: int, result: BacktestResult) -> bytes:
    """Rows for COPY into backtest_trades: run_id, then the columns from position_id on; floats as their shortest text
    that reads back as the same double, an empty field is NULL, an empty text is quoted. Raises StrategyError."""
    run_ids = pl.Series("run_id", [run_id], dtype=pl.Int64).new_from_index(0, result.trades.height)
    rows = pl.DataFrame([run_ids, *result.trades.get_columns()])
    content = csv_rows(rows, "sql")
    if b"\0" in content:
        # Postgres takes no NUL in text: the run would never get its terminal row.
        raise StrategyError("a decision's pattern_name or pattern_metadata holds a NUL character")
    return content
