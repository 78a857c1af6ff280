"""Alembic's entry into the revisions: they run on the connection they are handed, inside its transaction.

No address is read here, and nothing of this program: what calls the revisions connects (asyncpg), locks, checks and
commits, and hands over what they are compared with, so that history does not depend on the models.
"""

from alembic import context
from sqlalchemy import Connection


def run_revisions(connection: Connection) -> None:
    """Run what Alembic was asked for; all of it or, with the caller's transaction, nothing."""
    context.configure(
        connection=connection,
        **context.config.attributes["compared_with"],
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_connection = context.config.attributes.get("connection")
if not isinstance(handed_connection, Connection):
    raise RuntimeError("migrations run through `backtest migrate`, which hands them its connection")  # noqa: TRY004 - no argument of a call
run_revisions(handed_connection)
