"""One view of both stores for the behaviour suites: a worker's three ports, and what other services and time do."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from consumer.adapters.memory.history import MemoryHistory, MemoryRetention
from consumer.adapters.memory.journal import MemoryJournal
from consumer.adapters.memory.llm_calls import MemoryCalls
from consumer.adapters.memory.outbox import MemoryOutbox
from consumer.adapters.memory.queue import MemoryQueue
from consumer.adapters.memory.strategy_rows import MemoryStrategies
from consumer.adapters.memory.tables import MemoryTables
from consumer.adapters.postgres.history import open_history
from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.llm_calls import PostgresCalls
from consumer.adapters.postgres.outbox import PostgresOutbox
from consumer.adapters.postgres.pool import open_pool
from consumer.adapters.postgres.queue import PostgresQueue
from consumer.adapters.postgres.retention import open_retention
from consumer.adapters.postgres.strategy_rows import open_strategies
from consumer.ports import Outbox, RequestJournal, RunQueue
from consumer.ports.advice import CallLedger
from consumer.ports.history import History
from consumer.ports.retention import RetentionTables
from consumer.ports.strategy_rows import StrategyRows
from tests.support.messages import STRATEGY, event_writer

LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
RUN: dict[str, Any] = {
    "symbol": "EURUSD",
    "timeframe": "H1",
    "start_date": "2024-01-01T00:00:00+00:00",
    "end_date": "2024-02-01T00:00:00+00:00",
}


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    journal: RequestJournal
    queue: RunQueue
    outbox: Outbox
    calls: CallLedger


class Store(Protocol):
    """A database without anything in it but one strategy, number 1."""

    async def worker(self, name: str = "worker", lease_seconds: float = LEASE_SECONDS) -> WorkerPorts: ...

    async def add_strategy(self, **columns: Any) -> int: ...

    async def add_run(self, **columns: Any) -> int: ...

    async def change_run(self, run_id: int, **columns: Any) -> None: ...

    async def change_execution(self, run_id: int, **columns: Any) -> None: ...

    async def delete_run(self, run_id: int) -> None: ...

    async def delete_strategy(self, strategy_id: int) -> None: ...

    async def lapse(self, run_id: int | None = None) -> None:
        """Let the leases of running runs (of all, or of one) run out."""
        ...

    async def lapse_events(self) -> None: ...

    async def keep_cancel(self, run_id: int | None, request_id: str | None, reason: str | None) -> None:
        """Store a cancel as a transaction does that does not see the request yet."""
        ...

    def holding(self, run_id: int) -> AbstractAsyncContextManager[None]:
        """A client outside keeps the run's row locked."""
        ...

    def holding_strategy(self, strategy_id: int) -> AbstractAsyncContextManager[None]:
        """A client outside keeps the strategy's row locked."""
        ...

    async def run(self, run_id: int) -> dict[str, Any] | None: ...

    async def runs(self) -> list[int]: ...

    async def execution(self, run_id: int) -> dict[str, Any]: ...

    async def trades(self, run_id: int) -> int: ...

    async def request(self, request_id: str) -> dict[str, Any] | None: ...

    async def unsent(self) -> list[tuple[str, int | None, int, str]]:
        """kind, run_id, sequence, owner of the outbox, oldest first."""
        ...

    def history(self) -> AbstractAsyncContextManager[History]: ...

    def retention(self) -> AbstractAsyncContextManager[RetentionTables]: ...

    def strategy_rows(self) -> AbstractAsyncContextManager[StrategyRows]: ...


@dataclass(slots=True)
class MemoryStore:
    """Implements `Store` over `MemoryTables`."""

    tables: MemoryTables = field(default_factory=MemoryTables)

    def __post_init__(self) -> None:
        self.tables.add_strategy(**STRATEGY)

    async def worker(self, name: str = "worker", lease_seconds: float = LEASE_SECONDS) -> WorkerPorts:
        writer = event_writer(self.tables.clock)
        return WorkerPorts(
            MemoryJournal(self.tables, writer, name, lease_seconds),
            MemoryQueue(self.tables, writer, name, lease_seconds, MAX_ATTEMPTS),
            MemoryOutbox(self.tables, name, lease_seconds),
            MemoryCalls(self.tables),
        )

    async def add_strategy(self, **columns: Any) -> int:
        return self.tables.add_strategy(**{**STRATEGY, **columns})

    async def add_run(self, **columns: Any) -> int:
        return self.tables.add_run(**parsed_times({"strategy_id": 1, **RUN, **columns}))

    async def change_run(self, run_id: int, **columns: Any) -> None:
        self.tables.change_run(run_id, **parsed_times(columns))

    async def change_execution(self, run_id: int, **columns: Any) -> None:
        self.tables.executions[run_id] = {**self.tables.executions[run_id], **columns}

    async def delete_run(self, run_id: int) -> None:
        self.tables.delete_run(run_id)

    async def delete_strategy(self, strategy_id: int) -> None:
        self.tables.delete_strategy(strategy_id)

    async def lapse(self, run_id: int | None = None) -> None:
        for number, row in self.tables.executions.items():
            if row["state"] == "running" and run_id in {None, number}:
                self.tables.executions[number] = {**row, "lease_until": self.tables.lease_until(-1.0)}

    async def lapse_events(self) -> None:
        for row_id, row in self.tables.outbox.items():
            self.tables.outbox[row_id] = {**row, "lease_until": self.tables.lease_until(-1.0)}

    async def keep_cancel(self, run_id: int | None, request_id: str | None, reason: str | None) -> None:
        target = run_id if run_id is not None else request_id
        assert target is not None
        self.tables.cancels[target] = reason

    def holding(self, run_id: int) -> AbstractAsyncContextManager[None]:
        return self.tables.holding(run_id)

    def holding_strategy(self, strategy_id: int) -> AbstractAsyncContextManager[None]:
        return self.tables.holding_strategy(strategy_id)

    async def run(self, run_id: int) -> dict[str, Any] | None:
        return self.tables.runs.get(run_id)

    async def runs(self) -> list[int]:
        return sorted(self.tables.runs)

    async def execution(self, run_id: int) -> dict[str, Any]:
        return self.tables.executions[run_id]

    async def trades(self, run_id: int) -> int:
        return len(self.tables.trades.get(run_id, ()))

    async def request(self, request_id: str) -> dict[str, Any] | None:
        return self.tables.requests.get(request_id)

    async def unsent(self) -> list[tuple[str, int | None, int, str]]:
        rows = [self.tables.outbox[row_id] for row_id in sorted(self.tables.outbox)]
        return [(row["event"].kind.value, row["event"].run_id, row["event"].sequence, row["owner"]) for row in rows]

    def history(self) -> AbstractAsyncContextManager[History]:
        return nullcontext(MemoryHistory(self.tables))

    def retention(self) -> AbstractAsyncContextManager[RetentionTables]:
        return nullcontext(MemoryRetention(self.tables))

    def strategy_rows(self) -> AbstractAsyncContextManager[StrategyRows]:
        return nullcontext(MemoryStrategies(self.tables))


@dataclass(slots=True)
class PostgresStore:
    """Implements `Store` over a migrated database."""

    database_url: str
    outside: Any
    """A pool of its own: the other services."""
    stack: AsyncExitStack

    async def worker(self, name: str = "worker", lease_seconds: float = LEASE_SECONDS) -> WorkerPorts:
        pool = await self.stack.enter_async_context(open_pool(self.database_url, max_connections=8, name=name))
        writer = event_writer()
        return WorkerPorts(
            PostgresJournal(pool, writer, name, lease_seconds),
            PostgresQueue(pool, writer, name, lease_seconds, MAX_ATTEMPTS),
            PostgresOutbox(pool, name, lease_seconds),
            PostgresCalls(pool),
        )

    async def add_strategy(self, **columns: Any) -> int:
        count = await self.outside.fetchval("SELECT count(*) FROM strategies")
        return await self._insert("strategies", {"name": f"strategy {count + 1}", **STRATEGY, **columns})

    async def add_run(self, **columns: Any) -> int:
        return await self._insert("backtest_runs", parsed_times({"strategy_id": 1, **RUN, **columns}))

    async def _insert(self, table: str, columns: dict[str, Any]) -> int:
        places = ", ".join(f"${index}" for index in range(1, len(columns) + 1))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) RETURNING id"
        return int(await self.outside.fetchval(statement, *columns.values()))

    async def change_run(self, run_id: int, **columns: Any) -> None:
        await self._update("backtest_runs", "id", run_id, parsed_times(columns))

    async def change_execution(self, run_id: int, **columns: Any) -> None:
        await self._update("backtest_executions", "run_id", run_id, columns)

    async def _update(self, table: str, key: str, value: int, columns: dict[str, Any]) -> None:
        changes = ", ".join(f"{name} = ${index}" for index, name in enumerate(columns, start=2))
        await self.outside.execute(f"UPDATE {table} SET {changes} WHERE {key} = $1", value, *columns.values())

    async def delete_run(self, run_id: int) -> None:
        await self.outside.execute("DELETE FROM backtest_runs WHERE id = $1", run_id)

    async def delete_strategy(self, strategy_id: int) -> None:
        await self.outside.execute("DELETE FROM strategies WHERE id = $1", strategy_id)

    async def lapse(self, run_id: int | None = None) -> None:
        await self.outside.execute(
            "UPDATE backtest_executions SET lease_until = now() - interval '1 s'"
            " WHERE state = 'running' AND ($1::int IS NULL OR run_id = $1)",
            run_id,
        )

    async def lapse_events(self) -> None:
        await self.outside.execute("UPDATE backtest_outbox SET lease_until = now() - interval '1 s'")

    async def keep_cancel(self, run_id: int | None, request_id: str | None, reason: str | None) -> None:
        await self.outside.execute(
            "INSERT INTO backtest_cancels (run_id, request_id, reason, topic, partition, kafka_offset)"
            " VALUES ($1, $2, $3, 'backtest.cancel_requested', 0, 0)",
            run_id,
            request_id,
            reason,
        )

    @asynccontextmanager
    async def holding(self, run_id: int) -> AsyncIterator[None]:
        async with self.outside.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM backtest_runs WHERE id = $1 FOR UPDATE", run_id)
            yield

    @asynccontextmanager
    async def holding_strategy(self, strategy_id: int) -> AsyncIterator[None]:
        async with self.outside.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM strategies WHERE id = $1 FOR UPDATE", strategy_id)
            yield

    async def run(self, run_id: int) -> dict[str, Any] | None:
        row = await self.outside.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", run_id)
        return dict(row) if row is not None else None

    async def runs(self) -> list[int]:
        return [row["id"] for row in await self.outside.fetch("SELECT id FROM backtest_runs ORDER BY id")]

    async def execution(self, run_id: int) -> dict[str, Any]:
        return dict(await self.outside.fetchrow("SELECT * FROM backtest_executions WHERE run_id = $1", run_id))

    async def clear(self) -> None:
        await self.outside.execute(f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE")
        await self.add_strategy()

    async def change_all(self, *, cancelled: bool) -> None:
        """Cancel every run by its row."""
        if cancelled:
            await self.outside.execute("UPDATE backtest_runs SET status = 'cancelled'")

    async def trades(self, run_id: int) -> int:
        return int(await self.outside.fetchval("SELECT count(*) FROM backtest_trades WHERE run_id = $1", run_id))

    async def request(self, request_id: str) -> dict[str, Any] | None:
        row = await self.outside.fetchrow("SELECT * FROM backtest_requests WHERE request_id = $1", request_id)
        return dict(row) if row is not None else None

    async def unsent(self) -> list[tuple[str, int | None, int, str]]:
        rows = await self.outside.fetch("SELECT kind, run_id, sequence, owner FROM backtest_outbox ORDER BY id")
        return [(row["kind"], row["run_id"], row["sequence"], row["owner"]) for row in rows]

    def history(self) -> AbstractAsyncContextManager[History]:
        return open_history(self.database_url)

    def retention(self) -> AbstractAsyncContextManager[RetentionTables]:
        return open_retention(self.database_url)

    def strategy_rows(self) -> AbstractAsyncContextManager[StrategyRows]:
        return open_strategies(self.database_url)


TABLES = (
    "strategies, backtest_runs, backtest_trades, backtest_requests, backtest_executions, backtest_cancels,"
    " backtest_outbox, backtest_results, optimization_runs, backtest_searches, backtest_search_shards,"
    " backtest_llm_calls, backtest_llm_limits"
)


@asynccontextmanager
async def open_postgres_store(database_url: str) -> AsyncIterator[PostgresStore]:
    """The store over a migrated database, emptied first."""
    async with AsyncExitStack() as stack:
        outside = await asyncpg.create_pool(database_url.replace("+asyncpg", ""), min_size=1, max_size=6)
        stack.push_async_callback(outside.close)
        store = PostgresStore(database_url, outside, stack)
        await store.clear()
        yield store


def parsed_times(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name in {"start_date", "end_date"} and isinstance(value, str) else value
        for name, value in columns.items()
    }
