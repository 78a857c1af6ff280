"""Keep what a completed run printed: interval, ambiguous bars and warnings have no column in the shared tables."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; runs that completed before have no row in it."""
    op.create_table(
        "backtest_results",
        sa.Column("run_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("artifacts", sa.Text, nullable=False),
        sa.Column("duration_seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_backtest_results"),
    )


def downgrade() -> None:
    """Drop it: the figures in the shared tables stay."""
    op.drop_table("backtest_results")
