"""Let the outbox carry requests that came over HTTP, and remember them by the record that goes out for them too."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

REQUESTS, EMITTED = "backtest_requests", "ck_backtest_requests_emitted_hash"
OUTBOX, KIND = "backtest_outbox", "ck_backtest_outbox_kind"
KINDS: Final = "'started', 'progress', 'terminal', 'rejected', 'dead_letter', 'search_rejected'"


def upgrade() -> None:
    """Add the column and the kinds; no row is read."""
    op.add_column(REQUESTS, sa.Column("emitted_hash", sa.LargeBinary))
    op.create_check_constraint(EMITTED, REQUESTS, "octet_length(emitted_hash) = 32")
    op.drop_constraint(KIND, OUTBOX)
    op.create_check_constraint(KIND, OUTBOX, f"kind IN ({KINDS}, 'requested', 'search_requested')")


def downgrade() -> None:
    """Forget records that were not sent: what they ask for is accepted already, and only the topic lacks them."""
    op.execute(f"DELETE FROM {OUTBOX} WHERE kind IN ('requested', 'search_requested')")
    op.drop_constraint(KIND, OUTBOX)
    op.create_check_constraint(KIND, OUTBOX, f"kind IN ({KINDS})")
    op.drop_constraint(EMITTED, REQUESTS)
    op.drop_column(REQUESTS, "emitted_hash")
