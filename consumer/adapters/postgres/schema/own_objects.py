"""Which objects of a database that others use too are ours to compare and to change."""

from typing import Any, Literal

from sqlalchemy.sql.schema import SchemaItem

from consumer.adapters.postgres.schema.base import metadata
from consumer.adapters.postgres.schema.tables import OPERATIONAL_TABLES, SHARED_TABLES, VERSION_TABLE

SHARED_NAMES = frozenset(table.name for table in SHARED_TABLES)
OWN_NAMES = frozenset(table.name for table in OPERATIONAL_TABLES)

type_of_object = Literal[
    "schema", "table", "column", "index", "unique_constraint", "foreign_key_constraint", "check_constraint"
]


def comparison_options() -> dict[str, Any]:
    """What Alembic compares a database of ours with, and where it notes the revision; `migrations` is handed it."""
    return {"target_metadata": metadata, "version_table": VERSION_TABLE, "include_object": include_object}


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
