"""What the tables tell of searches. No worker needs any of it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from consumer.adapters.postgres.dates import readable_dates
from consumer.adapters.postgres.history import connected, filters
from consumer.adapters.postgres.pool import Connection, Pool, translated
from consumer.adapters.postgres.search_statements import TRIES
from consumer.ports.search_history import EVERY_SEARCH, Row, SearchFilter, SearchPlace
from consumer.rules.columns import ALL_SEARCH_COLUMNS, LONG_SEARCH_COLUMNS, SEARCH_JSON_COLUMNS


@dataclass(frozen=True, slots=True)
class PostgresSearchHistory:
    """Implements `SearchHistory`."""

    connection: Connection | Pool

    async def searches(
        self,
        wanted: SearchFilter = EVERY_SEARCH,
        *,
        limit: int,
        after: SearchPlace | None = None,
        descending: bool = True,
    ) -> Sequence[Row]:
        columns = [name for name in ALL_SEARCH_COLUMNS if name not in LONG_SEARCH_COLUMNS]
        direction, sign = ("DESC", "<") if descending else ("ASC", ">")
        arguments: list[Any] = [limit]
        conditions = filters(wanted, arguments)
        if after is not None:
            arguments += [after.created_at, after.optimization_id]
            conditions.append(f"(r.created_at, r.id) {sign} (${len(arguments) - 1}, ${len(arguments)})")
        return await self._fetch(
            f"{_select(columns)} WHERE {' AND '.join(conditions) or 'true'}"
            f" ORDER BY r.created_at {direction}, r.id {direction} LIMIT $1",
            *arguments,
        )

    async def search(self, optimization_id: int) -> Row | None:
        found = await self._fetch(
            f"{_select(ALL_SEARCH_COLUMNS, ', a.data AS request')}"
            " LEFT JOIN backtest_requests a ON a.request_id = q.request_id WHERE r.id = $1",
            optimization_id,
        )
        return found[0] if found else None

    async def accepted_searches(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        with translated():
            rows = await self.connection.fetch(_ACCEPTED, since, until, state)
        return [{**row, "data": json.loads(row["data"])} for row in rows]

    async def tries(self, strategy_id: int, symbol: str, start: datetime, end: datetime) -> int:
        with translated():
            return int(await self.connection.fetchval(TRIES, strategy_id, symbol, start, end))

    async def _fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        with translated():
            rows = await self.connection.fetch(statement, *arguments)
        return [{name: _parsed(name, value) for name, value in row.items()} for row in rows]


def _select(columns: Sequence[str], more: str = "") -> str:
    return (
        f"SELECT {readable_dates(', '.join(f'r.{name}' for name in columns))}, s.name AS strategy_name,"
        f" s.strategy_key, q.request_id, q.result_digest, q.engine_version{more}"
        " FROM optimization_runs r JOIN strategies s ON s.id = r.strategy_id"
        " LEFT JOIN backtest_searches q ON q.optimization_id = r.id"
    )


def _parsed(name: str, value: Any) -> Any:
    """JSON columns as what they say; one of another service that is no JSON as it is."""
    if (name != "request" and name not in SEARCH_JSON_COLUMNS) or value is None:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


_ACCEPTED: Final = """
SELECT q.request_id, q.optimization_id, q.source, q.data
FROM backtest_requests q JOIN backtest_searches s ON s.request_id = q.request_id
WHERE q.outcome = 'accepted' AND q.is_search AND ($1::timestamptz IS NULL OR q.received_at >= $1)
  AND ($2::timestamptz IS NULL OR q.received_at < $2) AND ($3::text IS NULL OR s.state = $3)
ORDER BY q.received_at, q.request_id
"""


@asynccontextmanager
async def open_search_history(database_url: str) -> AsyncIterator[PostgresSearchHistory]:
    """The searches of one database, over one connection."""
    async with connected(database_url) as connection:
        yield PostgresSearchHistory(connection)
