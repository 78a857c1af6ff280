"""Adds and changes rows of `strategies`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from consumer.adapters.postgres.history import connected
from consumer.adapters.postgres.pool import Connection, Pool, translated
from consumer.errors import NameTaken
from consumer.rules.columns import STRATEGY_COLUMNS


@dataclass(frozen=True, slots=True)
class PostgresStrategies:
    """Implements `StrategyRows`."""

    connection: Connection | Pool

    async def add(self, columns: Mapping[str, Any]) -> int:
        names = _known(columns)
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        statement = f"INSERT INTO strategies ({', '.join(names)}) VALUES ({places}) RETURNING id"
        return int(await self._fetchval(statement, columns, *columns.values()))

    async def change(self, strategy_id: int, columns: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> bool:
        changes = ", ".join(f"{name} = ${number}" for number, name in enumerate(_known(columns), start=2))
        before = {name: seen[name] for name in STRATEGY_COLUMNS} if seen is not None else {}
        as_seen = [
            f" AND {name} IS NOT DISTINCT FROM ${number}" for number, name in enumerate(before, start=2 + len(columns))
        ]
        statement = f"UPDATE strategies SET {changes} WHERE id = $1{''.join(as_seen)} RETURNING id"
        arguments = (strategy_id, *columns.values(), *before.values())
        return await self._fetchval(statement, columns, *arguments) is not None

    async def _fetchval(self, statement: str, columns: Mapping[str, Any], *arguments: Any) -> Any:
        try:
            with translated():
                return await self.connection.fetchval(statement, *arguments)
        except asyncpg.UniqueViolationError as error:
            raise NameTaken(str(columns.get("name"))) from error


@asynccontextmanager
async def open_strategies(database_url: str) -> AsyncIterator[PostgresStrategies]:
    """The rows of one database, over one connection."""
    async with connected(database_url, read_only=False) as connection:
        yield PostgresStrategies(connection)


def _known(columns: Mapping[str, Any]) -> list[str]:
    unknown = sorted(columns.keys() - set(STRATEGY_COLUMNS))
    if unknown or not columns:
        raise ValueError(f"no columns of strategies: {', '.join(unknown) or 'none given'}")
    return list(columns)
