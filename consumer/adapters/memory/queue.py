"""The queue of runs in memory: what `postgres_queue` does, without a server. Implements `RunQueue`."""

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
    EndedRun,
    EventKind,
    EventWriter,
    FinishResult,
    LapsedLease,
    OutgoingEvent,
)
from consumer.ports.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from consumer.rules.endings import Ending, cancel_reason, facts_of, is_live, lapsed_for_good, state_of
from consumer.rules.row_agreement import run_disagrees
from schemas.cancelled import REASON_REQUESTED


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
            hopeless = [row for row in orphans if row["deaths"] + 1 >= self.max_attempts]
            picked = [row for row in orphans if row["deaths"] + 1 < self.max_attempts]
            events = self._end([self._ending(row, lapsed_for_good(row["deaths"] + 1)) for row in hopeless])
            picked += self._queued()[: count - len(picked)]
            claims = [self._take(row) for row in sorted(picked, key=_turn)]
        ended = tuple(EndedRun(row["run_id"], row["request_id"], row["epoch"] + 1, "failed") for row in hopeless)
        return ClaimResult(tuple(claims), events, ended)

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
        if execution["cancel_reason"] is not None:
            return BeatResult(BeatAnswer.CANCEL, execution["cancel_reason"], stored)
        return BeatResult(BeatAnswer.ALIVE, "", stored)

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
        if execution is None or execution["epoch"] != claim.epoch or execution["state"] != "running":
            return None
        return execution

    async def cancels_wanted(self, claims: Sequence[Claim]) -> Mapping[int, BeatResult]:
        if not claims:
            return {}
        async with self.tables.transaction():
            return {claim.run_id: self._wanted(claim) for claim in claims}

    def _wanted(self, claim: Claim) -> BeatResult:
        execution = self._owned(claim)
        if execution is None:
            return BeatResult(BeatAnswer.FENCED)
        reason = self._cancel_reason(execution)
        return BeatResult(BeatAnswer.ALIVE) if reason is None else BeatResult(BeatAnswer.CANCEL, reason)

    def _cancel_reason(self, execution: Row) -> str | None:
        row = self.tables.runs.get(execution["run_id"])
        return cancel_reason(row["status"] if row is not None else None, self._kept_cancel(execution))

    def _kept_cancel(self, execution: Row) -> str | None:
        if execution["cancel_reason"] is not None:
            return str(execution["cancel_reason"])
        for target in (execution["run_id"], execution["request_id"]):
            if target in self.tables.cancels:
                return self.tables.cancels[target] or REASON_REQUESTED
        return None

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        await self.tables.wait_for_row(claim.run_id)
        async with self.tables.transaction():
            execution = self.tables.executions.get(claim.run_id)
            if execution is None or execution["epoch"] != claim.epoch or execution["state"] == "queued":
                return None
            if execution["state"] != "running":
                return self._finished_before(claim, execution, outcome)
            row = self.tables.runs.get(claim.run_id)
            if isinstance(outcome, Completed) and row is not None:
                outcome = run_disagrees(row, claim) or outcome
            reason = self._cancel_reason(execution)
            if reason is not None:
                outcome = Cancelled(reason)
            if isinstance(outcome, Completed):
                self.tables.copy_trades(claim.run_id, outcome.trades_csv)
            ending = Ending(
                facts=claim.facts,
                attempt=claim.attempt,
                sequence=execution["sequence"] + 1,
                progress_pct=execution["progress_pct"],
                has_row=row is not None,
                outcome=outcome,
            )
            return FinishResult(outcome, self._end([ending]))

    def _finished_before(self, claim: Claim, execution: Row, outcome: TerminalOutcome) -> FinishResult:
        events = tuple(self.tables.take_over({claim.run_id}, self.owner, self.lease_seconds))
        if execution["state"] == state_of(outcome):
            return FinishResult(outcome, events)
        row = self.tables.runs.get(claim.run_id)
        if execution["state"] == "cancelled":
            return FinishResult(Cancelled(self._cancel_reason(execution) or REASON_REQUESTED), events)
        code, _, message = ((row["error_message"] if row else None) or "").partition(": ")
        return FinishResult(Failed(code, message), events)

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
            endings = [
                (self._ending(row, Cancelled(reason)), row["epoch"])
                for row in self.tables.executions.values()
                if self._waits_for_nobody(row) and (reason := self._cancel_reason(row)) is not None
            ]
            events = self._end([ending for ending, _ in endings])
        ended = tuple(
            EndedRun(ending.facts.run_id, ending.facts.request_id, epoch + int(ending.fence), "cancelled")
            for ending, epoch in endings
        )
        return ClaimResult((), events, ended)

    def _waits_for_nobody(self, execution: Row) -> bool:
        if execution["run_id"] in self.tables.held:
            return False
        return execution["state"] == "queued" or (execution["state"] == "running" and self.tables.has_lapsed(execution))

    def _ending(self, execution: Row, outcome: TerminalOutcome) -> Ending:
        run_id = execution["run_id"]
        specification = self.tables.requests[execution["request_id"]]["specification"]
        return Ending(
            facts=facts_of(run_id, execution["request_id"], specification)[0],
            attempt=execution["attempts"],
            sequence=execution["sequence"] + 1,
            progress_pct=execution["progress_pct"],
            has_row=run_id in self.tables.runs,
            outcome=outcome,
            fence=execution["state"] == "running",
        )

    def _end(self, endings: Sequence[Ending]) -> tuple[OutgoingEvent, ...]:
        return self.tables.end_runs(endings, self.writer, self.owner, self.lease_seconds)


def _turn(execution: Row) -> tuple[int, int]:
    return execution["turn"], execution["run_id"]


def _lease_of(execution: Row) -> LapsedLease:
    return LapsedLease(execution["run_id"], execution["epoch"], execution["lease_until"])


def _lease_and_run(execution: Row) -> tuple[datetime, int]:
    return execution["lease_until"], execution["run_id"]
