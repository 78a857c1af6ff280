"""Make the shared tables that do not exist yet, and remember which ones those were.

Whether those that do exist fit is checked by `consumer.adapters.postgres.schema.migrating` before and after, not here.
"""

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DEPENDENT_OBJECTS_STILL_EXIST: Final = "2BP01"


def upgrade() -> None:
    """Create what is missing; leave what another service made as it is."""
    memory = op.create_table(
        "backtest_created_tables",
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("table_name", name="pk_backtest_created_tables"),
    )
    for table_name, create in CREATORS.items():
        if not sa.inspect(op.get_bind()).has_table(table_name):
            create()
            op.execute(memory.insert().values(table_name=table_name))


def downgrade() -> None:
    """Drop the shared tables that this program made and that nobody has put anything in; every other one stays.

    A shared table with rows in it may be all that is left of people's work, an empty one may be another service's,
    and one that other tables or views lean on is in use: none is ours to drop. The next upgrade finds what stayed,
    checks it and goes on with it.
    """
    connection = op.get_bind()
    memory = sa.table("backtest_created_tables", sa.column("table_name", sa.String))
    created = set(connection.scalars(sa.select(memory.c.table_name)))
    for table_name in reversed(CREATORS):
        if table_name in created and sa.inspect(connection).has_table(table_name):
            drop_unless_used(connection, table_name)
    op.drop_table("backtest_created_tables")


def drop_unless_used(connection: sa.Connection, table_name: str) -> None:
    # Nobody may add a row between the look and the drop.
    connection.execute(sa.text(f"LOCK TABLE {table_name} IN ACCESS EXCLUSIVE MODE"))
    if connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(sa.table(table_name))))):
        return
    try:
        with connection.begin_nested():
            op.drop_table(table_name)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != DEPENDENT_OBJECTS_STILL_EXIST:
            raise


def create_strategies() -> None:
    op.create_table(
        "strategies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("execution_mode", sa.String(30), nullable=False, server_default="rule_only"),
        sa.Column("strategy_key", sa.String(100)),
        sa.Column("strategy_params", sa.Text, nullable=False, server_default="{}"),
        sa.Column("primary_tf", sa.String(10), nullable=False, server_default="M15"),
        sa.Column("context_tfs", sa.Text, nullable=False, server_default="[]"),
        sa.Column("symbols", sa.Text, nullable=False, server_default="[]"),
        sa.Column("lot_size", sa.Float),
        sa.Column("risk_pct", sa.Float),
        sa.Column("sl_pips", sa.Float),
        sa.Column("tp_pips", sa.Float),
        sa.Column("on_opposite", sa.String(10), nullable=False, server_default="reverse"),
        sa.Column("stop_to_entry", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("custom_prompt", sa.Text),
        sa.Column("skip_hours", sa.Text),
        sa.Column("skip_weekdays", sa.Text),
        sa.Column("skip_hours_timezone", sa.String(60)),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="pk_strategies"),
        sa.UniqueConstraint("name", name="uq_strategies_name"),
    )


def create_backtest_runs() -> None:
    op.create_table(
        "backtest_runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("strategy_id", sa.Integer, nullable=False),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("timeframe", sa.String(10), nullable=False),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("initial_balance", sa.Float, nullable=False, server_default=sa.text("10000.0")),
        sa.Column("spread_pips", sa.Float, nullable=False, server_default=sa.text("1.5")),
        sa.Column("execution_mode", sa.String(20), nullable=False, server_default="close_price"),
        sa.Column("primary_tf", sa.String(10), nullable=False, server_default="M15"),
        sa.Column("context_tfs", sa.Text, nullable=False, server_default="[]"),
        sa.Column("max_llm_calls", sa.Integer, nullable=False, server_default=sa.text("100")),
        sa.Column("status", sa.String(20), nullable=False, server_default="pending"),
        sa.Column("progress_pct", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("error_message", sa.Text),
        sa.Column("total_trades", sa.Integer),
        sa.Column("win_rate", sa.Float),
        sa.Column("profit_factor", sa.Float),
        sa.Column("expectancy", sa.Float),
        sa.Column("max_drawdown_pct", sa.Float),
        sa.Column("recovery_factor", sa.Float),
        sa.Column("sharpe_ratio", sa.Float),
        sa.Column("sortino_ratio", sa.Float),
        sa.Column("total_return_pct", sa.Float),
        sa.Column("avg_win", sa.Float),
        sa.Column("avg_loss", sa.Float),
        sa.Column("max_consec_wins", sa.Integer),
        sa.Column("max_consec_losses", sa.Integer),
        sa.Column("avg_spread", sa.Float),
        sa.Column("commission_per_lot", sa.Float, nullable=False, server_default=sa.text("0.0")),
        sa.Column("tp_partial_close_ratio", sa.Float, nullable=False, server_default=sa.text("0.5")),
        sa.Column("data_file_path", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_runs"),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name="fk_backtest_strategy", ondelete="CASCADE"),
    )
    op.create_index("idx_backtest_strategy", "backtest_runs", ["strategy_id"])
    op.create_index("idx_backtest_symbol", "backtest_runs", ["symbol"])
    op.create_index("idx_backtest_created", "backtest_runs", ["created_at"])


def create_backtest_trades() -> None:
    op.create_table(
        "backtest_trades",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("position_id", sa.Integer, nullable=False),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("entry_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exit_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_price", sa.Float, nullable=False),
        sa.Column("exit_price", sa.Float, nullable=False),
        sa.Column("volume", sa.Float, nullable=False),
        sa.Column("profit", sa.Float, nullable=False),
        sa.Column("commission", sa.Float, nullable=False),
        sa.Column("spread_cost", sa.Float, nullable=False),
        sa.Column("swap", sa.Float, nullable=False),
        sa.Column("equity_after", sa.Float, nullable=False),
        sa.Column("stop_loss", sa.Float),
        sa.Column("take_profit", sa.Float),
        sa.Column("exit_reason", sa.String(20), nullable=False),
        sa.Column("pattern_name", sa.String(50)),
        sa.Column("pattern_metadata", sa.Text),
        sa.Column("source", sa.String(20)),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_trades"),
        sa.ForeignKeyConstraint(["run_id"], ["backtest_runs.id"], name="fk_backtest_trades_run", ondelete="CASCADE"),
    )
    op.create_index("idx_backtest_trades_run", "backtest_trades", ["run_id"])


CREATORS: Final[dict[str, Callable[[], None]]] = {
    "strategies": create_strategies,
    "backtest_runs": create_backtest_runs,
    "backtest_trades": create_backtest_trades,
}
