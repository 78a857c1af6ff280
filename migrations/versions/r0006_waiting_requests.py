"""Let a request be kept that nobody can decide yet: a client holds a lock on its strategy's row."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME, TABLE = "ck_backtest_requests_outcome", "backtest_requests"


def upgrade() -> None:
    op.drop_constraint(NAME, TABLE)
    op.create_check_constraint(NAME, TABLE, "outcome IN ('accepted', 'rejected', 'waiting')")
    waiting = sa.text("outcome = 'waiting'")
    op.create_index("idx_backtest_requests_waiting", TABLE, ["received_at"], postgresql_where=waiting)


def downgrade() -> None:
    """Refused by the constraint while a request waits: an older release would never decide it."""
    op.drop_index("idx_backtest_requests_waiting", TABLE)
    op.drop_constraint(NAME, TABLE)
    op.create_check_constraint(NAME, TABLE, "outcome IN ('accepted', 'rejected')")
