"""The memory of requests and cancels in Postgres: a whole batch becomes durable in one transaction. Implements
`RequestJournal`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import asyncpg

from consumer.adapters.postgres import journal_statements as statements
from consumer.adapters.postgres.endings import EventOwner, end_runs, standings, store_events
from consumer.adapters.postgres.pool import Connection, Pool, transaction, translated
from consumer.adapters.postgres.queue_statements import LOCK_ROWS_AT_HAND
from consumer.adapters.postgres.taken_ids import pass_taken_ids
from consumer.adapters.postgres.taken_requests import known_hashes
from consumer.errors import StoreUnavailable
from consumer.ports import (
    Admit,
    CancelToRecord,
    EventWriter,
    IntakeResult,
    OutgoingEvent,
    RequestToRecord,
    RunRow,
    StrategyRow,
)
from consumer.ports.outcomes import RecordOutcome
from consumer.ports.posting import KnownHashes
from consumer.rules.columns import RUN_COLUMNS
from consumer.rules.endings import cancelled_unclaimed
from consumer.rules.ownership import Standing
from consumer.rules.recording import (
    Accepted,
    Decisions,
    NewRun,
    Recorded,
    Rejected,
    Repeats,
    SourceTurns,
    decide_all,
    hold_back,
    named_runs,
    named_strategies,
    number,
    of_known_runs,
    place,
    put_off,
    sort_out_repeats,
    waiting_request,
)
from schemas.cancelled import REASON_REQUESTED
from schemas.json_text import storable
from schemas.problems import FieldProblem

GREATEST_ID = 2**31 - 1
NONE_EMITTED: Mapping[str, bytes] = {}
NO_REPEATS = Repeats((), (), ())
STRATEGY_FIELDS = [each.name for each in fields(StrategyRow)]


@dataclass(frozen=True, slots=True)
class PostgresJournal:
    """Records batches; concurrent workers may record the same requests, the first commit wins."""

    pool: Pool
    writer: EventWriter
    owner: str
    lease_seconds: float

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        while True:
            try:
                async with transaction(self.pool) as connection:
                    recording = Recording(connection, self.writer, EventOwner(self.owner, self.lease_seconds))
                    return await recording.record(requests, cancels, dead_letters, admit)
            except Raced:
                continue  # another worker recorded one of these requests meanwhile: now it is a duplicate or a conflict

    async def record_waiting(self, admit: Admit) -> IntakeResult:
        while True:
            try:
                async with transaction(self.pool) as connection:
                    recording = Recording(connection, self.writer, EventOwner(self.owner, self.lease_seconds))
                    return await recording.record_waiting(admit)
            except Raced:
                continue

    async def queued_count(self) -> int:
        with translated():
            return int(await self.pool.fetchval("SELECT count(*) FROM backtest_executions WHERE state = 'queued'"))


class Raced(Exception):
    """A request id, a run's execution or the number of a new row was taken between our look and our insert."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One batch inside its transaction: reads what consumer.rules.recording asks for, and writes its answer."""

    connection: Connection
    writer: EventWriter
    owner: EventOwner

    async def record(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        await self._keep_cancels(cancels)
        repeats = sort_out_repeats(requests, await self._known_hashes(requests))
        decisions, waiting = await self.decide(repeats.unseen, admit)
        unchecked, repeats = put_off(decisions.unchecked, repeats)
        new_runs = await self.number(decisions.accepted)
        await self.insert_requests(new_runs, decisions.rejected, waiting)
        await self.insert_runs(new_runs)
        await self.insert_executions(new_runs)
        ended = await self.end_queued([run.standing for run in new_runs if run.cancelled is not None])
        ended += await self._cancel_known(of_known_runs(cancels, new_runs))
        recorded = Recorded(cancels, dead_letters, repeats, decisions.rejected, new_runs, waiting)
        stored = await store_events(self.connection, recorded.events(self.writer), self.owner)
        queued = tuple(run.run_id for run in new_runs if run.cancelled is None)
        return IntakeResult(recorded.outcomes(), (*stored, *ended), queued, unchecked)

    async def record_waiting(self, admit: Admit) -> IntakeResult:
        rows = await self.connection.fetch(statements.PICK_WAITING)
        if not rows:
            return IntakeResult({})
        decisions, _ = await self.decide([waiting_request(row) for row in rows], admit)
        new_runs = await self.number(decisions.accepted)
        await self._decide_waiting(new_runs, decisions.rejected)
        await self.insert_runs(new_runs)
        await self.insert_executions(new_runs)
        ended = await self.end_queued([run.standing for run in new_runs if run.cancelled is not None])
        recorded = Recorded((), (), NO_REPEATS, decisions.rejected, new_runs)
        stored = await store_events(self.connection, recorded.events(self.writer), self.owner)
        queued = tuple(run.run_id for run in new_runs if run.cancelled is None)
        return IntakeResult(recorded.outcomes(), (*stored, *ended), queued, decisions.unchecked)

    async def _keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        """Remember every cancel; the first of a target counts."""
        if not cancels:
            return
        ordered = sorted(cancels, key=lambda cancel: (cancel.run_id or 0, cancel.request_id or ""))
        await self.connection.execute(
            statements.KEEP_CANCELS,
            [cancel.run_id for cancel in ordered],
            [cancel.request_id for cancel in ordered],
            [cancel.reason for cancel in ordered],
            [cancel.record.topic for cancel in ordered],
            [cancel.record.partition for cancel in ordered],
            [cancel.record.offset for cancel in ordered],
        )

    async def _known_hashes(self, requests: Sequence[RequestToRecord]) -> KnownHashes:
        if not requests:
            return {}
        ids = [request.request_id for request in requests]
        return known_hashes(await self.connection.fetch(statements.KNOWN_HASHES, ids))

    async def decide(
        self, requests: Sequence[RequestToRecord], admit: Admit
    ) -> tuple[Decisions, tuple[RequestToRecord, ...]]:
        """Decisions, and what would be accepted but for a client's lock."""
        runs = await self._load_runs(named_runs(requests))
        wanted = named_strategies(requests, runs)
        rows = await self.connection.fetch(statements.LOAD_STRATEGIES, wanted) if wanted else []
        strategies = {row["id"]: StrategyRow(**{name: row[name] for name in STRATEGY_FIELDS}) for row in rows}
        decisions = decide_all(requests, runs, strategies, admit)
        accepted, waiting = hold_back(decisions.accepted, {row["id"] for row in rows if row["is_locked"]})
        return replace(decisions, accepted=accepted), waiting

    async def _load_runs(self, run_ids: Sequence[int]) -> dict[int, RunRow]:
        """Not locked, since a client that holds one would stop the whole batch: of two requests for a row its one
        execution decides, and a row that changes afterwards is noticed at the finish.
        """
        rows = await self.connection.fetch(statements.LOAD_RUNS, run_ids) if run_ids else []
        return {row["id"]: RunRow(**row) for row in rows}

    async def number(self, accepted: Sequence[Accepted]) -> tuple[NewRun, ...]:
        if not accepted:
            return ()
        ids = await self._next_run_ids(sum(each.row is None for each in accepted))
        rows = await self.connection.fetch(
            statements.KEPT_CANCELS,
            [each.row.id for each in accepted if each.row is not None],
            [each.request.request_id for each in accepted],
        )
        return number(accepted, ids, {row["run_id"] or row["request_id"]: row["reason"] for row in rows})

    async def _next_run_ids(self, count: int) -> list[int]:
        """Ids for new rows, from the table's own sequence; those that another service took by hand are passed over.

        Raises StoreUnavailable where there is no number left: the requests are not at fault.
        """
        ids: list[int] = []
        while len(ids) < count:
            rows = await self.connection.fetch(statements.NEXT_RUN_IDS, count - len(ids))
            if rows[0]["id"] is None:
                raise StoreUnavailable("Postgres: backtest_runs.id has no sequence of its own to number new runs with")
            if rows[-1]["id"] > GREATEST_ID:
                raise StoreUnavailable("Postgres: the sequence of backtest_runs.id is beyond what the column holds")
            ids += [row["id"] for row in rows if not row["is_taken"]]
            if all(row["is_taken"] for row in rows):
                await pass_taken_ids(self.connection, "backtest_runs")
        return ids

    async def _decide_waiting(self, new_runs: Sequence[NewRun], rejected: Sequence[Rejected]) -> None:
        rows = _decided(new_runs, rejected)
        await self.connection.execute(
            statements.DECIDE_WAITING,
            [request.request_id for request, *_ in rows],
            [outcome.value for _, outcome, *_ in rows],
            [run_id for _, _, run_id, _, _ in rows],
            [specification for _, _, _, specification, _ in rows],
            [error for *_, error in rows],
        )

    async def insert_requests(
        self,
        new_runs: Sequence[NewRun],
        rejected: Sequence[Rejected],
        waiting: Sequence[RequestToRecord],
        emitted: Mapping[str, bytes] = NONE_EMITTED,
    ) -> None:
        """emitted: request id -> content hash of the record that goes out for it."""
        rows = _decided(new_runs, rejected)
        rows += [(request, RecordOutcome.WAITING, None, None, None) for request in waiting]
        if not rows:
            return
        rows.sort(key=lambda row: row[0].request_id)  # one order in every worker: no deadlock between two batches
        inserted = await self.connection.fetch(
            statements.INSERT_REQUESTS,
            [request.request_id for request, *_ in rows],
            [request.record.topic for request, *_ in rows],
            [request.record.partition for request, *_ in rows],
            [request.record.offset for request, *_ in rows],
            [request.content_hash for request, *_ in rows],
            [outcome.value for _, outcome, *_ in rows],
            [run_id for _, _, run_id, _, _ in rows],
            [request.source for request, *_ in rows],
            [request.data for request, *_ in rows],
            [specification for _, _, _, specification, _ in rows],
            [error for *_, error in rows],
            [emitted.get(request.request_id) for request, *_ in rows],
        )
        if len(inserted) != len(rows):
            raise Raced

    async def insert_runs(self, new_runs: Sequence[NewRun]) -> None:
        made = [run for run in new_runs if run.is_new_row]
        if made:
            columns = ([run.admitted.columns[name] for run in made] for name in RUN_COLUMNS)
            try:
                inserted = await self.connection.fetch(statements.INSERT_RUNS, [run.run_id for run in made], *columns)
            except asyncpg.LockNotAvailableError as error:
                raise Raced from error  # as below, but not committed yet: the next try takes other numbers
            if len(inserted) != len(made):  # another service took one by hand just now
                raise Raced
        named = [run.run_id for run in new_runs if not run.is_new_row]
        if named:
            await self.connection.execute(statements.SHOW_PRIMARY_TIMEFRAME, named)

    async def insert_executions(self, new_runs: Sequence[NewRun]) -> None:
        """Queue the new runs, each source's at its own turns."""
        if not new_runs:
            return
        rows = await self.connection.fetch(statements.TURNS, sorted({run.request.source for run in new_runs}))
        turns = {row["source"]: SourceTurns(row["head"], row["last"]) for row in rows}
        inserted = await self.connection.fetch(
            statements.INSERT_EXECUTIONS,
            [run.run_id for run in new_runs],
            [run.request.request_id for run in new_runs],
            [run.request.source for run in new_runs],
            place(new_runs, turns),
            [run.cancelled for run in new_runs],
            [not run.is_new_row for run in new_runs],
        )
        if len(inserted) != len(new_runs):
            raise Raced

    async def _cancel_known(self, cancels: Sequence[CancelToRecord]) -> tuple[OutgoingEvent, ...]:
        """Note the cancels of running runs, and end the queued ones here and now."""
        if not cancels:
            return ()
        rows = await self.connection.fetch(
            statements.NOTE_CANCELS,
            [cancel.run_id for cancel in cancels],
            [cancel.request_id for cancel in cancels],
            [cancel.reason or REASON_REQUESTED for cancel in cancels],
        )
        return await self.end_queued(
            await standings(self.connection, [row for row in rows if row["state"] == "queued"])
        )

    async def end_queued(self, queued: Sequence[Standing]) -> tuple[OutgoingEvent, ...]:
        """End cancelled runs that wait; where somebody holds the row, or it is gone, the sweep does it."""
        if not queued:
            return ()
        rows = await self.connection.fetch(LOCK_ROWS_AT_HAND, [found.facts.run_id for found in queued])
        statuses = {row["id"]: row["status"] for row in rows}
        endings = cancelled_unclaimed(
            (found, statuses[found.facts.run_id]) for found in queued if found.facts.run_id in statuses
        )
        return await end_runs(self.connection, endings, self.writer, self.owner)


def _decided(new_runs: Sequence[NewRun], rejected: Sequence[Rejected]) -> "list[_Decided]":
    rows: list[_Decided] = [
        (run.request, RecordOutcome.ACCEPTED, run.run_id, run.specification, None) for run in new_runs
    ]
    rows += [
        (each.request, RecordOutcome.REJECTED, each.request.request.run_id, None, _error_json(each.problems))
        for each in rejected
    ]
    return rows


_Decided = tuple[RequestToRecord, RecordOutcome, int | None, str | None, str | None]
"""Request, outcome, run_id, specification, error."""


def _error_json(problems: Sequence[FieldProblem]) -> str:
    return storable(json.dumps([[problem.field, problem.code, problem.message] for problem in problems]))
