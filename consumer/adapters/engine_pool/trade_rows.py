"""A run's trades as rows for COPY into backtest_trades, made in the child: the worker passes them on as they are."""

import numpy as np

from engine.errors import StrategyError
from engine.numeric.columns import height_of
from engine.numeric.csv_rows import csv_rows
from engine.results.result import TRADE_COLUMNS, BacktestResult


def trades_csv(run_id: int, result: BacktestResult) -> bytes:
    """Rows for COPY into backtest_trades: run_id, then the columns from position_id on; floats as their shortest text
    that reads back as the same double, an empty field is NULL, an empty text is quoted. Raises StrategyError."""
    columns = result.filed_trade_columns
    run_ids = np.full(height_of(columns), run_id)
    content = csv_rows({"run_id": run_ids, **{name: columns[name] for name in TRADE_COLUMNS}}, "sql")
    if b"\0" in content:
        # Postgres takes no NUL in text: the run would never get its terminal row.
        raise StrategyError("a decision's pattern_name or pattern_metadata holds a NUL character")
    return content
