"""What the tables tell of runs, of the requests behind them and of strategies. No worker needs any of it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from consumer.adapters.postgres.connecting import Connector
from consumer.adapters.postgres.dates import readable_dates
from consumer.adapters.postgres.pool import Connection, Pool, translated
from consumer.database_url import read_database_url
from consumer.errors import StartFailed
from consumer.ports.history import EVERY_RUN, NEWEST_FIRST, Row, RunFilter, RunOrder, RunPlace
from consumer.ports.search_history import SearchFilter
from consumer.rules.columns import (
    ALL_RUN_COLUMNS,
    EXECUTION_COLUMNS,
    LLM_CALL_COLUMNS,
    SORT_COLUMNS,
    STRATEGY_COLUMNS,
)
from consumer.rules.endings import stored_specification
from consumer.rules.search_specification import request_of_best, specification_of_best


@dataclass(frozen=True, slots=True)
class PostgresHistory:
    """Implements `History`."""

    connection: Connection | Pool

    async def runs(
        self,
        wanted: RunFilter = EVERY_RUN,
        order: RunOrder = NEWEST_FIRST,
        *,
        limit: int = 50,
        after: RunPlace | None = None,
    ) -> Sequence[Row]:
        if order.column not in SORT_COLUMNS:
            raise ValueError(f"runs cannot be sorted by {order.column!r}")
        arguments: list[Any] = []
        conditions = [*filters(wanted, arguments), *_behind(order, after, arguments)]
        arguments.append(limit)
        direction = "DESC" if order.descending else "ASC"
        return await self._fetch(
            f"{_RUNS} WHERE {' AND '.join(conditions) or 'true'}"
            f" ORDER BY r.{order.column} {direction} NULLS LAST, r.id {direction} LIMIT ${len(arguments)}",
            *arguments,
        )

    async def run(self, run_id: int) -> Row | None:
        found = await self._fetch(f"{_RUNS} WHERE r.id = $1", run_id)
        return found[0] if found else None

    async def result_of(self, run_id: int) -> Row | None:
        found = await self._fetch(
            "SELECT metrics, artifacts, duration_seconds FROM backtest_results WHERE run_id = $1", run_id
        )
        as_stored = ("metrics", "artifacts")
        return {**found[0], **{name: json.loads(found[0][name]) for name in as_stored}} if found else None

    async def warnings_of(self, run_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        rows = await self._fetch(
            "SELECT run_id, metrics FROM backtest_results WHERE run_id = ANY($1::bigint[])", list(run_ids)
        )
        told = {row["run_id"]: json.loads(row["metrics"]).get("warnings") for row in rows}
        return {run_id: warnings for run_id, warnings in told.items() if warnings}

    async def trades(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        return await self._fetch(
            "SELECT * FROM backtest_trades WHERE run_id = $1 AND id > $2 ORDER BY id LIMIT $3", run_id, after, limit
        )

    async def llm_calls(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        return await self._fetch(
            f"SELECT {', '.join(LLM_CALL_COLUMNS)} FROM backtest_llm_calls"
            " WHERE run_id = $1 AND number > $2 ORDER BY number LIMIT $3",
            run_id,
            after,
            limit,
        )

    async def request_of(self, run_id: int) -> Row | None:
        found = await self._fetch(_ACCEPTED.format(column="data"), run_id)
        return dict(json.loads(found[0]["data"])) if found else None

    async def request_of_best(self, run_id: int) -> Row | None:
        found = await self._fetch(_BEST_OF, run_id)
        if not found:
            return None
        search = found[0]
        best = json.loads(search["best_params"])
        return request_of_best(search["strategy_key"], json.loads(search["data"]), search, best)

    async def specification_of(self, run_id: int) -> Row | None:
        found = await self._fetch(_ACCEPTED.format(column="specification"), run_id)
        if found:
            return dict(json.loads(found[0]["specification"])["engine"])
        of_search = await self._fetch(_BEST_OF, run_id)
        if not of_search:
            return None
        engine = json.loads(of_search[0]["specification"])["engine"]
        return specification_of_best(engine, json.loads(of_search[0]["best_params"]))

    async def run_of_specification(self, strategy_id: int, specification: Row) -> Row | None:
        found = await self._fetch(
            f"{_RUNS} WHERE r.strategy_id = $1 AND r.symbol = $2 AND r.status = 'completed' AND EXISTS (SELECT 1"
            " FROM backtest_requests q WHERE q.run_id = r.id AND q.outcome = 'accepted' AND q.specification = $3)"
            " ORDER BY r.id DESC LIMIT 1",
            strategy_id,
            specification["symbol"],
            stored_specification(strategy_id, dict(specification)),
        )
        return found[0] if found else None

    async def accepted_requests(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        rows = await self._fetch(
            "SELECT r.request_id, r.run_id, r.source, r.data FROM backtest_requests r"
            " JOIN backtest_executions e ON e.run_id = r.run_id"
            " WHERE r.outcome = 'accepted' AND ($1::timestamptz IS NULL OR r.received_at >= $1)"
            " AND ($2::timestamptz IS NULL OR r.received_at < $2) AND ($3::text IS NULL OR e.state = $3)"
            " ORDER BY r.received_at, r.request_id",
            since,
            until,
            state,
        )
        return [{**row, "data": json.loads(row["data"])} for row in rows]

    async def known_requests(self, request_ids: Sequence[str]) -> Mapping[str, bytes]:
        rows = await self._fetch(
            "SELECT request_id, content_hash FROM backtest_requests WHERE request_id = ANY($1::text[])",
            list(request_ids),
        )
        return {row["request_id"]: bytes(row["content_hash"]) for row in rows}

    async def rejected_requests(self, *, limit: int) -> Sequence[Row]:
        rows = await self._fetch(
            "SELECT request_id, received_at, source, data, error FROM backtest_requests"
            " WHERE outcome = 'rejected' ORDER BY received_at DESC, request_id LIMIT $1",
            limit,
        )
        return [_rejection(row) for row in rows]

    async def strategies(self) -> Sequence[Row]:
        return await self._fetch(f"SELECT {', '.join(STRATEGY_COLUMNS)} FROM strategies ORDER BY id")

    async def strategy(self, strategy_id: int) -> Row | None:
        found = await self._fetch(f"SELECT {', '.join(STRATEGY_COLUMNS)} FROM strategies WHERE id = $1", strategy_id)
        return found[0] if found else None

    async def _fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        with translated():
            return [dict(row) for row in await self.connection.fetch(statement, *arguments)]


# The best run of a search has no execution: what is shown of one stands in its result.
_OF_BEST: Final = {
    "epoch": "substring(b.artifacts from 'runs/' || r.id || '/([0-9]+)/')::int",
    **{name: f"b.metrics::json ->> '{name}'" for name in ("result_digest", "strategy_version")},
}
_EXECUTED: Final = ", ".join(
    f"coalesce(e.{name}, {_OF_BEST[name]}) AS {name}" if name in _OF_BEST else f"e.{name}" for name in EXECUTION_COLUMNS
)
_RUNS: Final = f"""
    SELECT {readable_dates(", ".join(f"r.{name}" for name in ALL_RUN_COLUMNS))}, s.name AS strategy_name,
        s.strategy_key, {_EXECUTED}
    FROM backtest_runs r
    JOIN strategies s ON s.id = r.strategy_id
    LEFT JOIN backtest_executions e ON e.run_id = r.id
    LEFT JOIN backtest_results b ON e.run_id IS NULL AND b.run_id = r.id
"""
_BEST_OF: Final = """
    SELECT q.specification, q.data, o.best_params, o.volume, o.risk_pct, s.strategy_key FROM optimization_runs o
    JOIN strategies s ON s.id = o.strategy_id
    JOIN backtest_requests q ON q.optimization_id = o.id AND q.outcome = 'accepted'
    WHERE o.best_run_id = $1 AND o.best_params IS NOT NULL
"""
_ACCEPTED: Final = "SELECT {column} FROM backtest_requests WHERE run_id = $1 AND outcome = 'accepted'"


def filters(wanted: RunFilter | SearchFilter, arguments: list[Any]) -> list[str]:
    """Conditions for a filter's fields on the row, which is called r; appends what their places stand for."""
    compared = {
        "r.strategy_id =": wanted.strategy_id,
        "upper(r.symbol) =": None if wanted.symbol is None else wanted.symbol.upper(),
        "r.timeframe =": wanted.timeframe,
        "r.status =": wanted.status,
        "r.created_at >=": wanted.created_after,
        "r.created_at <": wanted.created_before,
        "r.total_trades >=": wanted.min_trades if isinstance(wanted, RunFilter) else None,
    }
    conditions = [f"{left} {_place(value, arguments)}" for left, value in compared.items() if value is not None]
    for word in wanted.words.split():
        like = _place(f"%{_literally(word)}%", arguments)
        conditions.append(f"(s.name ILIKE {like} OR r.symbol ILIKE {like} OR r.id::text = {_place(word, arguments)})")
    return conditions


def _behind(order: RunOrder, after: RunPlace | None, arguments: list[Any]) -> list[str]:
    """The condition that a run stands behind a place: nulls come last, in either direction."""
    if after is None:
        return []
    sign = "<" if order.descending else ">"
    beyond = f"r.id {sign} {_place(after.run_id, arguments)}"
    column = f"r.{order.column}"
    if after.value is None:
        return [f"({column} IS NULL AND {beyond})"]
    value = _place(after.value, arguments)
    return [f"({column} {sign} {value} OR ({column} = {value} AND {beyond}) OR {column} IS NULL)"]


def _place(value: Any, arguments: list[Any]) -> str:
    arguments.append(value)
    return f"${len(arguments)}"


def _literally(word: str) -> str:
    """The word for LIKE, where these three characters mean something else."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _rejection(row: Row) -> dict[str, Any]:
    problems = [{"field": field, "code": code, "message": message} for field, code, message in json.loads(row["error"])]
    told = {name: row[name] for name in ("request_id", "received_at", "source")}
    return {**told, "data": json.loads(row["data"]), "problems": problems}


@asynccontextmanager
async def open_history(database_url: str) -> AsyncIterator[PostgresHistory]:
    """The history of one database, over one connection."""
    async with connected(database_url) as connection:
        yield PostgresHistory(connection)


@asynccontextmanager
async def connected(database_url: str, *, read_only: bool = True) -> AsyncIterator[Connection]:
    """A connection for a command. Raises StoreUnavailable, and StartFailed where the tables are not there."""
    settings = {"default_transaction_read_only": "on"} if read_only else {}
    connector = Connector(
        read_database_url(database_url), "backtest-cli", settings, writes=not read_only, command_seconds=60.0
    )
    try:
        with translated():
            connection = await connector.connect()
            try:
                yield connection
            finally:
                await connection.close(timeout=2)
    except Exception as error:
        if isinstance(error.__cause__, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
            raise StartFailed("the database does not have this release's tables: run `backtest migrate`") from error
        raise
