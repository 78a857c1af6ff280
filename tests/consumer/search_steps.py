"""What the suites of searches share: a worker's two ports on either store, and what other services do to the tables."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.adapters.memory.searches import MemorySearchTables
from consumer.adapters.postgres.pool import open_pool
from consumer.adapters.postgres.searches import PostgresSearchTables
from consumer.optimization.journal import SearchRecorder
from consumer.optimization.keeper import SearchKeeper
from consumer.ports import IntakeResult
from consumer.ports.search_tables import SearchTables
from consumer.ports.searches import BestRun, Found, RangeDone, SearchToRecord, ShardClaim, Surveyed
from consumer.rules.delivery import of_search
from tests.consumer.stores import LEASE_SECONDS, MAX_ATTEMPTS, MemoryStore, PostgresStore, Store
from tests.support.messages import ADMIT_SEARCH, completed, event_writer, search, search_event_writer

ROW: dict[str, Any] = {
    "symbol": "EURUSD",
    "timeframe": "H1",
    "start_date": datetime(2024, 1, 1, tzinfo=UTC),
    "end_date": datetime(2024, 2, 1, tzinfo=UTC),
    "param_grid": json.dumps({"fast": [5, 10], "slow": [20, 30, 40]}),
}


@dataclass(frozen=True, slots=True)
class Searching:
    """A worker."""

    keeper: SearchKeeper
    recorder: SearchRecorder

    async def record(self, *searches: SearchToRecord) -> IntakeResult:
        return await self.recorder.record_searches(searches, ADMIT_SEARCH)

    async def queue(self, *names: str, **data: Any) -> list[int]:
        return list((await self.record(*(search(name, **data) for name in names))).new_runs)

    async def claim_one(self) -> ShardClaim:
        [claim] = (await self.keeper.claim(1)).claims
        return claim

    async def surveyed(self, total: int = 6, name: str = "search-1", **data: Any) -> ShardClaim:
        """The first range of a new search."""
        await self.queue(name, **data)
        await self.keeper.finish(await self.claim_one(), Surveyed(total, total, {"numbering": None}))
        return await self.claim_one()

    async def gathering(self, **data: Any) -> ShardClaim:
        """The last step of a new search, all else done."""
        claim = await self.surveyed(**data)
        while claim.kind == "range":
            await self.keeper.finish(claim, RangeDone(f"{claim.number}.parquet", 0, 0.1))
            claim = await self.claim_one()
        return claim


async def searching(store: Store, name: str = "worker", *, progress_seconds: float = 0.0) -> Searching:
    tables: SearchTables
    if isinstance(store, MemoryStore):
        clock = store.tables.clock
        tables = MemorySearchTables(store.tables, name, LEASE_SECONDS)
        events, letters = search_event_writer(clock), event_writer(clock)
    else:
        assert isinstance(store, PostgresStore)
        pool = await store.stack.enter_async_context(open_pool(store.database_url, max_connections=8, name=name))
        tables = PostgresSearchTables(pool, name, LEASE_SECONDS)
        events, letters = search_event_writer(), event_writer()
    keeper = SearchKeeper(tables, events, name, LEASE_SECONDS, MAX_ATTEMPTS, progress_seconds)
    return Searching(keeper, SearchRecorder(tables, keeper, events, letters))


async def row(store: Store, optimization_id: int) -> dict[str, Any] | None:
    if isinstance(store, MemoryStore):
        return store.tables.optimizations.get(optimization_id)
    return await _fetch_one(store, "SELECT * FROM optimization_runs WHERE id = $1", optimization_id)


async def kept(store: Store, optimization_id: int) -> dict[str, Any]:
    if isinstance(store, MemoryStore):
        return store.tables.searches[optimization_id]
    found = await _fetch_one(store, "SELECT * FROM backtest_searches WHERE optimization_id = $1", optimization_id)
    assert found is not None
    return found


async def _fetch_one(store: Store, statement: str, number: int) -> dict[str, Any] | None:
    assert isinstance(store, PostgresStore)
    found = await store.outside.fetchrow(statement, number)
    return dict(found) if found is not None else None


async def add_row(store: Store, **columns: Any) -> int:
    values = {"strategy_id": 1, **ROW, **columns}
    if isinstance(store, MemoryStore):
        return store.tables.add_optimization(**values)
    assert isinstance(store, PostgresStore)
    places = ", ".join(f"${at}" for at in range(1, len(values) + 1))
    statement = f"INSERT INTO optimization_runs ({', '.join(values)}) VALUES ({places}) RETURNING id"
    return int(await store.outside.fetchval(statement, *values.values()))


async def set_status(store: Store, optimization_id: int, status: str) -> None:
    await change_row(store, optimization_id, status=status)


async def change_row(store: Store, optimization_id: int, **columns: Any) -> None:
    if isinstance(store, MemoryStore):
        table = store.tables.optimizations
        table[optimization_id] = {**table[optimization_id], **columns}
        return
    assert isinstance(store, PostgresStore)
    changes = ", ".join(f"{name} = ${at}" for at, name in enumerate(columns, start=2))
    statement = f"UPDATE optimization_runs SET {changes} WHERE id = $1"
    await store.outside.execute(statement, optimization_id, *columns.values())


async def change_search(store: Store, optimization_id: int, **columns: Any) -> None:
    """Of backtest_searches."""
    if isinstance(store, MemoryStore):
        table = store.tables.searches
        table[optimization_id] = {**table[optimization_id], **columns}
        return
    assert isinstance(store, PostgresStore)
    changes = ", ".join(f"{name} = ${at}" for at, name in enumerate(columns, start=2))
    statement = f"UPDATE backtest_searches SET {changes} WHERE optimization_id = $1"
    await store.outside.execute(statement, optimization_id, *columns.values())


async def delete_row(store: Store, optimization_id: int) -> None:
    if isinstance(store, MemoryStore):
        del store.tables.optimizations[optimization_id]
        return
    assert isinstance(store, PostgresStore)
    await store.outside.execute("DELETE FROM optimization_runs WHERE id = $1", optimization_id)


async def lapse(store: Store) -> None:
    """Let all leases of shards run out."""
    if isinstance(store, MemoryStore):
        past = store.tables.lease_until(-1.0)
        for key, shard in store.tables.shards.items():
            if shard["state"] == "running":
                store.tables.shards[key] = {**shard, "lease_until": past}
        return
    assert isinstance(store, PostgresStore)
    await store.outside.execute(
        "UPDATE backtest_search_shards SET lease_until = now() - interval '1 s' WHERE state = 'running'"
    )


async def unsent(store: Store, optimization_id: int) -> list[tuple[str, int]]:
    """kind and sequence of the search's events that wait."""
    return [(kind, sequence) for kind, key, sequence, _ in await store.unsent() if key == of_search(optimization_id)]


def found(**changes: Any) -> Found:
    columns = {
        "best_params": {"fast": 5, "slow": 20},
        "best_value": 1.5,
        "robust_params": None,
        "results": [],
        "statistics": {"trials": 6},
        "results_file_path": "/artifacts/searches/1/results.parquet",
    }
    fields: dict[str, Any] = {
        "columns": columns,
        "result_digest": "ab" * 32,
        "engine_version": "1",
        "warnings": (),
        "duration_seconds": 1.0,
    }
    return Found(**{**fields, **changes})


def best_run(run_id: int, claim: ShardClaim) -> BestRun:
    columns = {
        "strategy_id": claim.facts.strategy_id,
        "symbol": claim.facts.symbol,
        "timeframe": claim.facts.timeframe,
        "start_date": ROW["start_date"],
        "end_date": ROW["end_date"],
        "initial_balance": 10_000.0,
        "spread_pips": 1.5,
        "execution_mode": "close_price",
        "primary_tf": claim.facts.timeframe,
        "context_tfs": "[]",
        "max_llm_calls": 0,
        "commission_per_lot": 0.0,
        "tp_partial_close_ratio": 0.5,
    }
    from types import SimpleNamespace

    outcome = completed(SimpleNamespace(run_id=run_id, epoch=1))  # type: ignore[arg-type]  # all it reads of a claim
    return BestRun(run_id, columns, outcome)
