"""What commands read of the tables: runs, their trades, the requests behind them. No worker needs any of it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from consumer.adapters.postgres.pool import Connection, driver_dsn, translated
from consumer.errors import StartFailed

_RUNS = """
    SELECT r.*, s.name AS strategy_name, e.request_id, e.epoch, e.attempts, e.queued_at, e.started_at, e.finished_at,
        e.result_digest, e.engine_version
    FROM backtest_runs r
    JOIN strategies s ON s.id = r.strategy_id
    LEFT JOIN backtest_executions e ON e.run_id = r.id
"""


async def recent_runs(database_url: str, limit: int, status: str | None = None) -> list[dict[str, Any]]:
    """The newest runs first: columns of backtest_runs, strategy_name, and the execution's, null without a request."""
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            f"{_RUNS} WHERE $1::text IS NULL OR r.status = $1 ORDER BY r.created_at DESC, r.id DESC LIMIT $2",
            status,
            limit,
        )
    return [dict(row) for row in rows]


async def find_run(database_url: str, run_id: int) -> dict[str, Any] | None:
    """One run, as `recent_runs` gives it."""
    async with connected(database_url) as connection:
        row = await connection.fetchrow(f"{_RUNS} WHERE r.id = $1", run_id)
    return None if row is None else dict(row)


async def trades_of(database_url: str, run_id: int) -> list[dict[str, Any]]:
    """The run's trades in the order they were booked."""
    async with connected(database_url) as connection:
        rows = await connection.fetch("SELECT * FROM backtest_trades WHERE run_id = $1 ORDER BY id", run_id)
    return [dict(row) for row in rows]


async def request_of(database_url: str, run_id: int) -> dict[str, Any] | None:
    """The content of the accepted request behind a run."""
    async with connected(database_url) as connection:
        text = await connection.fetchval(
            "SELECT data FROM backtest_requests WHERE run_id = $1 AND outcome = 'accepted'",
            run_id,
        )
    return None if text is None else dict(json.loads(text))


async def specification_of(database_url: str, run_id: int) -> dict[str, Any] | None:
    """What a run executed, as it was admitted; None where no request for it was accepted."""
    async with connected(database_url) as connection:
        text = await connection.fetchval(
            "SELECT specification FROM backtest_requests WHERE run_id = $1 AND outcome = 'accepted'",
            run_id,
        )
    return None if text is None else dict(json.loads(text)["engine"])


async def accepted_requests(
    database_url: str, since: datetime | None, until: datetime | None, status: str | None = None
) -> list[dict[str, Any]]:
    """Accepted requests received in since <= time < until, the oldest first: request_id, run_id, source, data.

    data: the content, as an object. status: of the run now; completed, failed, cancelled, running or queued.
    """
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            "SELECT r.request_id, r.run_id, r.source, r.data FROM backtest_requests r"
            " JOIN backtest_executions e ON e.run_id = r.run_id"
            " WHERE r.outcome = 'accepted' AND ($1::timestamptz IS NULL OR r.received_at >= $1)"
            " AND ($2::timestamptz IS NULL OR r.received_at < $2) AND ($3::text IS NULL OR e.state = $3)"
            " ORDER BY r.received_at, r.request_id",
            since,
            until,
            status,
        )
    return [{**dict(row), "data": json.loads(row["data"])} for row in rows]


async def known_requests(database_url: str, request_ids: Sequence[str]) -> dict[str, bytes]:
    """Content hash by request id, of those among the ids that were ever taken, accepted or rejected."""
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            "SELECT request_id, content_hash FROM backtest_requests WHERE request_id = ANY($1::text[])",
            list(request_ids),
        )
    return {row["request_id"]: bytes(row["content_hash"]) for row in rows}


async def rejected_requests(database_url: str, limit: int) -> list[dict[str, Any]]:
    """The newest rejections first: request_id, received_at, source, data (as sent), problems (field, code, message)."""
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            "SELECT request_id, received_at, source, data, error FROM backtest_requests"
            " WHERE outcome = 'rejected' ORDER BY received_at DESC, request_id LIMIT $1",
            limit,
        )
    return [
        {
            "request_id": row["request_id"],
            "received_at": row["received_at"],
            "source": row["source"],
            "data": json.loads(row["data"]),
            "problems": [
                {"field": field, "code": code, "message": message} for field, code, message in json.loads(row["error"])
            ],
        }
        for row in rows
    ]


async def add_strategy(database_url: str, name: str, strategy_key: str, params: dict[str, Any], timeframe: str) -> int:
    """Add a strategy row and return its id: for demos and tests, the table is other services' to fill."""
    async with connected(database_url, read_only=False) as connection:
        row_id = await connection.fetchval(
            "INSERT INTO strategies (name, strategy_key, strategy_params, primary_tf) VALUES ($1, $2, $3, $4)"
            " RETURNING id",
            name,
            strategy_key,
            json.dumps(params),
            timeframe,
        )
    return int(row_id)


@asynccontextmanager
async def connected(database_url: str, *, read_only: bool = True) -> AsyncIterator[Connection]:
    """A connection for a command. Raises StoreUnavailable, and StartFailed where the tables are not there."""
    try:
        with translated():
            connection = await asyncpg.connect(
                driver_dsn(database_url),
                timeout=10,
                command_timeout=60,
                server_settings={
                    "application_name": "backtest-cli",
                    "default_transaction_read_only": "on" if read_only else "off",
                    "timezone": "UTC",
                },
            )
            try:
                yield connection
            finally:
                await connection.close(timeout=2)
    except Exception as error:
        if isinstance(error.__cause__, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
            raise StartFailed("the database does not have this release's tables: run `backtest migrate`") from error
        raise
