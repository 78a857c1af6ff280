"""Alembic's entry into the revisions: they run on the connection they are handed, inside its transaction.

No address is read here. `consumer.adapters.postgres.schema.migrating` connects (asyncpg), locks, checks and commits.
"""

from alembic import context
from sqlalchemy import Connection

from consumer.adapters.postgres.schema.tables import VERSION_TABLE, metadata
from migrations import include_object


def run_revisions(connection: Connection) -> None:
    """Run what Alembic was asked for; all of it or, with the caller's transaction, nothing."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_object=include_object,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_connection = context.config.attributes.get("connection")
if not isinstance(handed_connection, Connection):
    raise RuntimeError("migrations run through `backtest migrate`, which hands them its connection")  # noqa: TRY004 - no argument of a call
run_revisions(handed_connection)
