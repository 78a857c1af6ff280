"""Searches in memory: what `postgres.searches` does, without a server. Implements `SearchTables`."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from consumer.adapters.memory.journal import known_hashes
from consumer.adapters.memory.posts import taken_requests
from consumer.adapters.memory.tables import MemoryTables, Row
from consumer.errors import StoreUnavailable
from consumer.ports import CancelToRecord, EventKind, OutgoingEvent, StrategyRow
from consumer.ports.outcomes import Completed
from consumer.ports.posting import KnownHashes, TakenRequest
from consumer.ports.queue import BeatResult
from consumer.ports.search_tables import Kept, SearchRecord
from consumer.ports.searches import LapsedShard, SearchRow, ShardClaim, ShardKey
from consumer.rules.columns import SEARCH_COLUMNS
from consumer.rules.delivery import of_search
from consumer.rules.endings import asked_to_stop
from consumer.rules.searches import SearchState
from schemas.cancelled import REASON_REQUESTED

_STRATEGY_FIELDS = [each.name for each in fields(StrategyRow)]
_SEARCH_DEFAULTS = {each.name: each.default for each in fields(SearchState)}


@dataclass(frozen=True, slots=True)
class MemorySearchTables:
    """One worker's view of the searches in `tables`."""

    tables: MemoryTables
    owner: str
    lease_seconds: float

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[MemorySearchTransaction]":
        async with self.tables.transaction():
            yield MemorySearchTransaction(self.tables, self.owner, self.lease_seconds)

    async def count_with_work(self) -> int:
        async with self.transaction() as at:
            return len(await at.with_work(10**9))

    async def lapsed(self) -> frozenset[LapsedShard]:
        async with self.tables.transaction():
            return frozenset(
                LapsedShard(key, shard["epoch"], shard["lease_until"])
                for key, shard in self.tables.shards.items()
                if shard["state"] == "running" and self.tables.has_lapsed(shard)
            )

    async def beat(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        async with self.tables.transaction():
            for claim in claims:
                shard = self.tables.shards.get(claim.key)
                if shard is not None and shard["epoch"] == claim.epoch and shard["state"] == "running":
                    until = self.tables.lease_until(self.lease_seconds)
                    self.tables.shards[claim.key] = {**shard, "lease_until": until}
        return await self.look(claims)

    async def look(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        async with self.transaction() as at:
            return {claim.key: at.looked_at(claim) for claim in claims}

    async def give_back(self, claim: ShardClaim) -> bool:
        async with self.tables.transaction():
            shard = self.tables.shards.get(claim.key)
            if shard is None or shard["epoch"] != claim.epoch or shard["state"] != "running":
                return False
            self.tables.shards[claim.key] = {**shard, "state": "queued", "owner": None, "lease_until": None}
            return True

    async def forget_unknown(self, known: Collection[ShardKey]) -> int:
        async with self.tables.transaction():
            forgotten = [
                key
                for key, shard in self.tables.shards.items()
                if shard["state"] == "running" and shard["owner"] == self.owner and key not in known
            ]
            for key in forgotten:
                free = {"state": "queued", "owner": None, "lease_until": None}
                self.tables.shards[key] = {**self.tables.shards[key], **free}
            return len(forgotten)


@dataclass(frozen=True, slots=True)
class MemorySearchTransaction:
    """Implements `SearchTransaction`: others come between two transactions, never into one."""

    tables: MemoryTables
    owner: str
    lease_seconds: float

    # --- requests -------------------------------------------------------------------------------------------------

    async def known_hashes(self, request_ids: Sequence[str]) -> KnownHashes:
        known = known_hashes(self.tables)
        return {name: known[name] for name in request_ids if name in known}

    async def taken(self, request_ids: Sequence[str]) -> Mapping[str, TakenRequest]:
        return taken_requests(self.tables, request_ids)

    async def search_rows(self, ids: Sequence[int]) -> Mapping[int, SearchRow]:
        return {
            number: SearchRow(
                number,
                self.tables.optimizations[number]["status"],
                number in self.tables.searches,
                {name: self.tables.optimizations[number][name] for name in SEARCH_COLUMNS},
            )
            for number in ids
            if number in self.tables.optimizations
        }

    async def strategies(self, ids: Sequence[int]) -> tuple[Mapping[int, StrategyRow], Collection[int]]:
        found = {
            number: StrategyRow(**{name: self.tables.strategies[number][name] for name in _STRATEGY_FIELDS})
            for number in ids
            if number in self.tables.strategies
        }
        return found, found.keys() - self.tables.held_strategies

    async def next_search_ids(self, count: int) -> Sequence[int]:
        ids: list[int] = []
        while len(ids) < count:
            number = self.tables.next_id("optimizations")
            if number not in self.tables.optimizations:
                ids.append(number)
        return ids

    async def next_run_id(self) -> int:
        return self.tables.next_run_id()

    async def kept_cancels(self, ids: Sequence[int], request_ids: Sequence[str]) -> Mapping[int | str, str | None]:
        cancels, of_searches = self.tables.cancels, self.tables.search_cancels
        by_request: dict[int | str, str | None] = {name: cancels[name] for name in request_ids if name in cancels}
        return {**by_request, **{number: of_searches[number] for number in ids if number in of_searches}}

    async def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        for cancel in cancels:
            if cancel.optimization_id is not None:
                self.tables.search_cancels.setdefault(cancel.optimization_id, cancel.reason)
                search = self.tables.searches.get(cancel.optimization_id)
                if search is not None and not search["is_named"] and search["state"] in {"queued", "running"}:
                    self.tables.cancels.setdefault(search["request_id"], cancel.reason)
            elif cancel.request_id is not None:
                self.tables.cancels.setdefault(cancel.request_id, cancel.reason)

    async def insert_requests(self, records: Sequence[SearchRecord]) -> bool:
        if any(record.request.request_id in self.tables.requests for record in records):
            return False
        for record in records:
            request = record.request
            self.tables.requests[request.request_id] = {
                "request_id": request.request_id,
                "topic": request.record.topic,
                "partition": request.record.partition,
                "kafka_offset": request.record.offset,
                "content_hash": request.content_hash,
                "source": request.source,
                "data": request.data,
                "received_at": self.tables.clock.now_utc(),
                "run_id": None,
                "is_search": True,
                "emitted_hash": record.emitted_hash,
            }
        await self.decide_waiting(records)
        return True

    async def decide_waiting(self, records: Sequence[SearchRecord]) -> None:
        for record in records:
            name = record.request.request_id
            self.tables.requests[name] = {
                **self.tables.requests[name],
                "outcome": record.outcome,
                "optimization_id": record.optimization_id,
                "specification": record.specification,
                "error": record.error,
            }

    async def waiting(self) -> Sequence[Row]:
        rows = [row for row in self.tables.requests.values() if row["outcome"] == "waiting" and row.get("is_search")]
        return [row for row in rows if json.loads(row["data"])["strategy_id"] not in self.tables.held_strategies]

    async def insert_row(self, optimization_id: int, columns: Mapping[str, Any]) -> bool:
        if optimization_id in self.tables.optimizations:
            return False
        self.tables.add_optimization(optimization_id, **columns)
        return True

    async def insert_search(
        self, optimization_id: int, request_id: str, source: str, max_workers: int | None, *, is_named: bool
    ) -> bool:
        if optimization_id in self.tables.searches:
            return False
        self.tables.searches[optimization_id] = {
            **_SEARCH_DEFAULTS,
            "optimization_id": optimization_id,
            "request_id": request_id,
            "source": source,
            "max_workers": max_workers,
            "is_named": is_named,
            "queued_at": self.tables.clock.now_utc(),
        }
        return True

    # --- searches and shards --------------------------------------------------------------------------------------

    async def with_work(self, limit: int) -> Sequence[int]:
        found = []
        for number, search in self.tables.searches.items():
            shards = self._open(number)
            at_work = sum(shard["state"] == "running" for shard in shards)
            has_step = search["state"] == "queued" or search["given"] < search["released"] or at_work < len(shards)
            is_open = search["state"] in {"queued", "running"}
            if is_open and has_step and (search["max_workers"] is None or at_work < search["max_workers"]):
                found.append((at_work, search["queued_at"], number))
        return [number for *_, number in sorted(found)[:limit]]

    def _open(self, optimization_id: int) -> list[Row]:
        return [
            shard
            for (number, _), shard in sorted(self.tables.shards.items())
            if number == optimization_id and shard["state"] in {"queued", "running"}
        ]

    async def to_be_ended(self, limit: int) -> Sequence[int]:
        found = []
        for number, search in self.tables.searches.items():
            status = self.tables.optimizations.get(number, {}).get("status")
            is_cancelled = status not in {"pending", "running"} or self._cancel(search) is not None
            if search["state"] in {"queued", "running"} and is_cancelled:
                found.append(number)
        return sorted(found)[:limit]

    async def named_by(self, cancels: Sequence[CancelToRecord]) -> Sequence[int]:
        ids = {cancel.optimization_id for cancel in cancels if cancel.optimization_id is not None}
        names = {cancel.request_id for cancel in cancels if cancel.request_id is not None}
        return sorted(
            number
            for number, search in self.tables.searches.items()
            if search["state"] in {"queued", "running"} and (number in ids or search["request_id"] in names)
        )

    def _cancel(self, search: Row) -> str | None:
        number, name = search["optimization_id"], search["request_id"]
        if search["is_named"] and number in self.tables.search_cancels:
            return self.tables.search_cancels[number] or REASON_REQUESTED
        return (self.tables.cancels[name] or REASON_REQUESTED) if name in self.tables.cancels else None

    async def load(self, optimization_id: int) -> Kept | None:
        search = self.tables.searches.get(optimization_id)
        if search is None:
            return None
        row = self.tables.optimizations.get(optimization_id)
        specification = self.tables.requests[search["request_id"]]["specification"] or ""
        status = row["status"] if row is not None else None
        return Kept(search, specification, status, self._cancel(search), self.tables.clock.now_utc())

    async def open_shards(self, optimization_id: int) -> Sequence[Row]:
        return self._open(optimization_id)

    async def shard(self, key: ShardKey) -> Row | None:
        return self.tables.shards.get(key)

    async def results(self, optimization_id: int) -> Sequence[Row]:
        done = [
            {"first": shard["first"], "last": shard["last"], "file": shard["results_file"], "error": shard["error"]}
            for (number, _), shard in self.tables.shards.items()
            if number == optimization_id and shard["kind"] == "range" and shard["state"] == "done"
        ]
        return sorted(done, key=lambda each: each["first"])

    async def save(self, optimization_id: int, search: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]) -> None:
        self.tables.searches[optimization_id] = {**self.tables.searches[optimization_id], **search}
        for shard in shards:
            self.tables.shards[optimization_id, shard["number"]] = dict(shard)

    async def trials_before(self, optimization_id: int) -> int:
        this = self.tables.optimizations[optimization_id]
        key = self.tables.strategies[this["strategy_id"]]["strategy_key"]
        best = {row["best_run_id"] for row in self.tables.optimizations.values()}
        searches = [
            row["completed_combinations"]
            for row in self.tables.optimizations.values()
            if self._is_alike(row, this, key) and (row["created_at"], row["id"]) < (this["created_at"], optimization_id)
        ]
        runs = [
            row
            for row in self.tables.runs.values()
            if row["status"] == "completed"
            and row["id"] not in best
            and self._is_alike(row, this, key)
            and row["created_at"] < this["created_at"]
        ]
        return int(sum(searches)) + len(runs)

    def _is_alike(self, row: Row, this: Row, key: str | None) -> bool:
        other = self.tables.strategies[row["strategy_id"]]["strategy_key"]
        same = row["strategy_id"] == this["strategy_id"] or (key not in {None, "rules"} and other == key)
        overlaps = row["start_date"] < this["end_date"] and row["end_date"] > this["start_date"]
        return bool(same and overlaps and row["symbol"] == this["symbol"])

    def looked_at(self, claim: ShardClaim) -> BeatResult:
        shard, search = self.tables.shards.get(claim.key), self.tables.searches.get(claim.facts.optimization_id)
        is_ours = (
            shard is not None
            and search is not None
            and (shard["epoch"], shard["state"], search["state"]) == (claim.epoch, "running", "running")
        )
        status = self.tables.optimizations.get(claim.facts.optimization_id, {}).get("status")
        return asked_to_stop(is_ours, status, self._cancel(search) if search is not None else None)

    # --- the shared rows ------------------------------------------------------------------------------------------

    async def show(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        row = self.tables.optimizations.get(optimization_id)
        if row is not None and row["status"] in {"pending", "running"}:
            await self.write_row(optimization_id, columns)

    async def lock_row(self, optimization_id: int) -> str | None:
        row = self.tables.optimizations.get(optimization_id)
        return row["status"] if row is not None else None

    async def write_row(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        self.tables.optimizations[optimization_id] = {**self.tables.optimizations[optimization_id], **columns}

    async def insert_best_run(self, run_id: int, columns: Mapping[str, Any], outcome: Completed) -> None:
        if run_id in self.tables.runs:
            raise StoreUnavailable(f"another service has put a run {run_id} in meanwhile")
        shown = {"status": "completed", "progress_pct": 100, "data_file_path": outcome.data_file_path}
        self.tables.add_run(run_id, **{**columns, **shown, **outcome.columns})
        self.tables.copy_trades(run_id, outcome.trades_csv)
        self.tables.results[run_id] = {
            "metrics": outcome.metrics,
            "artifacts": outcome.artifacts,
            "duration_seconds": outcome.duration_seconds,
        }

    # --- events ---------------------------------------------------------------------------------------------------

    async def take_over(self, optimization_id: int) -> Sequence[OutgoingEvent]:
        unsent = self.tables.take_over({of_search(optimization_id)}, self.owner, self.lease_seconds)
        for event in unsent:
            if event.kind is EventKind.PROGRESS:
                del self.tables.outbox[event.row_id]
        return [event for event in unsent if event.kind is not EventKind.PROGRESS]

    async def store_events(self, events: Iterable[OutgoingEvent]) -> Sequence[OutgoingEvent]:
        return self.tables.store_events(events, self.owner, self.lease_seconds)
