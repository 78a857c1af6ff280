"""The worker's connections to Postgres, and the one place where its driver's errors become ours.

The worker's statements are written once as SQL and run on asyncpg: SQLAlchemy's own cost for a statement (0.16 to 0.3
ms against 0.05) is more than most of them take. The tables they name are those of `schema.tables`, and tests run
every one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from consumer.adapters.postgres.connecting import Connector, Session, read_only_trouble
from consumer.database_url import read_database_url
from consumer.errors import StoreBusy, StoreTooSlow, StoreUnavailable

COMMAND_TIMEOUT_SECONDS = 30.0
"""Longest wait for one statement: a silent network is an error, not a hang."""

RELEASE_SECONDS = 5.0
"""Longest wait for a connection to be fit for the next one: that of a statement given up is told so by the server."""

IDLE_IN_TRANSACTION_SECONDS = 15.0
"""A worker that is stopped (SIGSTOP) inside a transaction keeps its locks for so long: on a run's row, on the sweep."""

Row = Mapping[str, Any]
"""Column -> value, as the driver reads it."""


class Connection(Protocol):
    """What is used of a connection of asyncpg, which has no types of its own. One statement at a time."""

    @property
    def settings_of_transactions(self) -> str:
        """What each transaction has to begin with."""
        ...

    async def fetch(self, query: str, *arguments: object) -> Sequence[Row]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *arguments: object) -> Row | None:
        """The first row; None: there is none."""
        ...

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """The first row's first column; None also where there is no row."""
        ...

    async def execute(self, query: str, *arguments: object) -> str:
        """The command's tag, `UPDATE 1`."""
        ...

    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: AsyncIterator[bytes],
        columns: Sequence[str],
        format: str,  # noqa: A002 - asyncpg's word
    ) -> str: ...

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]: ...


class Pool(Protocol):
    """What is used of a pool of such connections; each of these statements is a transaction of its own."""

    async def fetch(self, query: str, *arguments: object) -> Sequence[Row]: ...

    async def fetchval(self, query: str, *arguments: object) -> Any: ...

    async def execute(self, query: str, *arguments: object) -> str: ...

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]: ...

    def get_max_size(self) -> int: ...

    @property
    def patience_seconds(self) -> float:
        """For a connection to be had."""
        ...


_PLANS: Mapping[str, str] = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"), "off"
)
"""Every statement of a worker looks up a few rows by an index. With statistics that are late (a queue
that filled within a minute) the planner would scan and sort 100 000 rows for a claim of one."""

FREE_PLANS: Mapping[str, str] = {}


@asynccontextmanager
async def open_pool(
    database_url: str,
    *,
    max_connections: int,
    name: str,
    idle_in_transaction_seconds: float = IDLE_IN_TRANSACTION_SECONDS,
    plans: Mapping[str, str] = _PLANS,
    command_seconds: float = COMMAND_TIMEOUT_SECONDS,
) -> AsyncIterator["SessionPool"]:
    """A pool of sessions that write; it connects on demand, so that it can be opened while the server is away.

    plans: settings of the planner; FREE_PLANS for who reads whole tables.
    """
    connector = Connector(
        read_database_url(database_url),
        name,
        {"idle_in_transaction_session_timeout": str(round(idle_in_transaction_seconds * 1000)), "jit": "off", **plans},
        writes=True,
        command_seconds=command_seconds,
    )
    pool: Any = asyncpg.create_pool(
        min_size=0,
        max_size=max_connections,
        max_inactive_connection_lifetime=300.0,
        connect=connector.connect,
        connection_class=Session,
        reset=_leave_as_it_is,
    )
    await pool
    try:
        yield SessionPool(pool, connector)
    finally:
        try:
            await asyncio.wait_for(pool.close(), timeout=1.0)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()


async def _leave_as_it_is(_connection: Connection) -> None:
    """Spare the round trip in which the driver forgets settings, cursors, listeners and session locks: nothing here
    makes any. An open transaction is rolled back all the same.
    """


@dataclass(frozen=True, slots=True)
class SessionPool:
    """Implements `Pool`: transactions have the pool's settings whoever holds the session, and a server that takes no
    writes any more is left.
    """

    pool: Any
    connector: Connector

    @property
    def patience_seconds(self) -> float:
        return self.connector.patience_seconds

    @property
    def is_behind_pooler(self) -> bool:
        """As the last connection found it."""
        return self.connector.behind_pooler

    def get_max_size(self) -> int:
        size: int = self.pool.get_max_size()
        return size

    async def fetch(self, query: str, *arguments: object) -> Sequence[Row]:
        async with self._statement() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        async with self._statement() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> str:
        async with self._statement() as connection:
            return await connection.execute(query, *arguments)

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Connection]:  # noqa: ASYNC109 - asyncpg's word
        """A connection. Once it has met a server that refuses to write, every connection is made anew: after a
        failover each of them leads to what is a standby now.
        """
        try:
            connection = await self.pool.acquire(timeout=timeout)
            try:
                yield connection
            finally:
                await self.pool.release(connection, timeout=RELEASE_SECONDS)
        except asyncpg.ReadOnlySQLTransactionError:
            await self.pool.expire_connections()
            raise

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[Connection]:
        """For one statement, which is a transaction by itself where it needs no settings."""
        async with self.acquire() as connection:
            if not connection.settings_of_transactions:
                yield connection
                return
            async with begun(connection):
                yield connection

    async def check_writable(self) -> None:
        """Make sure that the server answers and takes writes. Raises StoreUnavailable, and leaves one that does not."""
        with translated():
            (row,) = await self.fetch(
                "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,"
                " pg_is_in_recovery() AS is_standby"
            )
        if row["is_read_only"]:
            await self.pool.expire_connections()
            raise StoreUnavailable(f"Postgres {read_only_trouble(is_standby=row['is_standby'])}")


@asynccontextmanager
async def begun(connection: Connection) -> AsyncIterator[None]:
    """A transaction with the settings that its session does not hold."""
    async with connection.transaction():
        if connection.settings_of_transactions:
            await connection.execute(connection.settings_of_transactions)
        yield


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One transaction on a connection of its own. Raises StoreUnavailable where trying again may help."""
    with translated():
        async with pool.acquire(timeout=pool.patience_seconds) as connection, begun(connection):
            yield connection


async def server_time(pool: Pool) -> datetime:
    """The database's clock. Raises StoreUnavailable."""
    with translated():
        found: datetime = await pool.fetchval("SELECT clock_timestamp()")
        return found


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a server that is away, overloaded or interrupted makes asyncpg raise into StoreUnavailable.

    Whatever is not known to be about the data that were being written counts as the server's: a deadlock, a missing
    table or right, which somebody mends while the worker waits, a sequence at its end, an internal error, a word of a
    later Postgres. To wait too long loses nothing; to take a server's trouble for the record's would throw valid
    requests away.
    """
    try:
        yield
    except asyncpg.SequenceGeneratorLimitExceededError as error:
        raise StoreUnavailable(first_line(f"Postgres has no number left for a new row: {error}")) from error
    except asyncpg.LockNotAvailableError as error:
        raise StoreBusy(first_line(f"Postgres: {error}")) from error
    except asyncpg.QueryCanceledError as error:
        raise StoreTooSlow(first_line(f"Postgres: {error}")) from error
    except _ABOUT_THE_DATA:
        raise
    except asyncpg.ProtocolViolationError as error:
        if "invalid message length" in str(error):  # a statement longer than the server reads
            raise
        raise StoreUnavailable(first_line(f"Postgres: {type(error).__name__}: {error}")) from error
    except (asyncpg.PostgresError, OSError, TimeoutError, asyncpg.InternalClientError) as error:
        raise StoreUnavailable(first_line(f"Postgres: {type(error).__name__}: {error}")) from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # the driver's word for an argument that the column cannot hold
            raise
        # The driver's own word for a connection that went away under a statement or a pool that was closing.
        raise StoreUnavailable(first_line(f"Postgres connection: {error}")) from error


def first_line(text: str) -> str:
    return text.partition("\n")[0]


_ABOUT_THE_DATA: tuple[type[BaseException], ...] = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.CardinalityViolationError,
    asyncpg.WithCheckOptionViolationError,
    asyncpg.PLPGSQLError,
)
"""A value out of range, a broken constraint, a row too long for an index, a trigger's refusal: trying again is
useless."""
