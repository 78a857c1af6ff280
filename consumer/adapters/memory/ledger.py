"""The memory of requests and cancels, in memory: what `postgres_ledger` does, without a server. Implements
`RequestLedger`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from consumer.adapters.memory.tables import MemoryTables, Row
from consumer.ports import (
    Admit,
    Admitted,
    CancelToRecord,
    EventWriter,
    IntakeResult,
    OutgoingEvent,
    Refused,
    RequestToRecord,
    RunRow,
    StrategyRow,
)
from consumer.ports.outcomes import Cancelled, RecordOutcome
from consumer.rules.endings import Ending, cancel_reason, facts_of, stored_specification
from schemas.cancelled import REASON_REQUESTED
from schemas.dead_letter import DeadLetterReason

_RUN_FIELDS = [each.name for each in fields(RunRow) if each.name != "has_execution"]
_STRATEGY_FIELDS = [each.name for each in fields(StrategyRow)]


@dataclass(frozen=True, slots=True)
class MemoryLedger:
    """One worker's view of the ledger in `tables`."""

    tables: MemoryTables
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
        async with self.tables.transaction():
            recording = _Recording(self, list(dead_letters))
            recording.count(RecordOutcome.DEAD_LETTERED, len(dead_letters))
            recording.keep_cancels(cancels)
            for request in requests:
                recording.take(request, admit)
            recording.cancel_known(cancels)
            stored = self.tables.store_events(recording.events, self.owner, self.lease_seconds)
            return IntakeResult(
                dict(recording.outcomes), (*stored, *recording.ended), tuple(sorted(recording.new_runs))
            )

    async def queued_count(self) -> int:
        async with self.tables.transaction():
            return sum(row["state"] == "queued" for row in self.tables.executions.values())


@dataclass(slots=True)
class _Recording:
    """One batch inside its transaction."""

    ledger: MemoryLedger
    events: list[OutgoingEvent]
    outcomes: Counter[str] = field(default_factory=Counter)
    ended: list[OutgoingEvent] = field(default_factory=list)
    new_runs: list[int] = field(default_factory=list)

    @property
    def tables(self) -> MemoryTables:
        return self.ledger.tables

    def count(self, outcome: RecordOutcome, number: int = 1) -> None:
        if number:
            self.outcomes[outcome] += number

    def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        for cancel in cancels:
            self.tables.cancels.setdefault(_target(cancel), cancel.reason)
        self.count(RecordOutcome.CANCEL_KEPT, len(cancels))

    def take(self, request: RequestToRecord, admit: Admit) -> None:
        """Repeat, conflict, rejection or run."""
        writer = self.ledger.writer
        known = self.tables.requests.get(request.request_id)
        if known is not None:
            if known["content_hash"] == request.content_hash:
                self.count(RecordOutcome.DUPLICATE)
                return
            message = f"request_id {request.request_id!r} was used before, with other content"
            self.events.append(writer.dead_letter(request.record, DeadLetterReason.CONFLICT, message))
            self.count(RecordOutcome.DEAD_LETTERED)
            return
        decision = self._decide(request, admit)
        if isinstance(decision, Refused):
            self._remember(request, RecordOutcome.REJECTED, None, None)
            self.events.append(writer.rejected(request, decision.problems))
            self.count(RecordOutcome.REJECTED)
            return
        self._accept(request, decision)
        self.count(RecordOutcome.ACCEPTED)

    def _decide(self, request: RequestToRecord, admit: Admit) -> Admitted | Refused:
        asked = request.request
        run = self._run_row(asked.run_id) if asked.run_id is not None else None
        strategy_id = run.strategy_id if run is not None else asked.strategy_id
        row = self.tables.strategies.get(strategy_id) if strategy_id is not None else None
        strategy = StrategyRow(**{name: row[name] for name in _STRATEGY_FIELDS}) if row is not None else None
        return admit(asked, strategy, run, request.problems)

    def _run_row(self, run_id: int) -> RunRow | None:
        row = self.tables.runs.get(run_id)
        if row is None:
            return None
        return RunRow(**{name: row[name] for name in _RUN_FIELDS}, has_execution=run_id in self.tables.executions)

    def _accept(self, request: RequestToRecord, decision: Admitted) -> None:
        named = request.request.run_id
        specification = stored_specification(decision.columns["strategy_id"], decision.specification)
        run_id = named if named is not None else self.tables.add_run(**decision.columns)
        row = self.tables.runs[run_id]
        if run_id not in self.tables.held:
            self.tables.change_run(run_id, primary_tf=row["timeframe"])
        self._remember(request, RecordOutcome.ACCEPTED, run_id, specification)
        cancels = self.tables.cancels
        targets = [request.request_id] + ([named] if named is not None else [])
        noted = next((cancels[target] or REASON_REQUESTED for target in targets if target in cancels), None)
        reason = cancel_reason(row["status"], noted)
        self.tables.executions[run_id] = {
            "run_id": run_id,
            "request_id": request.request_id,
            "state": "queued",
            "source": request.source,
            "turn": self._next_turn(request.source),
            "epoch": 0,
            "attempts": 0,
            "deaths": 0,
            "owner": None,
            "lease_until": None,
            "sequence": 0,
            "progress_pct": 0,
            "cancel_reason": reason,
        }
        if reason is None:
            self.new_runs.append(run_id)
        else:
            self._end_queued(self.tables.executions[run_id])

    def _remember(
        self, request: RequestToRecord, outcome: RecordOutcome, run_id: int | None, specification: str | None
    ) -> None:
        self.tables.requests[request.request_id] = {
            "content_hash": request.content_hash,
            "outcome": outcome.value,
            "run_id": run_id,
            "source": request.source,
            "data": request.data,
            "specification": specification,
        }

    def _next_turn(self, source: str) -> int:
        """Behind the source's own last queued run, level with the head of the queue at least."""
        queued = [row for row in self.tables.executions.values() if row["state"] == "queued"]
        head = min((row["turn"] for row in queued), default=1)
        last = max((row["turn"] for row in queued if row["source"] == source), default=0)
        return max(head, last + 1)

    def cancel_known(self, cancels: Sequence[CancelToRecord]) -> None:
        """Note the cancels of running runs, and end the queued ones here and now."""
        for cancel in cancels:
            run_id = cancel.run_id
            if cancel.request_id is not None:
                run_id = self.tables.requests.get(cancel.request_id, {}).get("run_id")
            execution = self.tables.executions.get(run_id) if run_id is not None else None
            if execution is None or execution["state"] not in {"queued", "running"}:
                continue
            if execution["cancel_reason"] is None:
                execution = {**execution, "cancel_reason": cancel.reason or REASON_REQUESTED}
                self.tables.executions[execution["run_id"]] = execution
            if execution["state"] == "queued":
                self._end_queued(execution)

    def _end_queued(self, execution: Row) -> None:
        """End a run that waits; where its row is held or gone the sweep does it."""
        run_id = execution["run_id"]
        if run_id not in self.tables.runs or run_id in self.tables.held:
            return
        specification = self.tables.requests[execution["request_id"]]["specification"]
        ending = Ending(
            facts=facts_of(run_id, execution["request_id"], specification)[0],
            attempt=execution["attempts"],
            sequence=execution["sequence"] + 1,
            progress_pct=execution["progress_pct"],
            has_row=True,
            outcome=Cancelled(execution["cancel_reason"]),
        )
        self.ended.extend(
            self.tables.end_runs([ending], self.ledger.writer, self.ledger.owner, self.ledger.lease_seconds)
        )


def _target(cancel: CancelToRecord) -> int | str:
    target = cancel.run_id if cancel.run_id is not None else cancel.request_id
    if target is None:
        raise ValueError("a cancel names a run or a request")
    return target
