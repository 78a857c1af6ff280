"""The queue of runs in Postgres: claims, heartbeats, cancels, finishes, each fenced by (run_id, epoch, running).

Lock order, so that nothing here waits in a circle: a finish locks the run's row, then its execution. Whoever comes
from the execution side (claim, heartbeat, sweep) takes rows of backtest_runs with SKIP LOCKED only. So a client that
keeps a run's row locked delays that run alone. Several executions are locked by run id, several outbox rows by id.
Rows are locked FOR NO KEY UPDATE: their keys never change here, and a client that merely refers to one is no obstacle.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from consumer.adapters.postgres import lock_keys
from consumer.adapters.postgres import queue_statements as statements
from consumer.adapters.postgres.endings import (
    EventOwner,
    encode_headers,
    end_runs,
    facts_of_rows,
    standings,
    store_events,
    take_over,
)
from consumer.adapters.postgres.pool import Connection, Pool, Row, transaction, translated
from consumer.adapters.postgres.taken_ids import pass_taken_ids
from consumer.ports import (
    Beat,
    BeatAnswer,
    BeatResult,
    Claim,
    ClaimResult,
    EventWriter,
    FinishResult,
    LapsedLease,
    OutgoingEvent,
)
from consumer.ports.outcomes import Completed, TerminalOutcome
from consumer.rules.columns import TRADE_COLUMNS
from consumer.rules.endings import (
    alive,
    asked_to_stop,
    cancelled_unclaimed,
    finished,
    finished_before,
    given_up,
    is_live,
)
from consumer.rules.ownership import Standing, standing_of
from consumer.rules.row_agreement import held_to_row

BEFORE_ALL = (-1, -1)
AFTER_ALL = (2**63 - 1, 2**31 - 1)

TAKEN_BLOCKS_PASSED = 20
"""Blocks of ids in backtest_trades that another service took by hand, which one finish passes over."""

CONNECTIONS_KEPT_FREE = 4
"""Of the pool, for heartbeats and cancels, while finishes wait for rows that a client has locked."""


@dataclass(slots=True)
class PostgresQueue:
    """Implements `RunQueue` on a pool of asyncpg connections."""

    pool: Pool
    writer: EventWriter
    owner: str
    lease_seconds: float
    max_attempts: int
    finishes: asyncio.Semaphore = field(init=False)
    swept: tuple[int, int] = field(default=BEFORE_ALL, init=False)
    """(turn, run_id) that the last sweep came to in the queue."""

    def __post_init__(self) -> None:
        self.finishes = asyncio.Semaphore(max(1, self.pool.get_max_size() - CONNECTIONS_KEPT_FREE))

    @property
    def event_owner(self) -> EventOwner:
        return EventOwner(self.owner, self.lease_seconds)

    async def lapsed(self) -> frozenset[LapsedLease]:
        with translated():
            rows = await self.pool.fetch(statements.LAPSED)
        return frozenset(LapsedLease(row["run_id"], row["epoch"], row["lease_until"]) for row in rows)

    async def claim(self, count: int, *, lapsed: Collection[LapsedLease] = ()) -> ClaimResult:
        if count <= 0:
            return ClaimResult(())
        async with transaction(self.pool) as connection:
            orphans = await self._pick_lapsed(connection, count, lapsed) if lapsed else []
            endings = given_up(orphans, self.max_attempts)
            events = await end_runs(connection, endings, self.writer, self.event_owner)
            ended = {ending.facts.run_id for ending in endings}
            picked = [each.facts.run_id for each in orphans if each.facts.run_id not in ended]
            room = count - len(picked)
            rows = list(await connection.fetch(statements.TAKE, *self._lease, picked)) if picked else []
            if room > 0:
                rows += await connection.fetch(statements.TAKE_QUEUED.format(limit=int(room)), *self._lease)
            claims = await self._claimed(connection, rows)
        return ClaimResult(claims, events, tuple(ending.ended for ending in endings))

    async def _pick_lapsed(
        self, connection: Connection, count: int, lapsed: Collection[LapsedLease]
    ) -> Sequence[Standing]:
        rows = await connection.fetch(
            statements.PICK_LAPSED.format(limit=int(count)),
            [lease.run_id for lease in lapsed],
            [lease.epoch for lease in lapsed],
            [lease.lease_until for lease in lapsed],
        )
        return await standings(connection, rows)

    @property
    def _lease(self) -> tuple[str, float]:
        return self.owner, self.lease_seconds

    async def _claimed(self, connection: Connection, rows: Sequence[Row]) -> tuple[Claim, ...]:
        """The claims on runs that were taken, of which this writes the started events."""
        if not rows:
            return ()
        rows = sorted(rows, key=lambda row: (row["turn"], row["run_id"]))
        known = [(row, *found) for row, found in zip(rows, await facts_of_rows(connection, rows), strict=True)]
        again = [row["run_id"] for row in rows if row["attempts"] > 1]
        unsent = await take_over(connection, again, self.event_owner) if again else ()
        started = await store_events(
            connection,
            [self.writer.started(facts, row["sequence"], row["attempts"]) for row, facts, _ in known],
            self.event_owner,
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
                statements.BEAT,
                [beat.claim.run_id for beat in beats],
                [beat.claim.epoch for beat in beats],
                [beat.progress_pct for beat in beats],
                [beat.event.sequence if beat.event else None for beat in beats],
                [beat.event.event_id if beat.event else None for beat in beats],
                [beat.event.key if beat.event else None for beat in beats],
                [beat.event.value if beat.event else None for beat in beats],
                [encode_headers(beat.event.headers) if beat.event else None for beat in beats],
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
                statements.CANCELS_WANTED, [claim.run_id for claim in claims], [claim.epoch for claim in claims]
            )
        return {row["run_id"]: asked_to_stop(row["is_ours"], row["status"], row["cancel_reason"]) for row in rows}

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        try:
            for _ in range(TAKEN_BLOCKS_PASSED):
                try:
                    return await self._finish_once(claim, outcome)
                except asyncpg.UniqueViolationError:  # another service took ids of trades by hand
                    async with transaction(self.pool) as connection:
                        await pass_taken_ids(connection, "backtest_trades")
            return await self._finish_once(claim, outcome)
        except _NotOwned:  # what was written above is rolled back
            return await self._finished_before(claim, outcome)

    async def _finish_once(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult:
        async with self.finishes, transaction(self.pool) as connection:
            return await self._finish(connection, claim, outcome)

    async def _finish(self, connection: Connection, claim: Claim, outcome: TerminalOutcome) -> FinishResult:
        row = await connection.fetchrow(statements.LOCK_ROW, claim.run_id)
        outcome = held_to_row(outcome, row, claim)
        copied = False
        if isinstance(outcome, Completed) and outcome.trade_count and row is not None and is_live(row["status"]):
            # Before the execution is locked: a long COPY must not hold up the heartbeat of every run here.
            await copy_trades(connection, outcome)
            copied = True
        execution = await connection.fetchrow(statements.LOCK_EXECUTION, claim.run_id)
        found = standing_of(execution, claim.facts) if execution is not None else None
        if found is None or not found.is_owned_by(claim):
            raise _NotOwned
        ending = finished(claim, found, row["status"] if row is not None else None, outcome)
        if copied and not isinstance(ending.outcome, Completed):
            await connection.execute("DELETE FROM backtest_trades WHERE run_id = $1", claim.run_id)
        return FinishResult(ending.outcome, await end_runs(connection, [ending], self.writer, self.event_owner))

    async def _finished_before(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        """The answer again where our own finish was committed and its answer lost: unsent events are ours to relay."""
        async with transaction(self.pool) as connection:
            row = await connection.fetchrow(statements.HOW_IT_ENDED, claim.run_id)
            found = standing_of(row, claim.facts) if row is not None else None
            if row is None or found is None or not found.was_ended_by(claim):
                return None
            events = await take_over(connection, [claim.run_id], self.event_owner)
            return FinishResult(finished_before(found, row["status"], row["error_message"], outcome), events)

    async def give_back(self, claim: Claim, *, died: bool) -> bool:
        async with transaction(self.pool) as connection:
            given = await connection.fetchval(statements.GIVE_BACK, claim.run_id, claim.epoch, int(died))
            if given is not None:
                await connection.execute(statements.SHOW_PENDING, [claim.run_id])
        return given is not None

    async def forget_unknown(self, known: Sequence[int]) -> int:
        async with transaction(self.pool) as connection:
            rows = await connection.fetch(statements.FORGET_UNKNOWN, self.owner, list(known))
            await connection.execute(statements.SHOW_PENDING, [row["run_id"] for row in rows])
        return len(rows)

    async def sweep(self) -> ClaimResult:
        async with transaction(self.pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock_keys.SWEEP):
                return ClaimResult(())
            wanted = await self._pick_cancelled(connection)
            rows = await connection.fetch(statements.LOCK_ROWS_AT_HAND, [row["run_id"] for row in wanted])
            statuses = {row["id"]: row["status"] for row in rows}
            endings = cancelled_unclaimed(
                (found, statuses.get(row["run_id"]))
                for row, found in zip(wanted, await standings(connection, wanted), strict=True)
                if row["run_id"] in statuses or not row["has_row"]  # else somebody holds it: the next sweep takes it
            )
            events = await end_runs(connection, endings, self.writer, self.event_owner)
        return ClaimResult((), events, tuple(ending.ended for ending in endings))

    async def _pick_cancelled(self, connection: Connection) -> Sequence[Row]:
        """Executions to be ended: all that are noted, and those in the next slice of the queue that their row shows."""
        end = await connection.fetchrow(statements.SLICE_END, *self.swept)
        until = (end["turn"], end["run_id"]) if end is not None else AFTER_ALL
        picked: Sequence[Row] = await connection.fetch(statements.PICK_CANCELLED, *self.swept, *until)
        if len(picked) < statements.SWEEP_LIMIT:  # else the slice may hold more
            self.swept = until if end is not None else BEFORE_ALL
        return picked


async def copy_trades(connection: Connection, outcome: Completed) -> None:
    """Append the run's trades by COPY; the child rendered them, so that this process does not touch each row."""
    await connection.copy_to_table(
        "backtest_trades", source=_in_one_piece(outcome.trades_csv), columns=TRADE_COLUMNS, format="csv"
    )


async def _in_one_piece(content: bytes) -> AsyncIterator[bytes]:
    """What the driver takes as it is: a file it would have read by another thread, and wait for it twice."""
    yield content


class _NotOwned(Exception):
    """The execution is not this claim's any more."""


def _beat_result(row: Row | None, event: OutgoingEvent | None) -> BeatResult:
    if row is None:
        return BeatResult(BeatAnswer.FENCED)
    stored = replace(event, row_id=row["outbox_id"]) if event is not None and row["outbox_id"] is not None else None
    return alive(row["cancel_reason"], stored)
