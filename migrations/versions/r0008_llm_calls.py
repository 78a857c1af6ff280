"""Make the ledger of calls to language models, and the memory of which repeated runs end their asking where."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "backtest_llm_calls",
        sa.Column("run_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("bar_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("role", sa.Text, nullable=False, server_default=""),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default="asked"),
        sa.Column("answer", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        sa.Column("cost", sa.Float),
        sa.Column("latency_ms", sa.Integer),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_backtest_llm_calls"),
        sa.CheckConstraint("state IN ('asked', 'answered', 'failed')", name="ck_backtest_llm_calls_state"),
        sa.CheckConstraint("number >= 1", name="ck_backtest_llm_calls_number"),
        sa.CheckConstraint("(state = 'answered') = (answer IS NOT NULL)", name="ck_backtest_llm_calls_answer"),
    )
    op.create_index(
        "idx_backtest_llm_calls_key", "backtest_llm_calls", ["key"], postgresql_where=sa.text("state = 'answered'")
    )
    op.create_table(
        "backtest_llm_limits",
        sa.Column("specification", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("specification", "key", name="pk_backtest_llm_limits"),
    )


def downgrade() -> None:
    """Forget them: what was paid for is asked anew by a later release."""
    op.drop_table("backtest_llm_limits")
    op.drop_table("backtest_llm_calls")
