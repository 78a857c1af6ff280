"""The queue of runs in memory: what `postgres.queue` does, without a server. Implements `RunQueue`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from consumer.adapters.memory.tables import MemoryTables, Row
from consumer.ports import (
    Beat,
    BeatAnswer,
    BeatResult,
    Claim,
    ClaimResult,
    EventKind,
    EventWriter,
    FinishResult,
    LapsedLease,
    OutgoingEvent,
)
from consumer.ports.outcomes import Completed, TerminalOutcome
from consumer.rules.endings import (
    Ending,
    alive,
    asked_to_stop,
    cancelled_unclaimed,
    facts_of,
    finished,
    finished_before,
    given_up,
    is_live,
)
from consumer.rules.ownership import Standing
from consumer.rules.row_agreement import held_to_row


@dataclass(frozen=True, slots=True)
class MemoryQueue:
    """One worker's view of the queue in `tables`."""

    tables: MemoryTables
    writer: EventWriter
    owner: str
    lease_seconds: float
    max_attempts: int

    async def lapsed(self) -> frozenset[LapsedLease]:
        async with self.tables.transaction():
            return frozenset(_lease_of(row) for row in self._lapsed())

    async def claim(self, count: int, *, lapsed: Collection[LapsedLease] = ()) -> ClaimResult:
        if count <= 0:
            return ClaimResult(())
        async with self.tables.transaction():
            orphans = [row for row in self._lapsed() if _lease_of(row) in lapsed][:count]
            endings = given_up(map(self.tables.standing_of, orphans), self.max_attempts)
            events = self._end(endings)
            ended = {ending.facts.run_id for ending in endings}
            picked = [row for row in orphans if row["run_id"] not in ended]
            picked += self._queued()[: count - len(picked)]
            claims = [self._take(row) for row in sorted(picked, key=_turn)]
        return ClaimResult(tuple(claims), events, tuple(ending.ended for ending in endings))

    def _lapsed(self) -> list[Row]:
        executions = self.tables.executions.values()
        rows = [row for row in executions if row["state"] == "running" and self.tables.has_lapsed(row)]
        return sorted(filter(self._may_start, rows), key=_lease_and_run)

    def _queued(self) -> list[Row]:
        rows = [row for row in self.tables.executions.values() if row["state"] == "queued"]
        return sorted(filter(self._may_start, rows), key=_turn)

    def _may_start(self, execution: Row) -> bool:
        row = self.tables.runs.get(execution["run_id"])
        return (
            execution["cancel_reason"] is None
            and row is not None
            and is_live(row["status"])
            and row["id"] not in self.tables.held
        )

    def _take(self, execution: Row) -> Claim:
        run_id = execution["run_id"]
        taken = {
            **execution,
            "deaths": execution["deaths"] + int(execution["state"] == "running"),
            "state": "running",
            "epoch": execution["epoch"] + 1,
            "attempts": execution["attempts"] + 1,
            "owner": self.owner,
            "lease_until": self.tables.lease_until(self.lease_seconds),
            "sequence": execution["sequence"] + 1,
            "progress_pct": 0,
            "started_at": execution["started_at"] or self.tables.clock.now_utc(),
        }
        self.tables.executions[run_id] = taken
        row = self.tables.runs[run_id]
        self.tables.change_run(run_id, status="running", progress_pct=0, primary_tf=row["timeframe"])
        request = self.tables.requests[execution["request_id"]]
        facts, specification = facts_of(run_id, execution["request_id"], request["specification"])
        unsent = self.tables.take_over({run_id}, self.owner, self.lease_seconds)
        started = self.writer.started(facts, taken["sequence"], taken["attempts"])
        stored = self.tables.store_events([started], self.owner, self.lease_seconds)
        return Claim(
            facts=facts,
            epoch=taken["epoch"],
            attempt=taken["attempts"],
            deaths=taken["deaths"],
            sequence=taken["sequence"],
            specification=specification,
            events=(*unsent, *stored),
        )

    async def beat(self, beats: Sequence[Beat]) -> Mapping[int, BeatResult]:
        if not beats:
            return {}
        async with self.tables.transaction():
            return {beat.claim.run_id: self._beat(beat) for beat in beats}

    def _beat(self, beat: Beat) -> BeatResult:
        execution = self._owned(beat.claim)
        if execution is None:
            return BeatResult(BeatAnswer.FENCED)
        run_id = beat.claim.run_id
        self.tables.executions[run_id] = {
            **execution,
            "lease_until": self.tables.lease_until(self.lease_seconds),
            "sequence": max(execution["sequence"], beat.event.sequence if beat.event else 0),
            "progress_pct": max(execution["progress_pct"], beat.progress_pct or 0),
        }
        row = self.tables.runs.get(run_id)
        if (
            beat.progress_pct is not None
            and row is not None
            and run_id not in self.tables.held
            and row["status"] == "running"
            and beat.progress_pct > row["progress_pct"]
        ):
            self.tables.change_run(run_id, progress_pct=beat.progress_pct)
        stored = self._replace_progress(beat.event) if beat.event is not None else None
        return alive(execution["cancel_reason"], stored)

    def _replace_progress(self, event: OutgoingEvent) -> OutgoingEvent:
        for row_id, row in self.tables.outbox.items():
            if row["event"].run_id == event.run_id and row["event"].kind is EventKind.PROGRESS:
                stored = replace(event, row_id=row_id)
                until = self.tables.lease_until(self.lease_seconds)
                self.tables.outbox[row_id] = {"event": stored, "owner": self.owner, "lease_until": until}
                return stored
        return self.tables.store_events([event], self.owner, self.lease_seconds)[0]

    def _owned(self, claim: Claim) -> Row | None:
        """The execution, where this claim still is the right to it."""
        execution = self.tables.executions.get(claim.run_id)
        return execution if execution is not None and self.tables.standing_of(execution).is_owned_by(claim) else None

    async def cancels_wanted(self, claims: Sequence[Claim]) -> Mapping[int, BeatResult]:
        if not claims:
            return {}
        async with self.tables.transaction():
            return {claim.run_id: self._wanted(claim) for claim in claims}

    def _wanted(self, claim: Claim) -> BeatResult:
        execution = self._owned(claim)
        noted = self.tables.kept_cancel(execution) if execution is not None else None
        return asked_to_stop(execution is not None, self._row_status(claim.run_id), noted)

    def _row_status(self, run_id: int) -> str | None:
        row = self.tables.runs.get(run_id)
        return row["status"] if row is not None else None

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        await self.tables.wait_for_row(claim.run_id)
        async with self.tables.transaction():
            execution = self.tables.executions.get(claim.run_id)
            found = self.tables.standing_of(execution) if execution is not None else None
            if found is None or not found.is_owned_by(claim):
                return self._finished_before(claim, found, outcome)
            outcome = held_to_row(outcome, self.tables.runs.get(claim.run_id), claim)
            ending = finished(claim, found, self._row_status(claim.run_id), outcome)
            if isinstance(ending.outcome, Completed):
                self.tables.copy_trades(claim.run_id, ending.outcome.trades_csv)
            return FinishResult(ending.outcome, self._end([ending]))

    def _finished_before(self, claim: Claim, found: Standing | None, outcome: TerminalOutcome) -> FinishResult | None:
        if found is None or not found.was_ended_by(claim):
            return None
        row = self.tables.runs.get(claim.run_id)
        message = row["error_message"] if row is not None else None
        events = tuple(self.tables.take_over({claim.run_id}, self.owner, self.lease_seconds))
        return FinishResult(finished_before(found, self._row_status(claim.run_id), message, outcome), events)

    async def give_back(self, claim: Claim, *, died: bool) -> bool:
        async with self.tables.transaction():
            execution = self._owned(claim)
            if execution is None:
                return False
            self._requeue({**execution, "deaths": execution["deaths"] + int(died)})
            return True

    async def forget_unknown(self, known: Sequence[int]) -> int:
        async with self.tables.transaction():
            unknown = [
                row
                for row in self.tables.executions.values()
                if row["state"] == "running" and row["owner"] == self.owner and row["run_id"] not in known
            ]
            for row in unknown:
                self._requeue(row)
            return len(unknown)

    def _requeue(self, execution: Row) -> None:
        run_id = execution["run_id"]
        self.tables.executions[run_id] = {**execution, "state": "queued", "owner": None, "lease_until": None}
        row = self.tables.runs.get(run_id)
        if row is not None and row["status"] == "running" and run_id not in self.tables.held:
            self.tables.change_run(run_id, status="pending")

    async def sweep(self) -> ClaimResult:
        async with self.tables.transaction():
            endings = cancelled_unclaimed(
                (self.tables.standing_of(row), self._row_status(row["run_id"]))
                for row in self.tables.executions.values()
                if self._waits_for_nobody(row)
            )
            return ClaimResult((), self._end(endings), tuple(ending.ended for ending in endings))

    def _waits_for_nobody(self, execution: Row) -> bool:
        if execution["run_id"] in self.tables.held:
            return False
        return execution["state"] == "queued" or (execution["state"] == "running" and self.tables.has_lapsed(execution))

    def _end(self, endings: Sequence[Ending]) -> tuple[OutgoingEvent, ...]:
        return self.tables.end_runs(endings, self.writer, self.owner, self.lease_seconds)


def _turn(execution: Row) -> tuple[int, int]:
    return execution["turn"], execution["run_id"]


def _lease_of(execution: Row) -> LapsedLease:
    return LapsedLease(execution["run_id"], execution["epoch"], execution["lease_until"])


def _lease_and_run(execution: Row) -> tuple[datetime, int]:
    return execution["lease_until"], execution["run_id"]
