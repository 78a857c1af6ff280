"""The worker's connections to Postgres, and the one place where its driver's errors become ours.

The worker's statements are written once as SQL and run on asyncpg: SQLAlchemy's own cost for a statement (0.16 to 0.3
ms against 0.05) is more than most of them take. The tables they name are those of `schema.tables`, and tests run
every one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, BinaryIO, Protocol

import asyncpg

from consumer.errors import StoreTooSlow, StoreUnavailable

COMMAND_TIMEOUT_SECONDS = 30.0
"""Longest wait for one statement: a silent network is an error, not a hang."""

IDLE_IN_TRANSACTION_SECONDS = 15.0
"""A worker that is stopped (SIGSTOP) inside a transaction keeps its locks for so long: on a run's row, on the sweep."""

Row = Mapping[str, Any]
"""Column -> value, as the driver reads it."""


class Connection(Protocol):
    """What is used of a connection of asyncpg, which has no types of its own. One statement at a time."""

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
        source: BinaryIO,
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


_PLANS = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"), "off")
"""Every statement of a worker looks up a few rows by an index. With statistics that are late (a queue
that filled within a minute) the planner would scan and sort 100 000 rows for a claim of one."""


def driver_dsn(database_url: str) -> str:
    """The URL without SQLAlchemy's driver suffix, as asyncpg reads it."""
    scheme, separator, rest = database_url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


@asynccontextmanager
async def open_pool(
    database_url: str,
    *,
    max_connections: int,
    name: str,
    idle_in_transaction_seconds: float = IDLE_IN_TRANSACTION_SECONDS,
) -> AsyncIterator[Pool]:
    """A pool that connects on demand, so that it can be opened while the server is away."""
    pool: Any = asyncpg.create_pool(
        driver_dsn(database_url),
        min_size=0,
        max_size=max_connections,
        max_inactive_connection_lifetime=300.0,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        timeout=10.0,
        reset=_leave_as_it_is,
        server_settings={
            "application_name": name[:63],
            "idle_in_transaction_session_timeout": str(round(idle_in_transaction_seconds * 1000)),
            "jit": "off",
            "timezone": "UTC",
            **_PLANS,
        },
    )
    await pool
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), timeout=1.0)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()


async def _leave_as_it_is(_connection: Connection) -> None:
    """Spare the round trip in which the driver forgets settings, cursors, listeners and session locks: nothing here
    makes any. An open transaction is rolled back all the same.
    """


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One transaction on a connection of its own. Raises StoreUnavailable where trying again may help."""
    with translated():
        async with pool.acquire(timeout=10.0) as connection, connection.transaction():
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
