"""Keep which code of its strategy a completed run used: two workers may have different ones."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of runs that completed before nobody knows."""
    op.add_column("backtest_executions", sa.Column("strategy_version", sa.String(64)))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("backtest_executions", "strategy_version")
