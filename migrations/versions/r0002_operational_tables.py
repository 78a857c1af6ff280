"""Make this program's own tables: the memory of requests, the queue, cancels and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the four tables. One of that name made by anyone else is an error: it can't be this program's queue."""
    create_backtest_requests()
    create_backtest_executions()
    create_backtest_cancels()
    create_backtest_outbox()


def downgrade() -> None:
    """Drop the four tables with all that is in them: unfinished runs and unsent events are forgotten."""
    op.drop_table("backtest_outbox")
    op.drop_table("backtest_cancels")
    op.drop_table("backtest_executions")
    op.drop_table("backtest_requests")


def create_backtest_requests() -> None:
    op.create_table(
        "backtest_requests",
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("specification", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("request_id", name="pk_backtest_requests"),
        sa.CheckConstraint("outcome IN ('accepted', 'rejected')", name="ck_backtest_requests_outcome"),
        sa.CheckConstraint("octet_length(content_hash) = 32", name="ck_backtest_requests_content_hash"),
    )
    op.create_index("idx_backtest_requests_run", "backtest_requests", ["run_id"])


def create_backtest_executions() -> None:
    op.create_table(
        "backtest_executions",
        sa.Column("run_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default="queued"),
        sa.Column("source", sa.Text, nullable=False, server_default=""),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("deaths", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("progress_pct", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("result_digest", sa.String(64)),
        sa.Column("engine_version", sa.String(40)),
        sa.PrimaryKeyConstraint("run_id", name="pk_backtest_executions"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="ck_backtest_executions_state"
        ),
        sa.CheckConstraint(
            "state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)", name="ck_backtest_executions_lease"
        ),
        sa.CheckConstraint(
            "epoch >= 0 AND attempts >= 0 AND deaths >= 0 AND sequence >= 0", name="ck_backtest_executions_counters"
        ),
        postgresql_with={
            "fillfactor": 80,
            "autovacuum_vacuum_threshold": 1000,
            "autovacuum_vacuum_scale_factor": 0.01,
            "autovacuum_analyze_threshold": 1000,
            "autovacuum_analyze_scale_factor": 0.02,
        },
    )
    create_partial_index("idx_backtest_executions_queue", "backtest_executions", ["turn", "run_id"], "state = 'queued'")
    create_partial_index(
        "idx_backtest_executions_source", "backtest_executions", ["source", "turn"], "state = 'queued'"
    )
    create_partial_index("idx_backtest_executions_running", "backtest_executions", ["run_id"], "state = 'running'")
    create_partial_index(
        "idx_backtest_executions_cancel",
        "backtest_executions",
        ["run_id"],
        "cancel_reason IS NOT NULL AND state IN ('queued', 'running')",
    )
    op.create_index("idx_backtest_executions_request", "backtest_executions", ["request_id"])


def create_backtest_cancels() -> None:
    op.create_table(
        "backtest_cancels",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("request_id", sa.String(255)),
        sa.Column("reason", sa.Text),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_cancels"),
        sa.CheckConstraint("num_nonnulls(run_id, request_id) = 1", name="ck_backtest_cancels_target"),
    )
    create_partial_index("uq_backtest_cancels_run", "backtest_cancels", ["run_id"], "run_id IS NOT NULL", unique=True)
    create_partial_index(
        "uq_backtest_cancels_request", "backtest_cancels", ["request_id"], "request_id IS NOT NULL", unique=True
    )


def create_backtest_outbox() -> None:
    op.create_table(
        "backtest_outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("message_key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_outbox"),
        sa.CheckConstraint(
            "kind IN ('started', 'progress', 'terminal', 'rejected', 'dead_letter')", name="ck_backtest_outbox_kind"
        ),
        postgresql_with={
            "autovacuum_vacuum_threshold": 1000,
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_insert_threshold": 1000,
            "autovacuum_vacuum_insert_scale_factor": 0,
            "autovacuum_analyze_threshold": 5000,
            "autovacuum_analyze_scale_factor": 0,
            "vacuum_truncate": "false",
        },
    )
    op.create_index("idx_backtest_outbox_run", "backtest_outbox", ["run_id", "sequence"])
    op.create_index("idx_backtest_outbox_lease", "backtest_outbox", ["lease_until"])
    create_partial_index("uq_backtest_outbox_progress", "backtest_outbox", ["run_id"], "kind = 'progress'", unique=True)


def create_partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, postgresql_where=sa.text(where))
