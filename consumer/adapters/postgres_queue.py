"""The queue of runs in Postgres: claims, heartbeats, cancels, finishes, each fenced by (run_id, epoch, running).

Lock order, so that nothing here waits in a circle: a finish locks the run's row, then its execution. Whoever comes
from the execution side (claim, heartbeat, sweep) takes rows of backtest_runs with SKIP LOCKED only. So a client that
keeps a run's row locked delays that run alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from consumer.adapters.postgres_endings import (
    Connection,
    Ending,
    Relay,
    end_runs,
    facts_of,
    store_events,
    take_over,
)
from consumer.adapters.postgres_pool import transaction, translated
from consumer.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from consumer.ports import (
    Beat,
    BeatAnswer,
    BeatResult,
    Claim,
    ClaimResult,
    EndedRun,
    EventWriter,
    FinishResult,
    OutgoingEvent,
)

TRADE_COLUMNS = (
    "run_id", "position_id", "symbol", "direction", "entry_time", "exit_time", "entry_price", "exit_price", "volume",
    "profit", "commission", "spread_cost", "swap", "equity_after", "stop_loss", "take_profit", "exit_reason",
    "pattern_name", "pattern_metadata", "source",
)  # fmt: skip

SWEEP_LIMIT = 500
"""Runs ended by one sweep; the next one takes the rest."""


@dataclass(frozen=True, slots=True)
class PostgresQueue:
    """Implements `RunQueue` on a pool of asyncpg connections."""

    pool: Any
    writer: EventWriter
    owner: str
    lease_seconds: float
    max_attempts: int

    @property
    def relay(self) -> Relay:
        return Relay(self.owner, self.lease_seconds)

    async def claim(self, count: int, *, expired: bool) -> ClaimResult:
        async with transaction(self.pool) as connection:
            lapsed = await connection.fetch(_PICK_LAPSED.format(limit=int(count))) if expired and count else []
            hopeless = [row for row in lapsed if row["deaths"] + 1 >= self.max_attempts]
            picked = [row["run_id"] for row in lapsed if row["deaths"] + 1 < self.max_attempts]
            ended_events = await self._end_hopeless(connection, hopeless)
            room = count - len(picked)
            if room > 0:
                picked += [row["run_id"] for row in await connection.fetch(_PICK_QUEUED.format(limit=room))]
            claims = await self._take(connection, picked)
        ended = tuple(EndedRun(row["run_id"], row["request_id"], row["epoch"], "failed") for row in hopeless)
        return ClaimResult(claims, ended_events, ended)

    async def _end_hopeless(self, connection: Connection, rows: Sequence[Any]) -> tuple[OutgoingEvent, ...]:
        """Fail runs whose worker died under them for the last time."""
        endings = [
            Ending(
                facts=facts_of(row["run_id"], row["request_id"], row["specification"])[0],
                attempt=row["attempts"],
                sequence=row["sequence"] + 1,
                progress_pct=row["progress_pct"],
                has_row=True,
                outcome=crash_loop(row["deaths"] + 1, "its worker was gone and its lease ran out"),
            )
            for row in rows
        ]
        return await end_runs(connection, endings, self.writer, self.relay)

    async def _take(self, connection: Connection, run_ids: Sequence[int]) -> tuple[Claim, ...]:
        """Claim runs whose rows are locked: fence, show it in the row, write the started events."""
        if not run_ids:
            return ()
        rows = await connection.fetch(_TAKE, run_ids, self.owner, self.lease_seconds)
        rows = sorted(rows, key=lambda row: (row["turn"], row["run_id"]))
        known = [(row, *facts_of(row["run_id"], row["request_id"], row["specification"])) for row in rows]
        again = [row["run_id"] for row in rows if row["attempts"] > 1]
        unsent = await take_over(connection, again, self.relay) if again else ()
        started = await store_events(
            connection,
            [self.writer.started(facts, row["sequence"], row["attempts"]) for row, facts, _ in known],
            self.relay,
        )
        return tuple(
            Claim(
                facts=facts,
                epoch=row["epoch"],
                attempt=row["attempts"],
                deaths=row["deaths"],
                sequence=row["sequence"],
                specification=specification,
                events=(*(event for event in unsent if event.run_id == facts.run_id), event),
            )
            for (row, facts, specification), event in zip(known, started, strict=True)
        )

    async def beat(self, beats: Sequence[Beat]) -> Mapping[int, BeatResult]:
        if not beats:
            return {}
        events = {beat.claim.run_id: beat.event for beat in beats if beat.event is not None}
        with translated():
            rows = await self.pool.fetch(
                _BEAT,
                [beat.claim.run_id for beat in beats],
                [beat.claim.epoch for beat in beats],
                [beat.progress_pct for beat in beats],
                [beat.event.sequence if beat.event else None for beat in beats],
                [beat.event.event_id if beat.event else None for beat in beats],
                [beat.event.key if beat.event else None for beat in beats],
                [beat.event.value if beat.event else None for beat in beats],
                self.owner,
                self.lease_seconds,
            )
        alive = {row["run_id"]: row for row in rows}
        return {
            beat.claim.run_id: _beat_result(alive.get(beat.claim.run_id), events.get(beat.claim.run_id))
            for beat in beats
        }

    async def cancels_wanted(self, claims: Sequence[Claim]) -> Mapping[int, BeatResult]:
        if not claims:
            return {}
        with translated():
            rows = await self.pool.fetch(
                _CANCELS_WANTED, [claim.run_id for claim in claims], [claim.epoch for claim in claims]
            )
        return {row["run_id"]: _cancel_result(row) for row in rows}

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        try:
            async with transaction(self.pool) as connection:
                return await self._finish(connection, claim, outcome)
        except _NotRunning as found:  # what was written above is rolled back
            if found.epoch != claim.epoch or found.state in {"queued", "running"}:
                return None
        return await self._finished_before(claim, outcome)

    async def _finish(self, connection: Connection, claim: Claim, outcome: TerminalOutcome) -> FinishResult:
        row = await connection.fetchrow(_LOCK_ROW, claim.run_id)
        if isinstance(outcome, Completed) and outcome.trade_count and row is not None and is_live(row["status"]):
            # Before the execution is locked: a long COPY must not hold up the heartbeat of every run here.
            await copy_trades(connection, outcome)
        execution = await connection.fetchrow(_LOCK_EXECUTION, claim.run_id)
        if execution is None or execution["epoch"] != claim.epoch or execution["state"] != "running":
            raise _NotRunning(execution)
        reason = cancel_reason(row["status"] if row is not None else None, execution["cancel_reason"])
        if reason is not None:
            await connection.execute("DELETE FROM backtest_trades WHERE run_id = $1", claim.run_id)
            outcome = Cancelled(reason)
        ending = Ending(
            facts=claim.facts,
            attempt=claim.attempt,
            sequence=execution["sequence"] + 1,
            progress_pct=row["progress_pct"] if row is not None else 0,
            has_row=row is not None,
            outcome=outcome,
        )
        return FinishResult(outcome, await end_runs(connection, [ending], self.writer, self.relay))

    async def _finished_before(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult:
        """Our own finish was committed, but its answer was lost: the events that are still unsent are ours to relay."""
        async with transaction(self.pool) as connection:
            state = await connection.fetchval("SELECT state FROM backtest_executions WHERE run_id = $1", claim.run_id)
            events = await take_over(connection, [claim.run_id], self.relay)
        return FinishResult(Cancelled("requested") if state == "cancelled" else outcome, events)

    async def give_back(self, claim: Claim, *, died: bool) -> bool:
        async with transaction(self.pool) as connection:
            given = await connection.fetchval(_GIVE_BACK, claim.run_id, claim.epoch, int(died))
            if given is not None:
                await connection.execute(_SHOW_PENDING, [claim.run_id])
        return given is not None

    async def forget_unknown(self, known: Sequence[int]) -> int:
        async with transaction(self.pool) as connection:
            rows = await connection.fetch(_FORGET_UNKNOWN, self.owner, list(known))
            await connection.execute(_SHOW_PENDING, [row["run_id"] for row in rows])
        return len(rows)

    async def sweep(self) -> ClaimResult:
        async with transaction(self.pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _SWEEP_LOCK):
                return ClaimResult(())
            wanted = await connection.fetch(_PICK_CANCELLED)
            rows = await connection.fetch(_LOCK_ROWS_AT_HAND, [row["run_id"] for row in wanted])
            at_hand = {row["id"]: row for row in rows}
            endings: list[tuple[Ending, int]] = []
            for execution in wanted:
                run_id = execution["run_id"]
                row = at_hand.get(run_id)
                if row is None and execution["has_row"]:
                    continue  # somebody holds the row: the next sweep takes it
                reason = cancel_reason(row["status"] if row is not None else None, execution["cancel_reason"])
                if reason is None:
                    continue
                ending = Ending(
                    facts=facts_of(run_id, execution["request_id"], execution["specification"])[0],
                    attempt=execution["attempts"],
                    sequence=execution["sequence"] + 1,
                    progress_pct=row["progress_pct"] if row is not None else 0,
                    has_row=row is not None,
                    outcome=Cancelled(reason),
                )
                endings.append((ending, execution["epoch"]))
            events = await end_runs(connection, [ending for ending, _ in endings], self.writer, self.relay)
        ended = tuple(EndedRun(end.facts.run_id, end.facts.request_id, epoch, "cancelled") for end, epoch in endings)
        return ClaimResult((), events, ended)


def crash_loop(deaths: int, last: str) -> Failed:
    """The outcome of a run under which children or workers died MAX_ATTEMPTS times."""
    return Failed("crash_loop", f"gave up after {deaths} deaths under this run; the last: {last}")


def cancel_reason(row_status: str | None, noted: str | None) -> str | None:
    """Why the run must end cancelled; None: it need not. row_status: None when the row is gone."""
    if row_status is None:
        return "run_deleted"
    if noted is not None:
        return noted
    return None if is_live(row_status) else "row"


def is_live(row_status: str) -> bool:
    """Whether a run may go on by its row. Any other word set from outside is a cancel: results have nowhere to go."""
    return row_status in {"pending", "running"}


async def copy_trades(connection: Connection, outcome: Completed) -> None:
    """Append the run's trades by COPY; the child rendered them, so that this process does not touch each row."""
    await connection.copy_to_table(
        "backtest_trades", source=BytesIO(outcome.trades_csv), columns=TRADE_COLUMNS, format="csv"
    )


class _NotRunning(Exception):
    """The execution is not this claim's any more; carries what it is."""

    def __init__(self, execution: Any) -> None:
        super().__init__("fenced")
        self.epoch: int = execution["epoch"] if execution is not None else -1
        self.state: str = execution["state"] if execution is not None else "queued"


def _beat_result(row: Any, event: OutgoingEvent | None) -> BeatResult:
    if row is None:
        return BeatResult(BeatAnswer.FENCED)
    stored = replace(event, row_id=row["outbox_id"]) if event is not None and row["outbox_id"] is not None else None
    if row["cancel_reason"] is not None:
        return BeatResult(BeatAnswer.CANCEL, row["cancel_reason"], stored)
    return BeatResult(BeatAnswer.ALIVE, "", stored)


def _cancel_result(row: Any) -> BeatResult:
    if not row["is_ours"]:
        return BeatResult(BeatAnswer.FENCED)
    reason = cancel_reason(row["row_status"], row["cancel_reason"])
    return BeatResult(BeatAnswer.ALIVE) if reason is None else BeatResult(BeatAnswer.CANCEL, reason)


_SWEEP_LOCK = 0x6261636B74657374  # "backtest": one sweep at a time in a database

# A cancel may have been stored by a transaction that did not yet see the request, and the other way round: so the kept
# cancels are looked up wherever a run is picked, run or finished, and not only at intake.
_KEPT_CANCEL = """coalesce(e.cancel_reason,
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE c.run_id = e.run_id),
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE c.request_id = e.request_id))"""

# The limit is written into the text: with a parameter the planner assumes a tenth of the table and sorts it.
_PICK_QUEUED = f"""
SELECT e.run_id
FROM backtest_executions e JOIN backtest_runs r ON r.id = e.run_id
WHERE e.state = 'queued' AND r.status IN ('pending', 'running') AND {_KEPT_CANCEL} IS NULL
ORDER BY e.turn, e.run_id
LIMIT {{limit}}
FOR UPDATE OF e, r SKIP LOCKED
"""

_PICK_LAPSED = f"""
SELECT e.run_id, e.request_id, e.epoch, e.attempts, e.deaths, e.sequence, r.progress_pct, q.specification
FROM backtest_executions e JOIN backtest_runs r ON r.id = e.run_id
JOIN backtest_requests q ON q.request_id = e.request_id
WHERE e.state = 'running' AND e.lease_until < now() AND r.status IN ('pending', 'running') AND {_KEPT_CANCEL} IS NULL
ORDER BY e.lease_until, e.run_id
LIMIT {{limit}}
FOR UPDATE OF e, r SKIP LOCKED
"""

_TAKE = """
WITH claimed AS (
    UPDATE backtest_executions e
    SET deaths = deaths + (state = 'running')::int, state = 'running', epoch = epoch + 1, attempts = attempts + 1,
        owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3), sequence = sequence + 1,
        started_at = coalesce(started_at, clock_timestamp())
    WHERE run_id = ANY($1)
    RETURNING run_id, request_id, turn, epoch, attempts, deaths, sequence
), shown AS (
    UPDATE backtest_runs SET status = 'running', progress_pct = 0 WHERE id = ANY($1)
)
SELECT c.*, q.specification FROM claimed c JOIN backtest_requests q ON q.request_id = c.request_id
"""

_BEAT = """
WITH beats AS (
    SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[])
        AS b(run_id, epoch, progress_pct, sequence, event_id, message_key, value)
), alive AS (
    UPDATE backtest_executions e
    SET lease_until = clock_timestamp() + make_interval(secs => $9),
        sequence = greatest(e.sequence, coalesce(b.sequence, 0))
    FROM beats b
    WHERE e.run_id = b.run_id AND e.epoch = b.epoch AND e.state = 'running'
    RETURNING e.run_id, e.cancel_reason
), free AS (
    SELECT r.id, b.progress_pct
    FROM backtest_runs r JOIN alive a ON a.run_id = r.id JOIN beats b ON b.run_id = r.id
    WHERE r.status = 'running' AND b.progress_pct > r.progress_pct
    FOR UPDATE OF r SKIP LOCKED
), shown AS (
    UPDATE backtest_runs r SET progress_pct = f.progress_pct FROM free f WHERE r.id = f.id
), stored AS (
    INSERT INTO backtest_outbox (event_id, kind, run_id, sequence, message_key, value, owner, lease_until)
    SELECT b.event_id, 'progress', b.run_id, b.sequence, b.message_key, b.value,
           $8, clock_timestamp() + make_interval(secs => $9)
    FROM beats b JOIN alive a ON a.run_id = b.run_id
    WHERE b.event_id IS NOT NULL
    ON CONFLICT (run_id) WHERE kind = 'progress' DO UPDATE
    SET event_id = excluded.event_id, sequence = excluded.sequence, value = excluded.value,
        owner = excluded.owner, lease_until = excluded.lease_until
    RETURNING id, run_id
)
SELECT a.run_id, a.cancel_reason, s.id AS outbox_id FROM alive a LEFT JOIN stored s ON s.run_id = a.run_id
"""

_CANCELS_WANTED = f"""
SELECT i.run_id, coalesce(e.epoch = i.epoch AND e.state = 'running', false) AS is_ours,
       r.status AS row_status, {_KEPT_CANCEL} AS cancel_reason
FROM unnest($1::int[], $2::int[]) AS i(run_id, epoch)
LEFT JOIN backtest_executions e ON e.run_id = i.run_id
LEFT JOIN backtest_runs r ON r.id = i.run_id
"""

_LOCK_ROW = "SELECT status, progress_pct FROM backtest_runs WHERE id = $1 FOR UPDATE"

_LOCK_EXECUTION = f"""
SELECT e.epoch, e.state, e.sequence, {_KEPT_CANCEL} AS cancel_reason
FROM backtest_executions e WHERE e.run_id = $1 FOR UPDATE OF e
"""

_GIVE_BACK = """
UPDATE backtest_executions
SET state = 'queued', owner = NULL, lease_until = NULL, deaths = deaths + $3
WHERE run_id = $1 AND epoch = $2 AND state = 'running'
RETURNING run_id
"""

_FORGET_UNKNOWN = """
UPDATE backtest_executions SET state = 'queued', owner = NULL, lease_until = NULL
WHERE owner = $1 AND state = 'running' AND NOT run_id = ANY($2)
RETURNING run_id
"""

_SHOW_PENDING = """
UPDATE backtest_runs SET status = 'pending'
WHERE id IN (SELECT id FROM backtest_runs WHERE id = ANY($1) AND status = 'running' FOR UPDATE SKIP LOCKED)
"""

_PICK_CANCELLED = f"""
SELECT e.run_id, e.request_id, e.epoch, e.attempts, e.sequence, q.specification,
       r.id IS NOT NULL AS has_row, {_KEPT_CANCEL} AS cancel_reason
FROM backtest_executions e
JOIN backtest_requests q ON q.request_id = e.request_id
LEFT JOIN backtest_runs r ON r.id = e.run_id
WHERE (e.state = 'queued' OR (e.state = 'running' AND e.lease_until < now()))
  AND (r.id IS NULL OR r.status NOT IN ('pending', 'running') OR {_KEPT_CANCEL} IS NOT NULL)
ORDER BY e.run_id
LIMIT {SWEEP_LIMIT}
FOR UPDATE OF e SKIP LOCKED
"""

_LOCK_ROWS_AT_HAND = "SELECT id, status, progress_pct FROM backtest_runs WHERE id = ANY($1) FOR UPDATE SKIP LOCKED"
