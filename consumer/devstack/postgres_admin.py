"""What is asked of a running Postgres server, wherever it runs: readiness, databases, cutting connections."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import asyncpg

DATABASE = "backtest"
USER = "backtest"
CONNECT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    host: str
    port: int
    password: str

    def database_url(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}:{self.password}@{self.host}:{self.port}/{database}"


async def is_ready(address: PostgresAddress) -> bool:
    """Whether the server answers a query; it makes the stack's own database on the way."""
    try:
        await _create_own_database(address)
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        return False
    return True


async def _create_own_database(address: PostgresAddress) -> None:
    connection = await _connect(address)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


async def new_database(address: PostgresAddress, template_url: str | None) -> str:
    name = f"database_{secrets.token_hex(6)}"
    template = database_name(template_url) if template_url else "template0"
    connection = await _connect(address)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return address.database_url(name)


async def drop_database(address: PostgresAddress, database_url: str) -> None:
    connection = await _connect(address)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{database_name(database_url)}" WITH (FORCE)')
    finally:
        await connection.close()


async def terminate_connections(address: PostgresAddress, database_url: str | None) -> int:
    connection = await _connect(address)
    try:
        closed: int | None = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND ($1::text IS NULL OR datname = $1)",
            database_name(database_url) if database_url else None,
        )
        return closed or 0
    finally:
        await connection.close()


def database_name(database_url: str) -> str:
    return database_url.rsplit("/", 1)[1].partition("?")[0]


async def _connect(address: PostgresAddress) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=address.host,
        port=address.port,
        user=USER,
        password=address.password,
        database="postgres",
        timeout=CONNECT_TIMEOUT_SECONDS,
        ssl=False,
    )
