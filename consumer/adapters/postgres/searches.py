"""Searches in Postgres. Implements `SearchTables`.

Whoever takes or ends a step locks the search's row first: what is done to one search is done one after the other, each
in a few milliseconds. Heartbeats lock shards only, and none that somebody else is at. Ending a search locks the row of
optimization_runs before the search; everything else leaves that row alone where it is locked.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from consumer.adapters.postgres import search_statements as statements
from consumer.adapters.postgres.endings import EventOwner, events_of, store_events
from consumer.adapters.postgres.pool import Connection, Pool, Row, transaction, translated
from consumer.adapters.postgres.queue import copy_trades
from consumer.adapters.postgres.taken_ids import pass_taken_ids
from consumer.adapters.postgres.taken_requests import known_hashes, taken_requests
from consumer.errors import StoreUnavailable
from consumer.ports import CancelToRecord, OutgoingEvent, StrategyRow
from consumer.ports.outcomes import Completed
from consumer.ports.posting import KnownHashes, TakenRequest
from consumer.ports.queue import BeatResult
from consumer.ports.search_tables import Kept, SearchRecord
from consumer.ports.searches import LapsedShard, SearchRow, ShardClaim, ShardKey
from consumer.rules.columns import RUN_COLUMNS, SEARCH_COLUMNS
from consumer.rules.delivery import of_search
from consumer.rules.endings import asked_to_stop

GREATEST_ID = 2**31 - 1
STRATEGY_FIELDS = [each.name for each in fields(StrategyRow)]


@dataclass(frozen=True, slots=True)
class PostgresSearchTables:
    """On a pool of asyncpg connections."""

    pool: Pool
    owner: str
    lease_seconds: float

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[PostgresSearchTransaction]":
        async with transaction(self.pool) as connection:
            await connection.execute(statements.LOCK_PATIENCE)
            yield PostgresSearchTransaction(connection, EventOwner(self.owner, self.lease_seconds))

    async def count_with_work(self) -> int:
        with translated():
            return int(await self.pool.fetchval(statements.COUNT_WITH_WORK))

    async def lapsed(self) -> frozenset[LapsedShard]:
        with translated():
            rows = await self.pool.fetch(statements.LAPSED)
        return frozenset(
            LapsedShard((row["optimization_id"], row["number"]), row["epoch"], row["lease_until"]) for row in rows
        )

    async def beat(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        with translated():
            await self.pool.execute(statements.BEAT, *_keys(claims), self.lease_seconds)
        return await self.look(claims)

    async def look(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        with translated():
            rows = await self.pool.fetch(statements.LOOK, *_keys(claims))
        return {
            (row["optimization_id"], row["number"]): asked_to_stop(row["is_ours"], row["status"], row["cancel"])
            for row in rows
        }

    async def give_back(self, claim: ShardClaim) -> bool:
        with translated():
            given = await self.pool.fetchval(
                statements.GIVE_BACK, claim.facts.optimization_id, claim.number, claim.epoch
            )
        return given is not None

    async def forget_unknown(self, known: Collection[ShardKey]) -> int:
        with translated():
            rows = await self.pool.fetch(
                statements.FORGET_UNKNOWN, self.owner, [key[0] for key in known], [key[1] for key in known]
            )
        return len(rows)


@dataclass(frozen=True, slots=True)
class PostgresSearchTransaction:
    """Implements `SearchTransaction` on a connection inside its transaction."""

    connection: Connection
    event_owner: EventOwner

    # --- requests -------------------------------------------------------------------------------------------------

    async def known_hashes(self, request_ids: Sequence[str]) -> KnownHashes:
        return known_hashes(await self.connection.fetch(statements.KNOWN_HASHES, list(request_ids)))

    async def taken(self, request_ids: Sequence[str]) -> Mapping[str, TakenRequest]:
        return await taken_requests(self.connection, request_ids)

    async def search_rows(self, ids: Sequence[int]) -> Mapping[int, SearchRow]:
        rows = await self.connection.fetch(statements.LOAD_ROWS, list(ids)) if ids else []
        return {
            row["id"]: SearchRow(
                row["id"], row["status"], row["has_search"], {name: row[name] for name in SEARCH_COLUMNS}
            )
            for row in rows
        }

    async def strategies(self, ids: Sequence[int]) -> tuple[Mapping[int, StrategyRow], Collection[int]]:
        rows = await self.connection.fetch(statements.LOAD_STRATEGIES, list(ids)) if ids else []
        found = {row["id"]: StrategyRow(**{name: row[name] for name in STRATEGY_FIELDS}) for row in rows}
        return found, {row["id"] for row in rows if row["is_locked"]}

    async def next_search_ids(self, count: int) -> Sequence[int]:
        return await self._next_ids("optimization_runs", count)

    async def next_run_id(self) -> int:
        return (await self._next_ids("backtest_runs", 1))[0]

    async def _next_ids(self, table: str, count: int) -> list[int]:
        """From the table's own sequence; those that another service took by hand are passed over."""
        ids: list[int] = []
        while len(ids) < count:
            rows = await self.connection.fetch(statements.NEXT_IDS.format(table=table), count - len(ids))
            if rows[0]["id"] is None:
                raise StoreUnavailable(f"Postgres: {table}.id has no sequence of its own to number new rows with")
            if rows[-1]["id"] > GREATEST_ID:
                raise StoreUnavailable(f"Postgres: the sequence of {table}.id is beyond what the column holds")
            ids += [row["id"] for row in rows if not row["is_taken"]]
            if all(row["is_taken"] for row in rows):
                await pass_taken_ids(self.connection, table)
        return ids

    async def kept_cancels(self, ids: Sequence[int], request_ids: Sequence[str]) -> Mapping[int | str, str | None]:
        rows = await self.connection.fetch(statements.KEPT_CANCELS, list(ids), list(request_ids))
        return {row["optimization_id"] or row["request_id"]: row["reason"] for row in rows}

    async def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        ordered = sorted(cancels, key=lambda cancel: (cancel.optimization_id or 0, cancel.request_id or ""))
        await self.connection.execute(
            statements.KEEP_CANCELS,
            [cancel.optimization_id for cancel in ordered],
            [cancel.request_id for cancel in ordered],
            [cancel.reason for cancel in ordered],
            [cancel.record.topic for cancel in ordered],
            [cancel.record.partition for cancel in ordered],
            [cancel.record.offset for cancel in ordered],
        )

    async def insert_requests(self, records: Sequence[SearchRecord]) -> bool:
        ordered = sorted(records, key=lambda record: record.request.request_id)  # one order in every worker
        inserted = await self.connection.fetch(
            statements.INSERT_REQUESTS,
            [each.request.request_id for each in ordered],
            [each.request.record.topic for each in ordered],
            [each.request.record.partition for each in ordered],
            [each.request.record.offset for each in ordered],
            [each.request.content_hash for each in ordered],
            [each.outcome for each in ordered],
            [each.optimization_id for each in ordered],
            [each.request.source for each in ordered],
            [each.request.data for each in ordered],
            [each.specification for each in ordered],
            [each.error for each in ordered],
            [each.emitted_hash for each in ordered],
        )
        return len(inserted) == len(records)

    async def decide_waiting(self, records: Sequence[SearchRecord]) -> None:
        await self.connection.execute(
            statements.DECIDE_WAITING,
            [each.request.request_id for each in records],
            [each.outcome for each in records],
            [each.optimization_id for each in records],
            [each.specification for each in records],
            [each.error for each in records],
        )

    async def waiting(self) -> Sequence[Row]:
        return await self.connection.fetch(statements.PICK_WAITING)

    async def insert_row(self, optimization_id: int, columns: Mapping[str, Any]) -> bool:
        return await self._insert("optimization_runs", {"id": optimization_id, **columns}) is not None

    async def insert_search(
        self, optimization_id: int, request_id: str, source: str, max_workers: int | None, *, is_named: bool
    ) -> bool:
        made = await self.connection.fetchval(
            statements.INSERT_SEARCH, optimization_id, request_id, source, max_workers, is_named
        )
        return made is not None

    # --- searches and shards --------------------------------------------------------------------------------------

    async def with_work(self, limit: int) -> Sequence[int]:
        return _ids(await self.connection.fetch(statements.WITH_WORK, limit))

    async def to_be_ended(self, limit: int) -> Sequence[int]:
        return _ids(await self.connection.fetch(statements.TO_BE_ENDED, limit))

    async def named_by(self, cancels: Sequence[CancelToRecord]) -> Sequence[int]:
        ids = [cancel.optimization_id for cancel in cancels if cancel.optimization_id is not None]
        request_ids = [cancel.request_id for cancel in cancels if cancel.request_id is not None]
        return _ids(await self.connection.fetch(statements.NAMED_BY, ids, request_ids))

    async def load(self, optimization_id: int) -> Kept | None:
        if await self.connection.fetchval(statements.LOCK_SEARCH, optimization_id) is None:
            return None
        row = await self.connection.fetchrow(statements.LOAD, optimization_id)
        if row is None:
            return None
        return Kept(row, row["specification"] or "", row["row_status"], row["cancel"], row["now"])

    async def open_shards(self, optimization_id: int) -> Sequence[Row]:
        return await self.connection.fetch(statements.OPEN_SHARDS, optimization_id)

    async def shard(self, key: ShardKey) -> Row | None:
        return await self.connection.fetchrow(statements.ONE_SHARD, *key)

    async def results(self, optimization_id: int) -> Sequence[Mapping[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(statements.RESULTS, optimization_id)]

    async def save(self, optimization_id: int, search: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]) -> None:
        columns = {name: value for name, value in search.items() if name not in {"optimization_id", "request_id"}}
        await self._update("backtest_searches", "optimization_id", optimization_id, columns)
        if shards:
            names = [name.strip() for name in statements.SHARD.split(",")]
            await self.connection.execute(
                statements.SAVE_SHARDS, optimization_id, *([shard[name] for shard in shards] for name in names)
            )

    async def trials_before(self, optimization_id: int) -> int:
        return int(await self.connection.fetchval(statements.TRIALS_BEFORE, optimization_id))

    # --- the shared rows ------------------------------------------------------------------------------------------

    async def show(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        places = ", ".join(f"{name} = ${at}" for at, name in enumerate(columns, start=2))
        await self.connection.execute(
            f"UPDATE optimization_runs SET {places} WHERE id IN (SELECT id FROM optimization_runs WHERE id = $1"
            " AND status IN ('pending', 'running') FOR NO KEY UPDATE SKIP LOCKED)",
            optimization_id,
            *columns.values(),
        )

    async def lock_row(self, optimization_id: int) -> str | None:
        status: str | None = await self.connection.fetchval(statements.LOCK_ROW, optimization_id)
        return status

    async def write_row(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        await self._update("optimization_runs", "id", optimization_id, columns)

    async def insert_best_run(self, run_id: int, columns: Mapping[str, Any], outcome: Completed) -> None:
        configuration = {name: columns[name] for name in RUN_COLUMNS}
        shown = {"status": "completed", "progress_pct": 100, "data_file_path": outcome.data_file_path}
        made = await self._insert("backtest_runs", {"id": run_id, **configuration, **shown, **outcome.columns})
        if made is None:
            raise StoreUnavailable(f"another service has put a run {run_id} in meanwhile")
        if outcome.trade_count:
            await copy_trades(self.connection, outcome)
        await self.connection.execute(
            statements.INSERT_RESULT,
            run_id,
            json.dumps(outcome.metrics),
            json.dumps(outcome.artifacts),
            outcome.duration_seconds,
        )

    async def _insert(self, table: str, columns: Mapping[str, Any]) -> int | None:
        places = ", ".join(f"${at}" for at in range(1, len(columns) + 1))
        made: int | None = await self.connection.fetchval(
            f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES ({places})"
            " ON CONFLICT (id) DO NOTHING RETURNING id",
            *columns.values(),
        )
        return made

    async def _update(self, table: str, key: str, number: int, columns: Mapping[str, Any]) -> None:
        places = ", ".join(f"{name} = ${at}" for at, name in enumerate(columns, start=2))
        await self.connection.execute(f"UPDATE {table} SET {places} WHERE {key} = $1", number, *columns.values())

    # --- events ---------------------------------------------------------------------------------------------------

    async def take_over(self, optimization_id: int) -> Sequence[OutgoingEvent]:
        owner = self.event_owner
        rows = await self.connection.fetch(
            statements.TAKE_OVER, of_search(optimization_id), owner.name, owner.lease_seconds
        )
        return events_of(rows)

    async def store_events(self, events: Iterable[OutgoingEvent]) -> Sequence[OutgoingEvent]:
        return await store_events(self.connection, list(events), self.event_owner)


def _keys(claims: Sequence[ShardClaim]) -> tuple[list[int], list[int], list[int]]:
    return (
        [claim.facts.optimization_id for claim in claims],
        [claim.number for claim in claims],
        [claim.epoch for claim in claims],
    )


def _ids(rows: Sequence[Row]) -> list[int]:
    return [row["optimization_id"] for row in rows]
