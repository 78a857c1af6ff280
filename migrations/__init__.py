"""The history of the database: a line of Alembic revisions, packaged so that `backtest migrate` needs no checkout.

Run by `consumer.adapters.postgres.schema.migrating`, which adds the lock, the transaction and the check of shared
tables. To add a revision: write `versions/r000N_what_it_does.py` by hand, up and down, without importing the models
(they move on, history does not). `tests/integration/test_migrations.py` fails until the models and the history give the
same database.

The database is usually another service's too, so in a revision

- a shared table may already have what it adds: `if_not_exists=True` in `op.add_column` and `op.create_index`;
- a downgrade never removes another service's data: see `r0001_shared_tables`.
"""

from typing import Literal

from sqlalchemy.sql.schema import SchemaItem

from consumer.adapters.postgres.schema.tables import OPERATIONAL_TABLES, SHARED_TABLES

__all__ = ["include_object"]

SHARED_NAMES = frozenset(table.name for table in SHARED_TABLES)
OWN_NAMES = frozenset(table.name for table in OPERATIONAL_TABLES)

type_of_object = Literal[
    "schema", "table", "column", "index", "unique_constraint", "foreign_key_constraint", "check_constraint"
]


def include_object(
    schema_item: SchemaItem,
    name: str | None,
    kind: type_of_object,
    reflected: bool,
    compare_to: SchemaItem | None,
) -> bool:
    """Tell Alembic's comparison what to look at: nothing that another service made.

    Left out are tables whose name is not one of ours and, in the shared tables, columns, indexes and constraints
    that the models do not know.
    """
    if not reflected or compare_to is not None:
        return True
    if kind == "table":
        return name in SHARED_NAMES | OWN_NAMES
    table = getattr(schema_item, "table", None)
    return table is None or table.name not in SHARED_NAMES
