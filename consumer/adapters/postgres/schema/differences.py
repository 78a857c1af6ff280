"""Compares the shared tables in a database with those of `tables`, column by column, and adds what may be added.

Apart from `migrating`, which decides what to do about a difference. Reads the system catalogues only: no row of
another service is looked at, and no default is evaluated (a `nextval` could not be taken back).

What counts as a difference: a column's absence, type (a shorter text included, a longer one not), nullability and
default in the database, what fills `id`, the primary key, the foreign key with its cascade, and the uniqueness of
`strategies.name`: rows would be refused, cut, left behind or filled with something else than the contract says. What is
only noted: names of keys and indexes, indexes that are missing (slow, not wrong), and unknown columns that demand a
value.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn, DefaultClause

from consumer.adapters.postgres.schema.tables import SHARED_TABLES, backtest_runs, strategies


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """One way in which a table is not what the contract says."""

    table: str
    #: None where the whole table is meant.
    column: str | None
    problem: str
    #: How `backtest migrate --adopt` puts it right; None: a person has to.
    remedy: "Remedy | None" = None

    def __str__(self) -> str:
        return f"{self.table}{'.' + self.column if self.column else ''} {self.problem}"


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something that is missing and may be added. action: of ALTER TABLE."""

    action: str
    added: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a look at the shared tables found."""

    #: Names of the shared tables that exist.
    present: tuple[str, ...]
    #: Table by table, in the contract's order.
    differences: tuple[SchemaDifference, ...]
    #: Sentences for people: worth knowing, nothing that is refused.
    notes: tuple[str, ...]


async def compare_shared_tables(connection: AsyncConnection) -> Comparison:
    """Compare those shared tables that exist with what they should be; a table that does not exist is no difference."""
    catalogue = await _read_catalogue(connection)
    differences: list[SchemaDifference] = []
    notes: list[str] = []
    for table in SHARED_TABLES:
        if table.name not in catalogue.kinds:
            continue
        if catalogue.kinds[table.name] not in {"r", "p"}:
            differences.append(SchemaDifference(table.name, None, "is not a table"))
            continue
        differences += _column_differences(table, catalogue)
        differences += _key_differences(table, catalogue)
        notes += _notes(table, catalogue)
    return Comparison(tuple(catalogue.kinds), tuple(differences), tuple(notes))


async def add_what_is_missing(
    connection: AsyncConnection, differences: tuple[SchemaDifference, ...]
) -> tuple[str, ...]:
    """Add the columns and defaults whose absence is among `differences`; gives back what was added.

    Rows that exist get null or the default of a new column; `created_at` therefore says when the column was added. A
    default changes no row that exists.
    """
    added = []
    for difference in differences:
        if difference.remedy is None:
            continue
        await connection.exec_driver_sql(f"ALTER TABLE {difference.table} {difference.remedy.action}")
        added.append(difference.remedy.added)
    return tuple(added)


def _column_differences(table: Table, catalogue: "_Catalogue") -> list[SchemaDifference]:
    found_columns = catalogue.columns[table.name]
    differences = []
    for column in table.columns:
        found = found_columns.get(column.name)
        if found is None:
            differences.append(_missing_column(table, column))
        else:
            problems = _column_problems(column, found)
            differences += [SchemaDifference(table.name, column.name, problem) for problem in problems]
            differences += _default_differences(table, column, found)
    return differences


def _missing_column(table: Table, column: Column[Any]) -> SchemaDifference:
    if column.primary_key or not (column.nullable or column.server_default is not None):
        problem = "is missing and cannot be added: rows would have no value for it"
        return SchemaDifference(table.name, column.name, problem)
    definition = CreateColumn(column).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's
    remedy = Remedy(f"ADD COLUMN {definition}", f"{table.name}.{column.name}")
    return SchemaDifference(table.name, column.name, "is missing", remedy)


def _default_differences(table: Table, column: Column[Any], found: RowMapping) -> list[SchemaDifference]:
    """An ORM fills a column from Python, and leaves the table without the default that other services' rows need."""
    is_plain = not (found["generated"] or found["identity"] or column.primary_key)
    if not is_plain or _is_default_as_expected(column, found["default"]):
        return []
    expected = _expected_default(column)
    problem = f"has default {found['default'] or 'none'}, expected {expected or 'none'}"
    remedy = None
    if found["default"] is None:
        action = f"ALTER COLUMN {column.name} SET DEFAULT {expected}"
        remedy = Remedy(action, f"{table.name}.{column.name} default {expected}")
    return [SchemaDifference(table.name, column.name, problem, remedy)]


def _column_problems(column: Column[Any], found: RowMapping) -> list[str]:
    problems = []
    expected_type = _type_name(column)
    if found["type"] != expected_type and not _is_wider(found["type"], column):
        problems.append(f"has type {found['type']}, expected {expected_type}")
    if found["not_null"] and column.nullable:
        problems.append("does not take null, expected nullable")
    if not found["not_null"] and not column.nullable:
        problems.append("is nullable, expected not null")
    if found["generated"]:
        problems.append(f"is computed as {found['default']}, expected an ordinary column")
    elif column.primary_key:
        if not (found["identity"] or (found["default"] or "").startswith("nextval(")):
            problems.append("has nothing that numbers new rows, expected a sequence or identity")
    elif found["identity"]:
        problems.append("is an identity column, expected an ordinary one")
    return problems


def _is_wider(found: str, column: Column[Any]) -> bool:
    """Whether a type of text holds all that the expected one does."""
    if not isinstance(column.type, String):
        return False
    if found in {"text", "character varying"}:
        return True
    length = re.fullmatch(r"character varying\((\d+)\)", found)
    return bool(length and column.type.length and int(length[1]) >= column.type.length)


def _type_name(column: Column[Any]) -> str:
    """Give the name under which Postgres' `format_type` shows the column's type."""
    match column.type:
        case Text():
            return "text"
        case String(length=length):
            return f"character varying({length})"
        case Boolean():
            return "boolean"
        case Integer():
            return "integer"
        case Float():
            return "double precision"
        case DateTime(timezone=True):
            return "timestamp with time zone"
        case other:
            raise NotImplementedError(f"no shared column had type {other!r} before: name it as format_type does")


def _expected_default(column: Column[Any]) -> str | None:
    default = column.server_default
    if not isinstance(default, DefaultClause):
        return None
    argument = default.arg
    return f"'{argument}'" if isinstance(argument, str) else str(argument.compile())


_NOW: Final = {"now()", "current_timestamp", "transaction_timestamp()", "statement_timestamp()", "clock_timestamp()"}
_CAST: Final = re.compile(r"::[a-z ]+(\(\d+\))?$")


def _is_default_as_expected(column: Column[Any], found: str | None) -> bool:
    """Compare by value: `10000`, `10000.0` and `'10000'::double precision` are the same default of a Float."""
    expected = _expected_default(column)
    if expected is None or found is None:
        return expected is None and found is None
    plain = _without_casts(found)
    match column.type:
        case DateTime():
            return plain.lower() in _NOW
        case Float() | Integer():
            try:
                return float(plain.strip("'")) == float(expected)
            except ValueError:
                return False
        case Boolean():
            return plain.strip("'") == expected
        case _:
            return plain == expected


def _without_casts(expression: str) -> str:
    plain = expression
    while True:
        shorter = _CAST.sub("", plain)
        if shorter.startswith("(") and shorter.endswith(")"):
            shorter = shorter[1:-1]
        if shorter == plain:
            return plain
        plain = shorter


def _key_differences(table: Table, catalogue: "_Catalogue") -> list[SchemaDifference]:
    constraints = catalogue.constraints[table.name]
    differences = []
    primary_keys = [found["columns"] for found in constraints if found["kind"] == "p"]
    if primary_keys != [["id"]] and "id" in catalogue.columns[table.name]:
        named = f"({', '.join(primary_keys[0])})" if primary_keys else "none"
        differences.append(SchemaDifference(table.name, None, f"has primary key {named}, expected (id)"))
    for key in table.foreign_key_constraints:
        differences += _foreign_key_differences(table, key, catalogue)
    for unique in table.constraints:
        if isinstance(unique, UniqueConstraint):
            wanted = [column.name for column in unique.columns]
            indexes = catalogue.indexes[table.name]
            if not any(found["is_unique"] and found["is_whole"] and found["columns"] == wanted for found in indexes):
                differences.append(SchemaDifference(table.name, wanted[0], "is not unique"))
    return differences


_DELETE_RULES: Final = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def _foreign_key_differences(
    table: Table, key: ForeignKeyConstraint, catalogue: "_Catalogue"
) -> list[SchemaDifference]:
    """Every key from the column to the target must cascade: a second one without it would still forbid the deletion."""
    column, target = key.column_keys[0], key.referred_table.name
    if column not in catalogue.columns[table.name]:
        return []
    keys = [
        found
        for found in catalogue.constraints[table.name]
        if found["kind"] == "f" and found["columns"] == [column] and found["target"] == target
    ]
    if not keys:
        problem = f"has no foreign key to {target}.id, expected one with ON DELETE CASCADE"
        return [SchemaDifference(table.name, column, problem)]
    return [
        SchemaDifference(
            table.name,
            column,
            f"refers to {target}({', '.join(found['target_columns'])}) "
            f"with ON DELETE {_DELETE_RULES[found['on_delete']]}, expected {target}(id) with ON DELETE CASCADE",
        )
        for found in keys
        if found["on_delete"] != "c" or found["target_columns"] != ["id"]
    ]


def _notes(table: Table, catalogue: "_Catalogue") -> list[str]:
    indexes = catalogue.indexes[table.name]
    notes = []
    for index in sorted(table.indexes, key=lambda wanted: str(wanted.name)):
        column = index.columns[0].name
        serving = [found for found in indexes if found["is_whole"] and found["columns"][0] == column]
        if not serving:
            create = f"CREATE INDEX CONCURRENTLY {index.name} ON {table.name} ({column})"
            notes.append(f"{table.name}.{column} has no index, which makes some queries slow: {create}")
        elif table is backtest_runs and index.name not in {found["name"] for found in serving}:
            notes.append(f"{table.name}.{column} has index {serving[0]['name']}, named {index.name} in the contract")
    for found in catalogue.constraints[table.name] if table is backtest_runs else ():
        wanted = {"p": "pk_backtest_runs", "f": "fk_backtest_strategy"}[found["kind"]]
        if found["columns"] in (["id"], ["strategy_id"]) and found["name"] != wanted:
            notes.append(f"{table.name} has constraint {found['name']}, named {wanted} in the contract")
    for name, found in catalogue.columns[table.name].items():
        demands_value = found["not_null"] and not (found["default"] or found["identity"])
        # Nothing here inserts strategies.
        if table is not strategies and name not in table.columns and demands_value:
            notes.append(f"{table.name}.{name} demands a value, so that rows written by this program will be refused")
    return notes


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """What Postgres knows about the shared tables that exist, by table name."""

    kinds: dict[str, str]
    columns: dict[str, dict[str, RowMapping]]
    constraints: dict[str, list[RowMapping]]
    indexes: dict[str, list[RowMapping]]


# Found as an unqualified name in a query finds them: by the search path.
_TABLES: Final = """
    WITH shared AS (
        SELECT c.oid, c.relname::text AS table_name, c.relkind::text AS kind
        FROM unnest(CAST(:names AS text[])) AS wanted (name)
            JOIN pg_class c ON c.oid = to_regclass(quote_ident(wanted.name))
    )
"""
_KINDS: Final = text(_TABLES + "SELECT table_name, kind FROM shared")
_COLUMNS: Final = text(
    _TABLES
    + """
    SELECT table_name, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
        pg_get_expr(d.adbin, d.adrelid) AS "default", a.attidentity <> '' AS identity, a.attgenerated <> '' AS generated
    FROM shared JOIN pg_attribute a ON a.attrelid = shared.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    ORDER BY shared.oid, a.attnum
    """
)
_CONSTRAINTS: Final = text(
    _TABLES
    + """
    SELECT table_name, k.conname::text AS name, k.contype::text AS kind, k.confdeltype::text AS on_delete,
        target.relname::text AS target,
        ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY place) AS columns,
        ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY place) AS target_columns
    FROM shared JOIN pg_constraint k ON k.conrelid = shared.oid AND k.contype IN ('p', 'f')
        LEFT JOIN pg_class target ON target.oid = k.confrelid
    ORDER BY shared.oid, k.conname
    """
)
# An expression's place among the columns is taken by null.
_INDEXES: Final = text(
    _TABLES
    + """
    SELECT table_name, c.relname::text AS name, i.indisunique AS is_unique,
        i.indisvalid AND i.indpred IS NULL AS is_whole,
        ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS u (attnum, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum AND u.attnum <> 0
            ORDER BY place) AS columns
    FROM shared JOIN pg_index i ON i.indrelid = shared.oid JOIN pg_class c ON c.oid = i.indexrelid
    ORDER BY shared.oid, c.relname
    """
)


async def _read_catalogue(connection: AsyncConnection) -> _Catalogue:
    names = {"names": [table.name for table in SHARED_TABLES]}
    kinds: dict[str, str] = {
        row["table_name"]: row["kind"] for row in (await connection.execute(_KINDS, names)).mappings()
    }
    columns: dict[str, dict[str, RowMapping]] = {name: {} for name in kinds}
    constraints: dict[str, list[RowMapping]] = {name: [] for name in kinds}
    indexes: dict[str, list[RowMapping]] = {name: [] for name in kinds}
    for row in (await connection.execute(_COLUMNS, names)).mappings():
        columns[row["table_name"]][row["name"]] = row
    for row in (await connection.execute(_CONSTRAINTS, names)).mappings():
        constraints[row["table_name"]].append(row)
    for row in (await connection.execute(_INDEXES, names)).mappings():
        indexes[row["table_name"]].append(row)
    return _Catalogue(kinds, columns, constraints, indexes)
