"""Remember of each execution whether its request named the run: only then can a cancel have been meant for it that came
before it. A run that is numbered here gets a number that anybody may have guessed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of the executions that exist nobody knows: their cancels go on as before."""
    op.add_column("backtest_executions", sa.Column("is_named", sa.Boolean, nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.drop_column("backtest_executions", "is_named")
