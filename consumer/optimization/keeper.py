"""Keeps searches: takes their steps, counts results, ends them; each in one transaction, whatever the database.

Every transaction locks the search first, so that all that is done to one search is done one after the other. Ending one
locks the row of optimization_runs before that. Implements `SearchQueue`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from consumer.ports import OutgoingEvent
from consumer.ports.outcomes import Cancelled, Failed
from consumer.ports.queue import BeatResult
from consumer.ports.search_tables import Kept, SearchTables, SearchTransaction
from consumer.ports.searches import (
    EndedSearch,
    Found,
    LapsedShard,
    SearchChange,
    SearchFacts,
    SearchOutcome,
    ShardClaim,
    ShardKey,
    StepDied,
    StepResult,
)
from consumer.rules import searches
from consumer.rules.endings import cancel_reason
from consumer.rules.search_events import SearchEventRenderer
from consumer.rules.search_specification import facts_of_search, search_disagrees
from consumer.rules.searches import BEST_RUN, Change, SearchState, ShardState
from schemas.json_text import storable

SWEEP_LIMIT = 100
"""Searches that one sweep ends; the next one takes the rest."""


@dataclass(frozen=True, slots=True)
class SearchKeeper:
    """One worker's view of the searches."""

    tables: SearchTables
    writer: SearchEventRenderer
    owner: str
    lease_seconds: float
    max_attempts: int
    progress_seconds: float

    async def open_searches(self) -> int:
        return await self.tables.count_with_work()

    async def lapsed(self) -> frozenset[LapsedShard]:
        return await self.tables.lapsed()

    async def beat(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        return await self.tables.beat(claims) if claims else {}

    async def cancels_wanted(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        return await self.tables.look(claims) if claims else {}

    async def give_back(self, claim: ShardClaim) -> bool:
        return await self.tables.give_back(claim)

    async def forget_unknown(self, known: Collection[ShardKey]) -> int:
        return await self.tables.forget_unknown(known)

    async def best_run_id(self, claim: ShardClaim) -> int | None:
        async with self.tables.transaction() as at:
            found = await self._owned(at, claim)
            if not isinstance(found, _Owned):
                return None
            plan = dict(found.search.plan or {})
            if BEST_RUN not in plan:
                plan[BEST_RUN] = await at.next_run_id()
                await self._save(at, replace(found.search, plan=plan), ())
            return int(plan[BEST_RUN])

    async def trials_before(self, claim: ShardClaim) -> int:
        async with self.tables.transaction() as at:
            return await at.trials_before(claim.facts.optimization_id)

    async def claim(self, count: int, *, lapsed: Collection[LapsedShard] = ()) -> SearchChange:
        changes: list[SearchChange] = []
        for lease in sorted(lapsed, key=_lease)[:count]:
            async with self.tables.transaction() as at:
                changes.append(await self._take_lapsed(at, lease))
        while count > sum(len(change.claims) for change in changes):
            async with self.tables.transaction() as at:
                found = await self._take_next(at)
            if found is None:
                break
            changes.append(found)
        return _merged(changes)

    async def _take_lapsed(self, at: SearchTransaction, lease: LapsedShard) -> SearchChange:
        optimization_id, number = lease.key
        kept = await at.load(optimization_id)
        row = await at.shard(lease.key)
        if kept is None or row is None:
            return SearchChange()
        search, shard = _search_of(kept), _shard_of(row)
        is_same = shard.state == "running" and (shard.epoch, shard.lease_until) == (lease.epoch, lease.lease_until)
        if not search.is_open or not is_same or (shard.lease_until or kept.now) >= kept.now:
            return SearchChange()
        if (reason := cancel_reason(kept.row_status, kept.cancel)) is not None:
            return await self._end(at, kept, search, Cancelled(reason))
        others = await self._others(at, optimization_id, number)
        worn = searches.lapsed(search, shard, others, self.max_attempts)
        if worn is not None:
            return await self._write(at, kept, worn)
        return await self._take(at, kept, Change(search, (shard,)))

    async def _take_next(self, at: SearchTransaction) -> SearchChange | None:
        """One step of one search, or the end of one that is cancelled. None: there is no step."""
        for optimization_id in await at.with_work(limit=8):
            kept = await at.load(optimization_id)
            if kept is None or not (search := _search_of(kept)).is_open:
                continue
            if (reason := cancel_reason(kept.row_status, kept.cancel)) is not None:
                return await self._end(at, kept, search, Cancelled(reason))
            if search.state == "queued":
                return await self._begin(at, kept, search)
            open_shards = [_shard_of(row) for row in await at.open_shards(optimization_id)]
            step = searches.next_step(search, open_shards)
            if step is not None:
                return await self._take(at, kept, step)
        return None

    async def _begin(self, at: SearchTransaction, kept: Kept, search: SearchState) -> SearchChange:
        begun = searches.begin(search, kept.now)
        facts = _facts(kept)
        unsent = await at.take_over(facts.optimization_id)
        stored = await at.store_events([self.writer.started(facts, begun.search.sequence)])
        await at.show(facts.optimization_id, {"status": "running", "started_at": kept.now})
        taken = await self._take(at, kept, begun)
        return replace(taken, events=(*unsent, *stored))

    async def _take(self, at: SearchTransaction, kept: Kept, step: Change) -> SearchChange:
        """Claim the step's one shard, new or not."""
        [shard] = step.shards
        taken = searches.take(shard, self.owner, _later(kept, self.lease_seconds))
        await self._save(at, step.search, (taken,))
        facts, specification = facts_of_search(step.search.optimization_id, step.search.request_id, kept.specification)
        wants_results = shard.kind in {"ask", "gather"}
        claim = ShardClaim(
            facts=facts,
            number=taken.number,
            kind=taken.kind,
            first=taken.first,
            last=taken.last,
            epoch=taken.epoch,
            deaths=taken.deaths,
            specification=specification,
            plan=step.search.plan or {},
            results=tuple(await at.results(facts.optimization_id)) if wants_results else (),
            started_at=step.search.started_at,
        )
        return SearchChange((claim,))

    async def finish(self, claim: ShardClaim, result: StepResult) -> SearchChange | None:
        async with self.tables.transaction() as at:
            found = await self._owned(at, claim)
            if not isinstance(found, _Owned):
                return found
            others = await self._others(at, claim.facts.optimization_id, claim.number)
            return await self._write(at, found.kept, searches.counted(found.search, found.shard, result, others))

    async def died(self, claim: ShardClaim, death: StepDied) -> SearchChange | None:
        async with self.tables.transaction() as at:
            found = await self._owned(at, claim)
            if not isinstance(found, _Owned):
                return found
            others = await self._others(at, claim.facts.optimization_id, claim.number)
            change = searches.died(found.search, found.shard, death, others, self.max_attempts)
            return await self._write(at, found.kept, change)

    async def end(self, claim: ShardClaim, outcome: SearchOutcome) -> SearchChange | None:
        async with self.tables.transaction() as at:
            await at.lock_row(claim.facts.optimization_id)
            found = await self._owned(at, claim)
            if not isinstance(found, _Owned):
                return found
            return await self._end(at, found.kept, found.search, outcome, own=claim.number)

    async def sweep(self) -> SearchChange:
        async with self.tables.transaction() as at:
            wanted = await at.to_be_ended(SWEEP_LIMIT)
        return _merged([await self.end_if_cancelled(optimization_id) for optimization_id in wanted])

    async def end_if_cancelled(self, optimization_id: int) -> SearchChange:
        """End a search that is cancelled, whoever is at it: he is fenced, and finds that out within his next look."""
        async with self.tables.transaction() as at:
            await at.lock_row(optimization_id)
            kept = await at.load(optimization_id)
            if kept is None or not (search := _search_of(kept)).is_open:
                return SearchChange()
            reason = cancel_reason(kept.row_status, kept.cancel)
            return SearchChange() if reason is None else await self._end(at, kept, search, Cancelled(reason))

    async def _owned(self, at: SearchTransaction, claim: ShardClaim) -> "_Owned | SearchChange | None":
        """The search and the step as they are; what a repeated word is answered; None: fenced."""
        kept = await at.load(claim.facts.optimization_id)
        row = await at.shard(claim.key)
        if kept is None or row is None:
            return None
        search, shard = _search_of(kept), _shard_of(row)
        if search.is_open and shard.is_owned_by(claim):
            return _Owned(kept, search, shard)
        if not shard.was_ended_by(claim):
            return None
        # Our own word was heard, and the answer lost: unsent events are ours to relay.
        return SearchChange(events=tuple(await at.take_over(claim.facts.optimization_id)))

    async def _others(self, at: SearchTransaction, optimization_id: int, number: int) -> list[ShardState]:
        return [shard for row in await at.open_shards(optimization_id) if (shard := _shard_of(row)).number != number]

    async def _write(self, at: SearchTransaction, kept: Kept, change: Change) -> SearchChange:
        """Save a change, and tell of it now and then; end the search where the change does."""
        await self._save(at, change.search, change.shards)
        if change.failed is not None:
            return await self._end(at, kept, change.search, change.failed)
        search = change.search
        since = search.reported_at or search.started_at
        if since is not None and (kept.now - since).total_seconds() < self.progress_seconds:
            return SearchChange()
        search = searches.reported(search, kept.now)
        await self._save(at, search, ())
        events = await self._tell(at, search.optimization_id, self.writer.progress(_facts(kept), search, kept.now))
        await at.show(search.optimization_id, {**_counts(search), "progress_pct": search.progress_pct})
        return SearchChange(events=events)

    async def _end(
        self,
        at: SearchTransaction,
        kept: Kept,
        search: SearchState,
        outcome: SearchOutcome,
        own: int | None = None,
    ) -> SearchChange:
        """End the search: its shards, its row, its terminal event. A cancel that came meanwhile wins."""
        if (reason := cancel_reason(kept.row_status, kept.cancel)) is not None:
            outcome = Cancelled(reason)
        if isinstance(outcome, Found):
            outcome = await self._held_to_row(at, kept, search.optimization_id) or outcome
        open_shards = [_shard_of(row) for row in await at.open_shards(search.optimization_id)]
        over = searches.ended(search, open_shards, state_of(outcome), own)
        search = over.search
        facts = _facts(kept)
        columns: dict[str, Any] = {"status": search.state, **_counts(search), "completed_at": kept.now}
        extra: dict[str, Any] = {"finished_at": kept.now}
        match outcome:
            case Found():
                search = replace(search, progress_pct=100)
                columns |= {**{name: _stored(value) for name, value in outcome.columns.items()}, "progress_pct": 100}
                extra |= {"result_digest": outcome.result_digest, "engine_version": outcome.engine_version[:40]}
                columns["best_run_id"] = None
                if (best := outcome.best_run) is not None:
                    await at.insert_best_run(best.run_id, best.columns, best.outcome)
                    columns["best_run_id"] = best.run_id
            case Failed(code, message):
                columns["error_message"] = storable(f"{code}: {message}")
                columns["progress_pct"] = search.progress_pct
            case Cancelled():
                columns["progress_pct"] = search.progress_pct
            case _:
                assert_never(outcome)
        await self._save(at, search, over.shards, extra)
        if kept.row_status is not None:
            await at.write_row(search.optimization_id, columns)
        events = await self._tell(at, search.optimization_id, self.writer.terminal(facts, search, outcome))
        why = outcome.reason if isinstance(outcome, Cancelled) else outcome.code if isinstance(outcome, Failed) else ""
        return SearchChange(events=events, ended=(EndedSearch(facts, search.state, why),))

    async def _held_to_row(self, at: SearchTransaction, kept: Kept, optimization_id: int) -> Failed | None:
        """The failure in place of results that would stand beside a configuration they do not belong to."""
        row = (await at.search_rows([optimization_id])).get(optimization_id)
        specification = facts_of_search(optimization_id, kept.search["request_id"], kept.specification)[1]
        return search_disagrees(specification, row.columns) if row is not None else None

    async def _tell(
        self, at: SearchTransaction, optimization_id: int, event: OutgoingEvent
    ) -> tuple[OutgoingEvent, ...]:
        """Whoever writes an event takes over what is unsent of the same search: so its order needs no lock."""
        unsent = await at.take_over(optimization_id)
        return (*unsent, *await at.store_events([event]))

    async def _save(
        self,
        at: SearchTransaction,
        search: SearchState,
        shards: Sequence[ShardState],
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        columns = asdict(search)
        columns.pop("is_named")
        columns["plan"], columns["best_params"] = _text(search.plan), _text(search.best_params)
        await at.save(search.optimization_id, {**columns, **(extra or {})}, [asdict(shard) for shard in shards])


@dataclass(frozen=True, slots=True)
class _Owned:
    kept: Kept
    search: SearchState
    shard: ShardState


def state_of(outcome: SearchOutcome) -> str:
    """The word for it in backtest_searches.state and optimization_runs.status."""
    match outcome:
        case Found():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(outcome)


def _search_of(kept: Kept) -> SearchState:
    row = dict(kept.search)
    for name in ("plan", "best_params"):
        row[name] = json.loads(row[name]) if row[name] is not None else None
    return SearchState(**{name: row[name] for name in SearchState.__dataclass_fields__})


def _shard_of(row: Mapping[str, Any]) -> ShardState:
    return ShardState(**{name: row[name] for name in ShardState.__dataclass_fields__})


def _facts(kept: Kept) -> SearchFacts:
    search = kept.search
    return facts_of_search(search["optimization_id"], search["request_id"], kept.specification)[0]


def _counts(search: SearchState) -> dict[str, Any]:
    return {
        "total_combinations": search.total,
        "completed_combinations": search.done,
        "failed_combinations": search.failed,
    }


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _stored(value: Any) -> Any:
    """A column's value: JSON is text there."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _lease(lease: LapsedShard) -> tuple[Any, ...]:
    return (lease.lease_until, lease.key)


def _merged(changes: Sequence[SearchChange]) -> SearchChange:
    return SearchChange(
        tuple(claim for change in changes for claim in change.claims),
        tuple(event for change in changes for event in change.events),
        tuple(ended for change in changes for ended in change.ended),
    )


def _later(kept: Kept, seconds: float) -> datetime:
    return kept.now + timedelta(seconds=seconds)
