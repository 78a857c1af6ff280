"""The memory of requests and cancels in Postgres: a whole batch becomes durable in one transaction. Implements
`RequestLedger`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consumer.adapters.postgres_endings import (
    Connection,
    Ending,
    Relay,
    end_runs,
    facts_of,
    storable,
    store_events,
    stored_specification,
)
from consumer.adapters.postgres_pool import transaction, translated
from consumer.adapters.postgres_queue import cancel_reason
from consumer.outcomes import Cancelled, RecordOutcome
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
from schemas.cancelled import REASON_REQUESTED
from schemas.dead_letter import DeadLetterReason
from schemas.problems import FieldProblem

RUN_COLUMNS = (
    "strategy_id", "symbol", "timeframe", "start_date", "end_date", "initial_balance", "spread_pips", "execution_mode",
    "primary_tf", "context_tfs", "max_llm_calls", "commission_per_lot", "tp_partial_close_ratio",
)  # fmt: skip


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
    """A request id was taken between our look and our insert."""


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
        runs = await self._lock_runs(requests)
        strategies = await self._lock_strategies(requests, runs)
        admitted: list[tuple[RequestToRecord, Admitted, RunRow | None]] = []
        rejected: list[tuple[RequestToRecord, tuple[FieldProblem, ...]]] = []
        for request in requests:
            if request.request is None:
                rejected.append((request, request.problems))
                continue
            named = request.request.run_id
            run = runs.get(named) if named is not None else None
            strategy_id = run.strategy_id if run is not None else request.request.strategy_id
            strategy = strategies.get(strategy_id) if strategy_id is not None else None
            match admit(request.request, strategy, run):
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

    async def _lock_runs(self, requests: Iterable[RequestToRecord]) -> dict[int, RunRow]:
        """The rows named by run_id, locked: nobody else starts or changes them until this batch is in."""
        named = sorted({request.request.run_id for request in requests if request.request and request.request.run_id})
        if not named:
            return {}
        rows = await self.connection.fetch(_LOCK_RUNS, named)
        return {row["id"]: RunRow(**row) for row in rows}

    async def _lock_strategies(
        self, requests: Iterable[RequestToRecord], runs: Mapping[int, RunRow]
    ) -> dict[int, StrategyRow]:
        """The strategies needed, kept from being deleted until the rows that refer to them are in."""
        needed = {
            request.request.strategy_id for request in requests if request.request and request.request.strategy_id
        }
        needed |= {run.strategy_id for run in runs.values()}
        if not needed:
            return {}
        rows = await self.connection.fetch(_LOCK_STRATEGIES, sorted(needed))
        return {row["id"]: StrategyRow(**row) for row in rows}

    async def _number(self, admitted: Sequence[tuple[RequestToRecord, Admitted, RunRow | None]]) -> list[_NewRun]:
        """Give each admitted request its run id, and find out which were cancelled before they came."""
        if not admitted:
            return []
        unnumbered = sum(run is None for _, _, run in admitted)
        ids = iter([row["id"] for row in await self.connection.fetch(_NEXT_RUN_IDS, unnumbered)] if unnumbered else [])
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

    async def _insert_requests(
        self, new_runs: Sequence[_NewRun], rejected: Sequence[tuple[RequestToRecord, tuple[FieldProblem, ...]]]
    ) -> None:
        rows = [(run.request, RecordOutcome.ACCEPTED, run.run_id, _stored(run), None) for run in new_runs] + [
            (request, RecordOutcome.REJECTED, _column_run_id(request), None, _error_json(problems))
            for request, problems in rejected
        ]
        rows.sort(key=lambda row: row[0].request_id)  # one order in every worker: no deadlock between two batches
        inserted = await self.connection.fetch(
            _INSERT_REQUESTS,
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
            await self.connection.execute(
                _INSERT_RUNS,
                [run.run_id for run in made],
                *([run.admitted.columns[name] for run in made] for name in RUN_COLUMNS),
            )
        named = [run.run_id for run in new_runs if not run.is_new_row]
        if named:
            await self.connection.execute(
                "UPDATE backtest_runs SET primary_tf = timeframe WHERE id = ANY($1) AND primary_tf <> timeframe", named
            )

    async def _insert_executions(self, new_runs: Sequence[_NewRun]) -> None:
        """Queue the new runs, each source's at its own turns; runs cancelled before they came end at once."""
        if not new_runs:
            return
        turns = await self._next_turns({run.request.source for run in new_runs})
        placed = []
        for run in new_runs:
            placed.append(turns[run.request.source])
            turns[run.request.source] += 1
        await self.connection.execute(
            _INSERT_EXECUTIONS,
            [run.run_id for run in new_runs],
            [run.request.request_id for run in new_runs],
            [run.request.source for run in new_runs],
            placed,
        )
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
            if run.cancelled is not None
        ]
        self.ended.extend(await end_runs(self.connection, endings, self.writer, self.relay))

    async def _next_turns(self, sources: Iterable[str]) -> dict[str, int]:
        """The turn of each source's next run: behind its own last one, level with the head of the queue at least.

        So ten thousand queued runs of one source are passed by the first of another (start-time fair queueing); with
        a single source turns just rise, which is first in, first out.
        """
        rows = await self.connection.fetch(_TURNS, sorted(sources))
        return {row["source"]: max(row["head"] or 1, (row["last"] or 0) + 1) for row in rows}

    async def _keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        """Remember every cancel; the first of a target counts."""
        if not cancels:
            return
        self.outcomes[RecordOutcome.CANCEL_KEPT] += len(cancels)
        ordered = sorted(cancels, key=lambda cancel: (cancel.run_id or 0, cancel.request_id or ""))
        await self.connection.execute(
            _KEEP_CANCELS,
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
            _NOTE_CANCELS,
            [cancel.run_id for cancel in cancels],
            [cancel.request_id for cancel in cancels],
            [cancel.reason or REASON_REQUESTED for cancel in cancels],
        )
        queued = [row for row in rows if row["state"] == "queued"]
        if not queued:
            return ()
        at_hand = await self.connection.fetch(_LOCK_ROWS_AT_HAND, [row["run_id"] for row in queued])
        progress = {row["id"]: row["progress_pct"] for row in at_hand}
        endings = [
            Ending(
                facts=facts_of(row["run_id"], row["request_id"], row["specification"])[0],
                attempt=row["attempts"],
                sequence=row["sequence"] + 1,
                progress_pct=progress[row["run_id"]],
                has_row=True,
                outcome=Cancelled(row["cancel_reason"]),
            )
            for row in queued
            if row["run_id"] in progress  # else its row is held or gone: the sweep takes it
        ]
        return await end_runs(self.connection, endings, self.writer, self.relay)


def _stored(run: _NewRun) -> str:
    return stored_specification(run.admitted.columns["strategy_id"], run.admitted.specification)


def _facts(run: _NewRun) -> RunFacts:
    return facts_of(run.run_id, run.request.request_id, _stored(run))[0]


def _column_run_id(request: RequestToRecord) -> int | None:
    """The run id that a rejected request named, where the column can hold it."""
    return request.request.run_id if request.request is not None else None


def _error_json(problems: Sequence[FieldProblem]) -> str:
    return storable(json.dumps([[problem.field, problem.code, problem.message] for problem in problems]))


_LOCK_RUNS = """
SELECT r.id, r.strategy_id, r.symbol, r.timeframe, r.start_date, r.end_date, r.initial_balance, r.spread_pips,
       r.execution_mode, r.primary_tf, r.context_tfs, r.max_llm_calls, r.commission_per_lot, r.tp_partial_close_ratio,
       r.status, EXISTS (SELECT 1 FROM backtest_executions e WHERE e.run_id = r.id) AS has_execution
FROM backtest_runs r WHERE r.id = ANY($1) ORDER BY r.id FOR UPDATE OF r
"""

_LOCK_STRATEGIES = """
SELECT id, name, execution_mode, strategy_key, strategy_params, primary_tf, context_tfs, symbols, lot_size, risk_pct,
       sl_pips, tp_pips, on_opposite, stop_to_entry, skip_hours, skip_weekdays, skip_hours_timezone, is_active
FROM strategies WHERE id = ANY($1) ORDER BY id FOR KEY SHARE
"""

_NEXT_RUN_IDS = """
SELECT nextval(pg_get_serial_sequence('backtest_runs', 'id'))::int AS id FROM generate_series(1, $1)
"""

_INSERT_REQUESTS = """
INSERT INTO backtest_requests (request_id, topic, partition, kafka_offset, content_hash, outcome, run_id, source, data,
                               specification, error)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::text[], $7::int[], $8::text[],
                     $9::text[], $10::text[], $11::text[])
ON CONFLICT (request_id) DO NOTHING
RETURNING request_id
"""

_INSERT_RUNS = f"""
INSERT INTO backtest_runs (id, {", ".join(RUN_COLUMNS)}) OVERRIDING SYSTEM VALUE
SELECT * FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::float8[],
                     $8::float8[], $9::text[], $10::text[], $11::text[], $12::int[], $13::float8[], $14::float8[])
"""

_INSERT_EXECUTIONS = """
INSERT INTO backtest_executions (run_id, request_id, source, turn)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[])
"""

_TURNS = """
SELECT s.source,
       (SELECT max(e.turn) FROM backtest_executions e WHERE e.state = 'queued' AND e.source = s.source) AS last,
       (SELECT min(e.turn) FROM backtest_executions e WHERE e.state = 'queued') AS head
FROM unnest($1::text[]) AS s(source)
"""

_KEEP_CANCELS = """
INSERT INTO backtest_cancels (run_id, request_id, reason, topic, partition, kafka_offset)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[])
ON CONFLICT DO NOTHING
"""

_NOTE_CANCELS = """
WITH wanted AS (
    SELECT c.run_id, c.reason FROM unnest($1::int[], $3::text[]) AS c(run_id, reason) WHERE c.run_id IS NOT NULL
    UNION ALL
    SELECT q.run_id, c.reason FROM unnest($2::text[], $3::text[]) AS c(request_id, reason)
    JOIN backtest_requests q ON q.request_id = c.request_id AND q.outcome = 'accepted'
), locked AS (
    SELECT e.run_id, (SELECT min(w.reason) FROM wanted w WHERE w.run_id = e.run_id) AS reason
    FROM backtest_executions e
    WHERE e.run_id IN (SELECT run_id FROM wanted) AND e.state IN ('queued', 'running')
    ORDER BY e.run_id FOR UPDATE OF e
)
UPDATE backtest_executions e SET cancel_reason = coalesce(e.cancel_reason, l.reason)
FROM locked l
WHERE e.run_id = l.run_id
RETURNING e.run_id, e.request_id, e.state, e.attempts, e.sequence, e.cancel_reason,
          (SELECT q.specification FROM backtest_requests q WHERE q.request_id = e.request_id) AS specification
"""

_LOCK_ROWS_AT_HAND = """
SELECT id, progress_pct FROM backtest_runs WHERE id = ANY($1) AND status IN ('pending', 'running')
FOR UPDATE SKIP LOCKED
"""
