"""The shared tables are those that other services rely on, to the letter."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, Connection, Table, event, func, inspect, select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault

from consumer.adapters.postgres.schema.base import metadata
from consumer.adapters.postgres.schema.migrating import migrate
from consumer.adapters.postgres.schema.search_tables import optimization_runs
from consumer.adapters.postgres.schema.tables import (
    OPERATIONAL_TABLES,
    SHARED_TABLES,
    BacktestRun,
    BacktestTrade,
    Strategy,
    backtest_runs,
    backtest_trades,
    strategies,
)

# Copied from the contract's tables: names, type, null, default.
STRATEGIES = """
id | Integer PK | no | auto
name | String(255) | no |
description | Text | yes |
execution_mode | String(30) | no | rule_only
strategy_key | String(100) | yes |
strategy_params | Text | no | {}
primary_tf | String(10) | no | M15
context_tfs | Text | no | []
symbols | Text | no | []
lot_size | Float | yes |
risk_pct | Float | yes |
sl_pips, tp_pips | Float | yes |
on_opposite | String(10) | no | reverse
stop_to_entry | Boolean | no | true
custom_prompt | Text | yes |
skip_hours, skip_weekdays | Text | yes |
skip_hours_timezone | String(60) | yes |
is_active | Boolean | no | true
created_at | DateTime(timezone=True) | no | now(UTC)
"""
BACKTEST_RUNS = """
id | Integer PK | no | auto
strategy_id | Integer | no |
symbol | String(20) | no |
timeframe | String(10) | no |
start_date, end_date | DateTime(timezone=True) | no |
initial_balance | Float | no | 10000.0
spread_pips | Float | no | 1.5
execution_mode | String(20) | no | close_price
primary_tf | String(10) | no | M15
context_tfs | Text | no | []
max_llm_calls | Integer | no | 100
status | String(20) | no | pending
progress_pct | Integer | no | 0
error_message | Text | yes |
total_trades | Integer | yes |
win_rate | Float | yes |
profit_factor | Float | yes |
expectancy | Float | yes |
max_drawdown_pct | Float | yes |
recovery_factor | Float | yes |
sharpe_ratio, sortino_ratio | Float | yes |
total_return_pct | Float | yes |
avg_win, avg_loss | Float | yes |
max_consec_wins, max_consec_losses | Integer | yes |
avg_spread | Float | yes |
commission_per_lot | Float | no | 0.0
tp_partial_close_ratio | Float | no | 0.5
data_file_path | Text | yes |
created_at | DateTime(timezone=True) | no | now(UTC)
"""
BACKTEST_TRADES = """
id | Integer PK | no | auto
run_id | Integer | no |
position_id | Integer | no |
symbol | String(20) | no |
direction | String(4) | no |
entry_time, exit_time | DateTime(timezone=True) | no |
entry_price, exit_price, volume, profit, commission, spread_cost, swap, equity_after | Float | no |
stop_loss, take_profit | Float | yes |
exit_reason | String(20) | no |
pattern_name | String(50) | yes |
pattern_metadata | Text | yes |
source | String(20) | yes |
"""
OPTIMIZATION_RUNS = """
id | Integer PK | no | auto
strategy_id | Integer | no |
symbol | String(20) | no |
timeframe | String(10) | no |
start_date, end_date | DateTime(timezone=True) | no |
initial_balance | Float | no | 10000.0
spread_pips | Float | no | 1.5
execution_mode | String(20) | no | close_price
commission_per_lot | Float | no | 0.0
tp_partial_close_ratio | Float | no | 0.5
context_tfs | Text | no | []
volume, risk_pct | Float | yes |
method | String(20) | no | grid
param_grid | Text | no |
samples | Integer | yes |
seed | Integer | no | 0
optimize_metric | String(40) | no | sharpe_ratio
min_trades | Integer | no | 30
max_workers | Integer | yes |
walk_forward | Text | yes |
status | String(20) | no | pending
progress_pct | Integer | no | 0
error_message | Text | yes |
total_combinations, completed_combinations, failed_combinations | Integer | no | 0
best_params | Text | yes |
best_value | Float | yes |
best_run_id | Integer | yes |
robust_params | Text | yes |
results | Text | yes |
results_file_path | Text | yes |
statistics | Text | yes |
created_at | DateTime(timezone=True) | no | now(UTC)
started_at, completed_at | DateTime(timezone=True) | yes |
"""
AMOUNTS = ("entry_price", "exit_price", "volume", "profit", "commission", "spread_cost", "swap", "equity_after")
SQL_TYPES = {"Float": "FLOAT", "DateTime(timezone=True)": "TIMESTAMP WITH TIME ZONE", "Integer PK": "SERIAL"}


@pytest.mark.parametrize(
    ("table", "contract"),
    [
        (strategies, STRATEGIES),
        (backtest_runs, BACKTEST_RUNS),
        (backtest_trades, BACKTEST_TRADES),
        (optimization_runs, OPTIMIZATION_RUNS),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "",
)
def test_columns_are_the_contracts_in_its_order(table: Table, contract: str) -> None:
    expected = [
        (name.strip(), kind, null == "yes", default)
        for names, kind, null, default in (
            [cell.strip() for cell in row.split("|")] for row in contract.strip().split("\n")
        )
        for name in names.split(",")
    ]

    assert [column.name for column in table.columns] == [name for name, *_ in expected]
    for column, (name, kind, is_nullable, default) in zip(table.columns, expected, strict=True):
        assert column.nullable is is_nullable, name
        assert column.primary_key is kind.endswith("PK"), name
        assert definition(column) == expected_definition(name, kind, is_nullable, default)
        assert python_default(column) == default, name


def expected_definition(name: str, kind: str, is_nullable: bool, default: str) -> str:
    sql_type = SQL_TYPES.get(kind, kind.replace("String", "VARCHAR").upper())
    clause = {"": "", "auto": "", "now(UTC)": " DEFAULT now()", "true": " DEFAULT true"}.get(default)
    if clause is None:
        is_number = kind in {"Float", "Integer"}
        clause = f" DEFAULT {default}" if is_number else f" DEFAULT '{default}'"
    return f"{name} {sql_type}{clause}{'' if is_nullable else ' NOT NULL'}"


def definition(column: Column[object]) -> str:
    dialect = PGDialect()  # type: ignore[no-untyped-call] # its constructor is not annotated
    return str(CreateColumn(column).compile(dialect=dialect))


def python_default(column: Column[object]) -> str:
    """Name what the model fills in, in the contract's words."""
    if column.primary_key:
        return "auto"
    match column.default:
        case None:
            return ""
        case ScalarElementColumnDefault(arg=True):
            return "true"
        case ScalarElementColumnDefault(arg=value):
            return str(value)
        case CallableColumnDefault(arg=function):
            made = function(DefaultExecutionContext())
            assert isinstance(made, datetime)
            assert made.tzinfo is UTC
            return "now(UTC)"
        case other:
            raise AssertionError(f"unexpected kind of default: {other!r}")


def test_keys_and_indexes_of_searches_are_the_contracts_four() -> None:
    assert optimization_runs.primary_key.name == "pk_optimization_runs"
    assert {key.name for key in optimization_runs.foreign_key_constraints} == {"fk_optimization_strategy"}
    assert {(index.name, *index.columns.keys()) for index in optimization_runs.indexes} == {
        ("idx_optimization_strategy", "strategy_id"),
        ("idx_optimization_created", "created_at"),
    }


def test_keys_and_indexes_of_runs_carry_the_contracts_names() -> None:
    assert backtest_runs.primary_key.name == "pk_backtest_runs"
    assert {(index.name, *index.columns.keys()) for index in backtest_runs.indexes} == {
        ("idx_backtest_strategy", "strategy_id"),
        ("idx_backtest_symbol", "symbol"),
        ("idx_backtest_created", "created_at"),
    }
    (key,) = backtest_runs.foreign_key_constraints
    assert (key.name, key.column_keys, key.referred_table, key.ondelete) == (
        "fk_backtest_strategy",
        ["strategy_id"],
        strategies,
        "CASCADE",
    )


def test_trades_belong_to_their_run() -> None:
    (key,) = backtest_trades.foreign_key_constraints
    assert (key.column_keys, key.referred_table, key.ondelete) == (["run_id"], backtest_runs, "CASCADE")
    assert [index.columns.keys() for index in backtest_trades.indexes] == [["run_id"]]

    trades = inspect(BacktestRun).relationships["trades"]
    assert trades.mapper.class_ is BacktestTrade
    assert set(trades.cascade) == {"save-update", "merge", "refresh-expire", "expunge", "delete", "delete-orphan"}


def test_no_operational_table_refers_to_another_table() -> None:
    assert all(not table.foreign_keys for table in OPERATIONAL_TABLES)
    assert set(metadata.tables.values()) == {*SHARED_TABLES, *OPERATIONAL_TABLES}


@pytest.mark.integration
async def test_defaults_of_a_new_run_are_filled_in_and_its_trades_go_with_it_unread(database_url: str) -> None:
    await migrate(database_url)
    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        async with AsyncSession(engine) as session:
            session.add(Strategy(name="mine"))
            await session.flush()
            session.add(new_run())
            await session.commit()
        async with AsyncSession(engine) as session:
            run = (await session.scalars(select(BacktestRun))).one()
            assert (run.status, run.progress_pct, run.tp_partial_close_ratio, run.win_rate) == ("pending", 0, 0.5, None)
            assert run.created_at.tzinfo is not None

            statements: list[str] = []
            event.listen(engine.sync_engine, "before_cursor_execute", record_into(statements))
            await session.delete(run)
            await session.commit()

            assert [sql for sql in statements if "backtest_trades" in sql] == []
            assert await session.scalar(select(func.count()).select_from(backtest_trades)) == 0
    finally:
        await engine.dispose()


@pytest.mark.integration
async def test_a_trade_taken_from_its_run_is_deleted(database_url: str) -> None:
    await migrate(database_url)
    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        async with AsyncSession(engine) as session:
            session.add(Strategy(name="mine"))
            await session.flush()
            session.add(new_run())
            await session.commit()
            run = (await session.scalars(select(BacktestRun).options(selectinload(BacktestRun.trades)))).one()
            del run.trades[0]
            await session.commit()
            assert (await session.scalars(select(BacktestTrade.position_id))).all() == [2]
    finally:
        await engine.dispose()


def new_run() -> BacktestRun:
    """Make a run with two trades, of the strategy with id 1."""
    day = datetime(2024, 1, 1, tzinfo=UTC)
    trades = [
        BacktestTrade(
            position_id=position,
            symbol="EURUSD",
            direction="BUY",
            entry_time=day,
            exit_time=day,
            exit_reason="signal",
            **dict.fromkeys(AMOUNTS, 1.0),
        )
        for position in (1, 2)
    ]
    return BacktestRun(strategy_id=1, symbol="EURUSD", timeframe="H1", start_date=day, end_date=day, trades=trades)


def record_into(statements: list[str]) -> Callable[..., None]:
    def record(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    return record
