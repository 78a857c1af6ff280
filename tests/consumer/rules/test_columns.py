"""The lists of columns are those of the tables, of what admission is shown and of what the engine computes."""

from dataclasses import fields

from consumer.adapters.postgres.schema.tables import backtest_executions, backtest_runs, backtest_trades, strategies
from consumer.ports import RunRow
from consumer.rules.columns import (
    ALL_RUN_COLUMNS,
    COLUMN_OF_FIELD,
    EXECUTED_COLUMNS,
    EXECUTION_COLUMNS,
    METRIC_COLUMNS,
    REPEATABLE_COLUMNS,
    RUN_COLUMNS,
    STRATEGY_COLUMNS,
    TRADE_COLUMNS,
)
from engine.results.metrics import Metrics
from engine.results.result import TRADE_COLUMNS as COMPUTED_TRADE_COLUMNS
from engine.specification import Specification
from schemas.requested import BacktestRequested

WRITTEN_BY_RUNNING = {"id", "status", "progress_pct", "error_message", "data_file_path", "created_at"}
ONLY_PRINTED = {"net_profit", "final_equity", "null_reasons"}


def test_configuration_and_figures_are_all_of_a_run_but_what_running_it_writes() -> None:
    columns = [each.name for each in backtest_runs.columns if each.name not in WRITTEN_BY_RUNNING]
    assert sorted(columns) == sorted(RUN_COLUMNS + METRIC_COLUMNS)


def test_admission_is_shown_the_whole_configuration() -> None:
    assert [each.name for each in fields(RunRow)] == ["id", *RUN_COLUMNS, "status", "has_execution"]


def test_a_request_can_repeat_each_repeatable_column() -> None:
    assert set(REPEATABLE_COLUMNS) <= set(BacktestRequested.model_fields)


def test_what_is_executed_stands_in_the_specification_and_in_the_row() -> None:
    assert set(COLUMN_OF_FIELD) <= {each.name for each in fields(Specification)}
    assert set(EXECUTED_COLUMNS) == set(RUN_COLUMNS) - {"primary_tf"}


def test_every_computed_figure_but_the_printed_ones_has_its_column() -> None:
    assert [each.name for each in fields(Metrics) if each.name not in ONLY_PRINTED] == list(METRIC_COLUMNS)


def test_trades_are_copied_in_the_order_in_which_the_engine_gives_them() -> None:
    assert tuple(each.name for each in backtest_trades.columns if each.name != "id") == TRADE_COLUMNS
    assert ("run_id", *COMPUTED_TRADE_COLUMNS) == TRADE_COLUMNS


def test_what_is_read_of_runs_and_strategies_is_all_that_this_release_knows() -> None:
    assert sorted(ALL_RUN_COLUMNS) == sorted(each.name for each in backtest_runs.columns)
    assert tuple(each.name for each in strategies.columns) == STRATEGY_COLUMNS
    assert set(EXECUTION_COLUMNS) <= {each.name for each in backtest_executions.columns}
