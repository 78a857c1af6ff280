"""The memory of requests and cancels in Postgres: a whole batch becomes durable in one transaction. Implements
`RequestLedger`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consumer.adapters.postgres import ledger_statements as statements
from consumer.adapters.postgres.endings import (
    Connection,
    Relay,
    end_runs,
    facts_of_rows,
    storable,
    store_events,
)
from consumer.adapters.postgres.pool import transaction, translated
from consumer.errors import StoreUnavailable
from consumer.ports import (
    Admit,
    Admitted,
    CancelToRecord,
    EventWriter,
    IntakeResult,
    OutgoingEvent,
    Refused,
    RequestToRecord,
    RunFacts,
    RunRow,
    StrategyRow,
)
from consumer.ports.outcomes import Cancelled, RecordOutcome
from consumer.rules.columns import RUN_COLUMNS
from consumer.rules.endings import Ending, cancel_reason, facts_of, stored_specification
from schemas.cancelled import REASON_REQUESTED
from schemas.dead_letter import DeadLetterReason
from schemas.problems import FieldProblem


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    """Records batches; concurrent workers may record the same requests, the first commit wins."""

    pool: Any
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
                    recording = _Recording(connection, self.writer, Relay(self.owner, self.lease_seconds))
                    return await recording.record(requests, cancels, dead_letters, admit)
            except _Raced:
                continue  # another worker recorded one of these requests meanwhile: now it is a duplicate or a conflict

    async def queued_count(self) -> int:
        with translated():
            return int(await self.pool.fetchval("SELECT count(*) FROM backtest_executions WHERE state = 'queued'"))


class _Raced(Exception):
    """A request id, a run's execution or the number of a new row was taken between our look and our insert."""


@dataclass(slots=True)
class _NewRun:
    """A request that was admitted, and the run it becomes."""

    request: RequestToRecord
    admitted: Admitted
    run_id: int
    is_new_row: bool
    cancelled: str | None
    """Why the run ends before it starts; None: it is queued."""


@dataclass(slots=True)
class _Recording:
    """One batch inside its transaction."""

    connection: Connection
    writer: EventWriter
    relay: Relay
    outcomes: Counter[str] = field(default_factory=Counter)
    events: list[OutgoingEvent] = field(default_factory=list)
    """To be stored with the batch."""
    ended: list[OutgoingEvent] = field(default_factory=list)
    """Already stored: those of runs that this batch ends."""

    async def record(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        self.events.extend(dead_letters)
        self.outcomes[RecordOutcome.DEAD_LETTERED] += len(dead_letters)
        await self._keep_cancels(cancels)
        unseen = await self._sort_out_repeats(requests)
        new_runs = await self._admit_all(unseen, admit) if unseen else []
        self.ended.extend(await self._cancel_known(cancels))
        stored = await store_events(self.connection, self.events, self.relay)
        queued = tuple(run.run_id for run in new_runs if run.cancelled is None)
        return IntakeResult(
            {name: count for name, count in self.outcomes.items() if count}, (*stored, *self.ended), queued
        )

    async def _sort_out_repeats(self, requests: Sequence[RequestToRecord]) -> list[RequestToRecord]:
        """Count duplicates, dead-letter conflicts, and return the rest, the first of each id."""
        if not requests:
            return []
        rows = await self.connection.fetch(
            "SELECT request_id, content_hash FROM backtest_requests WHERE request_id = ANY($1)",
            [request.request_id for request in requests],
        )
        hashes: dict[str, bytes] = {row["request_id"]: row["content_hash"] for row in rows}
        unseen: list[RequestToRecord] = []
        for request in requests:
            first = hashes.get(request.request_id)
            if first is None:
                hashes[request.request_id] = request.content_hash
                unseen.append(request)
            elif first == request.content_hash:
                self.outcomes[RecordOutcome.DUPLICATE] += 1
            else:
                message = f"request_id {request.request_id!r} was used before, with other content"
                self.events.append(self.writer.dead_letter(request.record, DeadLetterReason.CONFLICT, message))
                self.outcomes[RecordOutcome.DEAD_LETTERED] += 1
        return unseen

    async def _admit_all(self, requests: Sequence[RequestToRecord], admit: Admit) -> list[_NewRun]:
        """Decide new requests against the rows they name, and write what follows from it."""
        runs = await self._load_runs(requests)
        strategies = await self._lock_strategies(requests, runs)
        admitted: list[tuple[RequestToRecord, Admitted, RunRow | None]] = []
        rejected: list[tuple[RequestToRecord, tuple[FieldProblem, ...]]] = []
        for request in requests:
            named = request.request.run_id
            run = runs.get(named) if named is not None else None
            strategy_id = run.strategy_id if run is not None else request.request.strategy_id
            strategy = strategies.get(strategy_id) if strategy_id is not None else None
            match admit(request.request, strategy, run, request.problems):
                case Admitted() as decision:
                    admitted.append((request, decision, run))
                    if run is not None:
                        runs[run.id] = replace(run, has_execution=True)
                case Refused(problems):
                    rejected.append((request, problems))
        new_runs = await self._number(admitted)
        await self._insert_requests(new_runs, rejected)
        await self._insert_runs(new_runs)
        await self._insert_executions(new_runs)
        self.events.extend(self.writer.rejected(request, problems) for request, problems in rejected)
        self.outcomes[RecordOutcome.ACCEPTED] += len(new_runs)
        self.outcomes[RecordOutcome.REJECTED] += len(rejected)
        return new_runs

    async def _load_runs(self, requests: Iterable[RequestToRecord]) -> dict[int, RunRow]:
        """The rows named by run_id. Not locked, since a client that holds one would stop the whole batch: of two
        requests for a row its one execution decides, and a row that changes afterwards is noticed at the finish.
        """
        named = sorted({request.request.run_id for request in requests if request.request.run_id})
        if not named:
            return {}
        rows = await self.connection.fetch(statements.LOAD_RUNS, named)
        return {row["id"]: RunRow(**row) for row in rows}

    async def _lock_strategies(
        self, requests: Iterable[RequestToRecord], runs: Mapping[int, RunRow]
    ) -> dict[int, StrategyRow]:
        """The strategies needed, kept from being deleted until the rows that refer to them are in."""
        needed = {request.request.strategy_id for request in requests if request.request.strategy_id}
        needed |= {run.strategy_id for run in runs.values()}
        if not needed:
            return {}
        rows = await self.connection.fetch(statements.LOCK_STRATEGIES, sorted(needed))
        return {row["id"]: StrategyRow(**row) for row in rows}

    async def _number(self, admitted: Sequence[tuple[RequestToRecord, Admitted, RunRow | None]]) -> list[_NewRun]:
        """Give each admitted request its run id, and find out which were cancelled before they came."""
        if not admitted:
            return []
        unnumbered = sum(run is None for _, _, run in admitted)
        ids = iter(await self._next_run_ids(unnumbered))
        rows = await self.connection.fetch(
            "SELECT run_id, request_id, reason FROM backtest_cancels WHERE run_id = ANY($1) OR request_id = ANY($2)",
            [run.id for _, _, run in admitted if run is not None],
            [request.request_id for request, _, _ in admitted],
        )
        by_run = {row["run_id"]: row["reason"] or REASON_REQUESTED for row in rows if row["run_id"] is not None}
        by_request = {
            row["request_id"]: row["reason"] or REASON_REQUESTED for row in rows if row["request_id"] is not None
        }
        new_runs = []
        for request, decision, run in admitted:
            run_id = run.id if run is not None else next(ids)
            noted = by_request.get(request.request_id) or (by_run.get(run_id) if run is not None else None)
            reason = cancel_reason(run.status if run is not None else "pending", noted)
            new_runs.append(_NewRun(request, decision, run_id, run is None, reason))
        return new_runs

    async def _next_run_ids(self, count: int) -> list[int]:
        """Ids for new rows, from the table's own sequence."""
        if not count:
            return []
        rows = await self.connection.fetch(statements.NEXT_RUN_IDS, count)
        ids = [row["id"] for row in rows]
        if None in ids:
            raise StoreUnavailable("Postgres: backtest_runs.id has no sequence of its own to number new runs with")
        return ids

    async def _insert_requests(
        self, new_runs: Sequence[_NewRun], rejected: Sequence[tuple[RequestToRecord, tuple[FieldProblem, ...]]]
    ) -> None:
        rows = [(run.request, RecordOutcome.ACCEPTED, run.run_id, _stored(run), None) for run in new_runs] + [
            (request, RecordOutcome.REJECTED, request.request.run_id, None, _error_json(problems))
            for request, problems in rejected
        ]
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
        )
        if len(inserted) != len(rows):
            raise _Raced

    async def _insert_runs(self, new_runs: Sequence[_NewRun]) -> None:
        made = [run for run in new_runs if run.is_new_row]
        if made:
            inserted = await self.connection.fetch(
                statements.INSERT_RUNS,
                [run.run_id for run in made],
                *([run.admitted.columns[name] for run in made] for name in RUN_COLUMNS),
            )
            if len(inserted) != len(made):  # another service took ids by hand, and the sequence does not know
                await self.connection.execute(statements.PASS_TAKEN_IDS)
                raise _Raced
        named = [run.run_id for run in new_runs if not run.is_new_row]
        if named:
            await self.connection.execute(statements.SHOW_PRIMARY_TIMEFRAME, named)

    async def _insert_executions(self, new_runs: Sequence[_NewRun]) -> None:
        """Queue the new runs, each source's at its own turns; runs cancelled before they came end at once."""
        if not new_runs:
            return
        turns = await self._next_turns({run.request.source for run in new_runs})
        placed = []
        for run in new_runs:
            placed.append(turns[run.request.source])
            turns[run.request.source] += 1
        inserted = await self.connection.fetch(
            statements.INSERT_EXECUTIONS,
            [run.run_id for run in new_runs],
            [run.request.request_id for run in new_runs],
            [run.request.source for run in new_runs],
            placed,
            [run.cancelled for run in new_runs],
        )
        if len(inserted) != len(new_runs):
            raise _Raced
        at_hand = await self._lock_rows_at_hand([run.run_id for run in new_runs if run.cancelled is not None])
        endings = [
            Ending(
                facts=_facts(run),
                attempt=0,
                sequence=1,
                progress_pct=0,
                has_row=True,
                outcome=Cancelled(run.cancelled),
            )
            for run in new_runs
            if run.cancelled is not None and run.run_id in at_hand
        ]
        self.ended.extend(await end_runs(self.connection, endings, self.writer, self.relay))

    async def _next_turns(self, sources: Iterable[str]) -> dict[str, int]:
        """The turn of each source's next run: behind its own last one, level with the head of the queue at least.

        So ten thousand queued runs of one source are passed by the first of another (start-time fair queueing); with
        a single source turns just rise, which is first in, first out.
        """
        rows = await self.connection.fetch(statements.TURNS, sorted(sources))
        return {row["source"]: max(row["head"] or 1, (row["last"] or 0) + 1) for row in rows}

    async def _keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        """Remember every cancel; the first of a target counts."""
        if not cancels:
            return
        self.outcomes[RecordOutcome.CANCEL_KEPT] += len(cancels)
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
        queued = [row for row in rows if row["state"] == "queued"]
        at_hand = await self._lock_rows_at_hand([row["run_id"] for row in queued])
        known = await facts_of_rows(self.connection, queued)
        endings = [
            Ending(
                facts=facts,
                attempt=row["attempts"],
                sequence=row["sequence"] + 1,
                progress_pct=row["progress_pct"],
                has_row=True,
                outcome=Cancelled(row["cancel_reason"]),
            )
            for row, (facts, _) in zip(queued, known, strict=True)
            if row["run_id"] in at_hand
        ]
        return await end_runs(self.connection, endings, self.writer, self.relay)

    async def _lock_rows_at_hand(self, run_ids: Sequence[int]) -> set[int]:
        """Those runs whose row is there and that nobody holds: the sweep ends the others."""
        if not run_ids:
            return set()
        rows = await self.connection.fetch(statements.LOCK_ROWS_AT_HAND, run_ids)
        return {row["id"] for row in rows}


def _stored(run: _NewRun) -> str:
    return stored_specification(run.admitted.columns["strategy_id"], run.admitted.specification)


def _facts(run: _NewRun) -> RunFacts:
    return facts_of(run.run_id, run.request.request_id, _stored(run))[0]


def _error_json(problems: Sequence[FieldProblem]) -> str:
    return storable(json.dumps([[problem.field, problem.code, problem.message] for problem in problems]))
