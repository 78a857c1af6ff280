"""The columns of the shared tables that this program writes, reads back and compares, each list once.

Names only: whoever needs them loads neither an adapter nor the engine. Tests hold them to the tables and to what the
engine computes.
"""

from collections.abc import Mapping
from typing import Final

RUN_COLUMNS: Final = (
    "strategy_id", "symbol", "timeframe", "start_date", "end_date", "initial_balance", "spread_pips", "execution_mode",
    "primary_tf", "context_tfs", "max_llm_calls", "commission_per_lot", "tp_partial_close_ratio",
)  # fmt: skip
"""Of backtest_runs: the configuration, which whoever makes the row gives; in the order in which rows are inserted."""

REPEATABLE_COLUMNS: Final = tuple(name for name in RUN_COLUMNS if name not in {"primary_tf", "context_tfs"})
"""Of those, what a request says in the same words. (Its context_tfs is a list, and primary_tf says nothing itself.)"""

COLUMN_OF_FIELD: Final[Mapping[str, str]] = {
    "symbol": "symbol",
    "timeframe": "timeframe",
    "start": "start_date",
    "end": "end_date",
    "initial_balance": "initial_balance",
    "spread_pips": "spread_pips",
    "execution_mode": "execution_mode",
    "commission_per_lot": "commission_per_lot",
    "tp_partial_close_ratio": "tp_partial_close_ratio",
    "context_timeframes": "context_tfs",
}
"""Field of the admitted specification -> column of backtest_runs."""

EXECUTED_COLUMNS: Final = ("strategy_id", *COLUMN_OF_FIELD.values(), "max_llm_calls")
"""Of backtest_runs: what a run executes, and its row must still say when it ends. (max_llm_calls, where it asks.)"""

METRIC_COLUMNS: Final = (
    "total_trades", "win_rate", "profit_factor", "expectancy", "max_drawdown_pct", "recovery_factor", "sharpe_ratio",
    "sortino_ratio", "total_return_pct", "avg_win", "avg_loss", "max_consec_wins", "max_consec_losses", "avg_spread",
)  # fmt: skip
"""Of backtest_runs: the figures of a completed run, null until then."""

ALL_RUN_COLUMNS: Final = (
    "id", *RUN_COLUMNS, "status", "progress_pct", "error_message", *METRIC_COLUMNS, "data_file_path", "created_at",
)  # fmt: skip
"""Of backtest_runs, which may have columns of other services beside them."""

SEARCH_COLUMNS: Final = (
    "strategy_id", "symbol", "timeframe", "start_date", "end_date", "initial_balance", "spread_pips", "execution_mode",
    "commission_per_lot", "tp_partial_close_ratio", "context_tfs", "volume", "risk_pct", "method", "param_grid",
    "samples", "seed", "optimize_metric", "min_trades", "max_workers", "walk_forward",
)  # fmt: skip
"""Of optimization_runs: the configuration, which whoever makes the row gives."""

SEARCH_JSON_COLUMNS: Final = frozenset(
    {"context_tfs", "param_grid", "walk_forward", "best_params", "robust_params", "results", "statistics"}
)

LONG_SEARCH_COLUMNS: Final = frozenset({"param_grid", "results", "statistics"})
"""Left out of lists."""

ALL_SEARCH_COLUMNS: Final = (
    "id", *SEARCH_COLUMNS, "status", "progress_pct", "error_message", "total_combinations", "completed_combinations",
    "failed_combinations", "best_params", "best_value", "best_run_id", "robust_params", "results", "results_file_path",
    "statistics", "created_at", "started_at", "completed_at",
)  # fmt: skip
"""Of optimization_runs, which may have columns of other services beside them."""

SORT_COLUMNS: Final = ("created_at", *METRIC_COLUMNS)
"""Of those, what a list of runs can be in order of."""

EXECUTION_COLUMNS: Final = (
    "request_id", "epoch", "attempts", "queued_at", "started_at", "finished_at", "result_digest", "engine_version",
    "strategy_version",
)  # fmt: skip
"""Of backtest_executions: what is shown beside a run's row."""

STRATEGY_COLUMNS: Final = (
    "id", "name", "description", "execution_mode", "strategy_key", "strategy_params", "primary_tf", "context_tfs",
    "symbols", "lot_size", "risk_pct", "sl_pips", "tp_pips", "on_opposite", "stop_to_entry", "custom_prompt",
    "skip_hours", "skip_weekdays", "skip_hours_timezone", "is_active", "created_at",
)  # fmt: skip
"""Of strategies, which may have columns of other services beside them."""

TRADE_COLUMNS: Final = (
    "run_id", "position_id", "symbol", "direction", "entry_time", "exit_time", "entry_price", "exit_price", "volume",
    "profit", "commission", "spread_cost", "swap", "equity_after", "stop_loss", "take_profit", "exit_reason",
    "pattern_name", "pattern_metadata", "source",
)  # fmt: skip
"""Of backtest_trades: all but id, in the order of the rows that an engine child renders for COPY."""

LLM_CALL_COLUMNS: Final = (
    "run_id", "number", "epoch", "bar_time", "role", "key", "model", "state", "answer", "error", "input_tokens",
    "output_tokens", "cost", "latency_ms", "asked_at", "settled_at",
)  # fmt: skip
"""Of backtest_llm_calls."""
