"""Brings a database to the schema this release needs, and tells whether one is there.

Apart from the queries because it changes tables: only `backtest migrate` does that, never a worker.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import migrations
from consumer.adapters.postgres import lock_keys
from consumer.adapters.postgres.connecting import Connector
from consumer.adapters.postgres.schema.differences import (
    Comparison,
    SchemaDifference,
    add_what_is_missing,
    compare_shared_tables,
)
from consumer.adapters.postgres.schema.own_objects import comparison_options
from consumer.adapters.postgres.schema.tables import OPERATIONAL_TABLES, SHARED_TABLES, VERSION_TABLE
from consumer.database_url import read_database_url
from consumer.errors import StartFailed, StoreUnavailable


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` did; nothing, when it was already done."""

    #: None: the database had never been migrated by this program.
    from_revision: str | None
    to_revision: str
    created_tables: tuple[str, ...]
    #: Shared tables that another service had made and that are used from now on.
    adopted_tables: tuple[str, ...]
    #: `table.column`, or `table.column default VALUE`; only with `adopt`.
    added: tuple[str, ...]
    #: Sentences for people: harmless differences of the shared tables.
    notes: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Whether the database is another one than before."""
        return self.from_revision != self.to_revision or bool(self.added)


class SchemaMismatch(StartFailed):
    """Tables are there but are not what the contract says. Nothing was changed; all differences are named at once."""

    def __init__(self, differences: tuple[SchemaDifference, ...]) -> None:
        self.differences = differences
        adoptable = all(difference.remedy is not None for difference in differences)
        hint = " (`backtest migrate --adopt` adds missing columns and defaults)" if adoptable else ""
        super().__init__(f"the database differs from the contract: {'; '.join(map(str, differences))}{hint}")


class SchemaOutdated(StartFailed):
    """The database is not at the revision of this release: run `backtest migrate`."""

    def __init__(self, found: str | None, wanted: str) -> None:
        self.found, self.wanted = found, wanted
        state = "has no tables of backtest-consumer" if found is None else f"is at revision {found}, not {wanted}"
        super().__init__(f"the database {state}: run `backtest migrate`")


class SchemaTooNew(StartFailed):
    """A newer release has migrated the database, and this one does not know what it holds: update this program."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(
            f"the database is at revision {found}, which this release does not know: a newer one has migrated it"
        )


async def migrate(database_url: str, *, adopt: bool = False) -> MigrationReport:
    """Bring the database to this release's schema, shared tables checked, in one transaction; a second call is a no-op.

    database_url: `postgresql+asyncpg://...`.
    adopt: add columns that shared tables of another service lack, where they are nullable or have a default, and
    defaults that they lack.

    Any number may run at once, also on different machines: an advisory lock lets one through, and the others find
    its work done. Within one process, though, migrate two databases one after the other: Alembic's context is a
    global.

    Raises SchemaMismatch, SchemaTooNew: nothing was changed, a person decides. StoreUnavailable: nothing was
    changed, or, when the connection broke while committing, all of it; run it again. StartFailed: Postgres refuses,
    for want of a right, say.
    """
    async with _transaction(database_url) as connection:
        await _take_turn(connection)
        before = await _current_revision(connection)
        present = await _present_tables(connection)
        added: tuple[str, ...] = ()
        if before is None:
            added = await _settle(await _compare_unmigrated(connection, present), connection, adopt=adopt)
        if before != head_revision():
            await connection.run_sync(_run_alembic, "upgrade", "head")
        added += await _settle(await _compare_all(connection), connection, adopt=adopt)
        return MigrationReport(
            from_revision=before,
            to_revision=head_revision(),
            created_tables=tuple(name for name in await _present_tables(connection) if name not in present),
            adopted_tables=tuple(name for name in present if before is None),
            added=added,
            notes=(await compare_shared_tables(connection)).notes,
        )


async def downgrade(database_url: str, revision: str = "base") -> None:
    """Go back to an older revision, in one transaction.

    Below 0002 the memory of requests, the queue and unsent events are dropped. Shared tables are dropped only where
    this program made them and nothing is in them and nothing refers to them: losing another service's data would be
    worse than leaving a table.
    """
    async with _transaction(database_url) as connection:
        await _take_turn(connection)
        await _current_revision(connection)
        await connection.run_sync(_run_alembic, "downgrade", revision)


async def check_schema(database: AsyncEngine | str) -> tuple[str, ...]:
    """Make sure that the database has this release's schema and the shared tables fit; changes nothing, takes no lock.

    Gives notes for people about harmless differences. Raises SchemaOutdated, SchemaTooNew, SchemaMismatch,
    StoreUnavailable.
    """
    async with _transaction(database) as connection:
        found = await _current_revision(connection)
        if found != head_revision():
            raise SchemaOutdated(found, head_revision())
        comparison = await _compare_all(connection)
        if comparison.differences:
            raise SchemaMismatch(comparison.differences)
        return comparison.notes


@asynccontextmanager
async def _transaction(database: AsyncEngine | str) -> AsyncIterator[AsyncConnection]:
    """Open one transaction at READ COMMITTED: a stricter level would read what was there before the lock came."""
    engine = _engine(database) if isinstance(database, str) else database
    try:
        async with (
            engine.execution_options(isolation_level="READ COMMITTED").connect() as connection,
            connection.begin(),
        ):
            yield connection
    except (OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Postgres does not answer: {error}") from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        raise _translated(error) from error
    finally:
        if engine is not database:
            await engine.dispose()


def _engine(database_url: str) -> AsyncEngine:
    """Connects as everything else here does; statements without a name, which a pooler's next client would meet."""
    connector = Connector(read_database_url(database_url), "backtest migrate", {}, writes=True, command_seconds=None)
    connecting = {
        "async_creator_fn": connector.connect,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,
    }
    return create_async_engine("postgresql+asyncpg://", poolclass=NullPool, connect_args=connecting)


_LOCK_NOT_AVAILABLE: Final = "55P03"
# Connection exceptions, insufficient resources, operator intervention.
_AWAY: Final = ("08", "53", "57")


def _translated(error: DBAPIError | asyncpg.PostgresError) -> StoreUnavailable | StartFailed:
    """Sort Postgres' refusals: what may pass by itself, and what a person has to see to. Never quotes the address."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    message = str(cause).removeprefix(f"{type(cause)}: ").replace("\n", " ")
    if state == _LOCK_NOT_AVAILABLE:
        return StoreUnavailable(f"another session holds a shared table for too long, try again: {message}")
    if state.startswith(_AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return StoreUnavailable(f"Postgres does not answer: {message}")
    return StartFailed(f"Postgres refuses: {message}")


LOCK_TIMEOUT_MILLISECONDS: Final = 5000


async def _take_turn(connection: AsyncConnection) -> None:
    """Wait for other migrations of this program, as long as it takes; after that never long for anybody's lock.

    Who waits for an exclusive lock on a shared table makes every later query of the other service wait behind him.
    """
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_keys.MIGRATION})
    await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}"))


async def _current_revision(connection: AsyncConnection) -> str | None:
    """Give the database's revision, None where there is none; SchemaTooNew where this release does not know it."""
    if await connection.scalar(text("SELECT to_regclass(:name)::text"), {"name": VERSION_TABLE}) is None:
        return None
    found: str | None = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    if found is not None and found not in _known_revisions():
        raise SchemaTooNew(found)
    return found


async def _present_tables(connection: AsyncConnection) -> tuple[str, ...]:
    """Name the tables of ours that exist, shared ones first."""

    def present(sync_connection: Connection) -> tuple[str, ...]:
        names = [table.name for table in SHARED_TABLES + OPERATIONAL_TABLES]
        return tuple(name for name in names if inspect(sync_connection).has_table(name))

    return await connection.run_sync(present)


async def _compare_unmigrated(connection: AsyncConnection, present: tuple[str, ...]) -> Comparison:
    """Compare what other services left here; a table of theirs under the name of one of our own is a difference too."""
    comparison = await compare_shared_tables(connection)
    problem = "exists already, though this program has not made it"
    own = {table.name for table in OPERATIONAL_TABLES}
    namesakes = tuple(SchemaDifference(name, None, problem) for name in present if name in own)
    return replace(comparison, differences=namesakes + comparison.differences)


async def _compare_all(connection: AsyncConnection) -> Comparison:
    """Compare the shared tables as they must be at this release's revision: one that is not there is a difference."""
    comparison = await compare_shared_tables(connection)
    missing = (table.name for table in SHARED_TABLES if table.name not in comparison.present)
    gone = tuple(SchemaDifference(name, None, "is missing") for name in missing)
    return replace(comparison, differences=gone + comparison.differences)


async def _settle(comparison: Comparison, connection: AsyncConnection, *, adopt: bool) -> tuple[str, ...]:
    """Add what may be added and refuse any other difference; gives the added ones."""
    unsettled = tuple(found for found in comparison.differences if not (adopt and found.remedy is not None))
    if unsettled:
        raise SchemaMismatch(unsettled)
    return await add_what_is_missing(connection, comparison.differences)


def _run_alembic(connection: Connection, direction: str, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["compared_with"] = comparison_options()
    run = command.upgrade if direction == "upgrade" else command.downgrade
    run(config, revision)


@cache
def head_revision() -> str:
    """Give the revision this release needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package was built without its migrations")
    return head


@cache
def _known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
