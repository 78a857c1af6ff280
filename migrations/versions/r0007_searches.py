"""Make the tables of searches, and let requests, cancels and events be a search's."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SHARED: Final = "optimization_runs"
DEPENDENT_OBJECTS_STILL_EXIST: Final = "2BP01"
CANCELS, TARGET = "backtest_cancels", "ck_backtest_cancels_target"
OUTBOX, KIND = "backtest_outbox", "ck_backtest_outbox_kind"
KINDS: Final = "'started', 'progress', 'terminal', 'rejected', 'dead_letter'"


def upgrade() -> None:
    """Create what is missing; a shared table that another service made stays as it is, and is checked elsewhere."""
    if not sa.inspect(op.get_bind()).has_table(SHARED):
        create_optimization_runs()
        memory = sa.table("backtest_created_tables", sa.column("table_name", sa.String))
        op.execute(memory.insert().values(table_name=SHARED))
    create_backtest_searches()
    create_backtest_search_shards()
    op.add_column("backtest_requests", sa.Column("is_search", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("backtest_requests", sa.Column("optimization_id", sa.Integer))
    op.add_column(CANCELS, sa.Column("optimization_id", sa.Integer))
    op.drop_constraint(TARGET, CANCELS)
    op.create_check_constraint(TARGET, CANCELS, "num_nonnulls(run_id, request_id, optimization_id) = 1")
    op.create_index(
        "uq_backtest_cancels_search",
        CANCELS,
        ["optimization_id"],
        unique=True,
        postgresql_where=sa.text("optimization_id IS NOT NULL"),
    )
    op.drop_constraint(KIND, OUTBOX)
    op.create_check_constraint(KIND, OUTBOX, f"kind IN ({KINDS}, 'search_rejected')")


def downgrade() -> None:
    """Forget searches: their requests, cancels and unsent events too, of which an older release could make nothing."""
    op.execute("DELETE FROM backtest_outbox WHERE kind = 'search_rejected' OR run_id < 0")
    op.drop_constraint(KIND, OUTBOX)
    op.create_check_constraint(KIND, OUTBOX, f"kind IN ({KINDS})")
    op.execute("DELETE FROM backtest_cancels WHERE optimization_id IS NOT NULL")
    op.drop_index("uq_backtest_cancels_search", CANCELS)
    op.drop_constraint(TARGET, CANCELS)
    op.drop_column(CANCELS, "optimization_id")
    op.create_check_constraint(TARGET, CANCELS, "num_nonnulls(run_id, request_id) = 1")
    op.execute("DELETE FROM backtest_requests WHERE is_search")
    op.drop_column("backtest_requests", "optimization_id")
    op.drop_column("backtest_requests", "is_search")
    op.drop_table("backtest_search_shards")
    op.drop_table("backtest_searches")
    drop_shared_table()


def drop_shared_table() -> None:
    """Drop it where this program made it and nobody has put anything in."""
    connection = op.get_bind()
    memory = sa.table("backtest_created_tables", sa.column("table_name", sa.String))
    made_here = connection.scalar(sa.select(sa.exists(sa.select(memory).where(memory.c.table_name == SHARED))))
    if not (made_here and sa.inspect(connection).has_table(SHARED)):
        return
    # Nobody may add a row between the look and the drop.
    connection.execute(sa.text(f"LOCK TABLE {SHARED} IN ACCESS EXCLUSIVE MODE"))
    connection.execute(memory.delete().where(memory.c.table_name == SHARED))
    if connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(sa.table(SHARED))))):
        return
    try:
        with connection.begin_nested():
            op.drop_table(SHARED)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != DEPENDENT_OBJECTS_STILL_EXIST:
            raise


def create_optimization_runs() -> None:
    op.create_table(
        SHARED,
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("strategy_id", sa.Integer, nullable=False),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("timeframe", sa.String(10), nullable=False),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("initial_balance", sa.Float, nullable=False, server_default=sa.text("10000.0")),
        sa.Column("spread_pips", sa.Float, nullable=False, server_default=sa.text("1.5")),
        sa.Column("execution_mode", sa.String(20), nullable=False, server_default="close_price"),
        sa.Column("commission_per_lot", sa.Float, nullable=False, server_default=sa.text("0.0")),
        sa.Column("tp_partial_close_ratio", sa.Float, nullable=False, server_default=sa.text("0.5")),
        sa.Column("context_tfs", sa.Text, nullable=False, server_default="[]"),
        sa.Column("volume", sa.Float),
        sa.Column("risk_pct", sa.Float),
        sa.Column("method", sa.String(20), nullable=False, server_default="grid"),
        sa.Column("param_grid", sa.Text, nullable=False),
        sa.Column("samples", sa.Integer),
        sa.Column("seed", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("optimize_metric", sa.String(40), nullable=False, server_default="sharpe_ratio"),
        sa.Column("min_trades", sa.Integer, nullable=False, server_default=sa.text("30")),
        sa.Column("max_workers", sa.Integer),
        sa.Column("walk_forward", sa.Text),
        sa.Column("status", sa.String(20), nullable=False, server_default="pending"),
        sa.Column("progress_pct", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("error_message", sa.Text),
        sa.Column("total_combinations", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("completed_combinations", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("failed_combinations", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("best_params", sa.Text),
        sa.Column("best_value", sa.Float),
        sa.Column("best_run_id", sa.Integer),
        sa.Column("robust_params", sa.Text),
        sa.Column("results", sa.Text),
        sa.Column("results_file_path", sa.Text),
        sa.Column("statistics", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_optimization_runs"),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name="fk_optimization_strategy", ondelete="CASCADE"
        ),
    )
    op.create_index("idx_optimization_strategy", SHARED, ["strategy_id"])
    op.create_index("idx_optimization_created", SHARED, ["created_at"])


def create_backtest_searches() -> None:
    op.create_table(
        "backtest_searches",
        sa.Column("optimization_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default="queued"),
        sa.Column("is_named", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("max_workers", sa.Integer),
        sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("progress_pct", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("shards", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("total", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("released", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("given", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("done", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("failed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("pace_seconds", sa.Float),
        sa.Column("plan", sa.Text),
        sa.Column("best_value", sa.Float),
        sa.Column("best_params", sa.Text),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("reported_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("result_digest", sa.String(64)),
        sa.Column("engine_version", sa.String(40)),
        sa.PrimaryKeyConstraint("optimization_id", name="pk_backtest_searches"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="ck_backtest_searches_state"
        ),
        sa.CheckConstraint(
            "done <= given AND given <= released AND released <= total", name="ck_backtest_searches_counts"
        ),
    )
    op.create_index(
        "idx_backtest_searches_open",
        "backtest_searches",
        ["optimization_id"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index("idx_backtest_searches_request", "backtest_searches", ["request_id"])


def create_backtest_search_shards() -> None:
    op.create_table(
        "backtest_search_shards",
        sa.Column("optimization_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("last", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("state", sa.String(20), nullable=False, server_default="queued"),
        sa.Column("epoch", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("deaths", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("results_file", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("optimization_id", "number", name="pk_backtest_search_shards"),
        sa.CheckConstraint("kind IN ('survey', 'range', 'ask', 'gather')", name="ck_backtest_search_shards_kind"),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dropped')", name="ck_backtest_search_shards_state"),
        sa.CheckConstraint(
            "state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)",
            name="ck_backtest_search_shards_lease",
        ),
    )
    op.create_index(
        "idx_backtest_search_shards_open",
        "backtest_search_shards",
        ["optimization_id", "number"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
