"""Keep instruments that were brought over HTTP, beside those of the packaged registry and of instruments files."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = "backtest_instruments"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("block", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("symbol", name="pk_backtest_instruments"),
    )
    op.create_index("uq_backtest_instruments_symbol", TABLE, [sa.text("upper(symbol)")], unique=True)


def downgrade() -> None:
    op.drop_table(TABLE)
