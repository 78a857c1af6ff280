"""The memory of requests and cancels, in memory: what `postgres.journal` does, without a server. Implements
`RequestJournal`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from consumer.adapters.memory.tables import MemoryTables, Row
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
from consumer.rules.endings import cancelled_unclaimed
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
from schemas.problems import FieldProblem

NONE_EMITTED: Mapping[str, bytes] = {}
_RUN_FIELDS = [each.name for each in fields(RunRow) if each.name != "has_execution"]
_STRATEGY_FIELDS = [each.name for each in fields(StrategyRow)]


@dataclass(frozen=True, slots=True)
class MemoryJournal:
    """One worker's view of the journal in `tables`."""

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
            recording = Recording(self.tables, self)
            recording.keep_cancels(cancels)
            repeats = sort_out_repeats(requests, known_hashes(self.tables))
            decisions, waiting = recording.decide(repeats.unseen, admit)
            unchecked, repeats = put_off(decisions.unchecked, repeats)
            new_runs = recording.number(decisions.accepted)
            recording.insert(new_runs, decisions.rejected)
            recording.keep_waiting(waiting)
            ended = recording.end_queued([run.run_id for run in new_runs if run.cancelled is not None])
            ended += recording.cancel_known(of_known_runs(cancels, new_runs))
            recorded = Recorded(cancels, dead_letters, repeats, decisions.rejected, new_runs, waiting)
            stored = self.tables.store_events(recorded.events(self.writer), self.owner, self.lease_seconds)
            queued = tuple(run.run_id for run in new_runs if run.cancelled is None)
            return IntakeResult(recorded.outcomes(), (*stored, *ended), queued, unchecked)

    async def record_waiting(self, admit: Admit) -> IntakeResult:
        async with self.tables.transaction():
            recording = Recording(self.tables, self)
            requests = [
                waiting_request(row)
                for row in self.tables.requests.values()
                if row["outcome"] == "waiting" and not row.get("is_search")
            ]
            decisions, _ = recording.decide(requests, admit)
            new_runs = recording.number(decisions.accepted)
            recording.insert(new_runs, decisions.rejected)
            ended = recording.end_queued([run.run_id for run in new_runs if run.cancelled is not None])
            recorded = Recorded((), (), Repeats((), (), ()), decisions.rejected, new_runs)
            stored = self.tables.store_events(recorded.events(self.writer), self.owner, self.lease_seconds)
            queued = tuple(run.run_id for run in new_runs if run.cancelled is None)
            return IntakeResult(recorded.outcomes(), (*stored, *ended), queued, decisions.unchecked)

    async def queued_count(self) -> int:
        async with self.tables.transaction():
            return sum(row["state"] == "queued" for row in self.tables.executions.values())


def known_hashes(tables: MemoryTables) -> KnownHashes:
    """Of every request that was ever taken."""
    return {
        name: tuple(each for each in (row["content_hash"], row.get("emitted_hash")) if each is not None)
        for name, row in tables.requests.items()
    }


@dataclass(frozen=True, slots=True)
class Recording:
    """One batch inside its transaction."""

    tables: MemoryTables
    journal: MemoryJournal

    def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        for cancel in cancels:
            self.tables.cancels.setdefault(_target(cancel), cancel.reason)

    def decide(
        self, requests: Sequence[RequestToRecord], admit: Admit
    ) -> tuple[Decisions, tuple[RequestToRecord, ...]]:
        """Decisions, and what would be accepted but for a client's lock."""
        runs = {run_id: self._run_row(run_id) for run_id in named_runs(requests) if run_id in self.tables.runs}
        strategies = {
            strategy_id: StrategyRow(**{name: self.tables.strategies[strategy_id][name] for name in _STRATEGY_FIELDS})
            for strategy_id in named_strategies(requests, runs)
            if strategy_id in self.tables.strategies
        }
        decisions = decide_all(requests, runs, strategies, admit)
        accepted, waiting = hold_back(decisions.accepted, strategies.keys() - self.tables.held_strategies)
        return replace(decisions, accepted=accepted), waiting

    def _run_row(self, run_id: int) -> RunRow:
        row = self.tables.runs[run_id]
        return RunRow(**{name: row[name] for name in _RUN_FIELDS}, has_execution=run_id in self.tables.executions)

    def number(self, accepted: Sequence[Accepted]) -> tuple[NewRun, ...]:
        ids = [self.tables.next_run_id() for each in accepted if each.row is None]
        return number(accepted, ids, self.tables.cancels)

    def insert(
        self,
        new_runs: Sequence[NewRun],
        rejected: Sequence[Rejected],
        emitted: Mapping[str, bytes] = NONE_EMITTED,
    ) -> None:
        turns = place(new_runs, {run.request.source: self._turns_of(run.request.source) for run in new_runs})
        for run, turn in zip(new_runs, turns, strict=True):
            if run.is_new_row:
                self.tables.add_run(run.run_id, **run.admitted.columns)
            elif run.run_id not in self.tables.held:
                self.tables.change_run(run.run_id, primary_tf=self.tables.runs[run.run_id]["timeframe"])
            self._remember(run.request, RecordOutcome.ACCEPTED, run.run_id, run.specification)
            if (emitted_hash := emitted.get(run.request.request_id)) is not None:
                remembered = self.tables.requests[run.request.request_id]
                self.tables.requests[run.request.request_id] = {**remembered, "emitted_hash": emitted_hash}
            self.tables.executions[run.run_id] = {
                "run_id": run.run_id,
                "request_id": run.request.request_id,
                "state": "queued",
                "source": run.request.source,
                "turn": turn,
                "epoch": 0,
                "attempts": 0,
                "deaths": 0,
                "owner": None,
                "lease_until": None,
                "sequence": 0,
                "progress_pct": 0,
                "cancel_reason": run.cancelled,
                "is_named": not run.is_new_row,
                "queued_at": self.tables.clock.now_utc(),
                "started_at": None,
                "finished_at": None,
                "result_digest": None,
                "engine_version": None,
                "strategy_version": None,
            }
        for each in rejected:
            self._remember(each.request, RecordOutcome.REJECTED, None, None, each.problems)

    def keep_waiting(self, waiting: Sequence[RequestToRecord]) -> None:
        for request in waiting:
            self._remember(request, RecordOutcome.WAITING, None, None)

    def _turns_of(self, source: str) -> SourceTurns:
        queued = [row for row in self.tables.executions.values() if row["state"] == "queued"]
        return SourceTurns(
            min((row["turn"] for row in queued), default=None),
            max((row["turn"] for row in queued if row["source"] == source), default=None),
        )

    def _remember(
        self,
        request: RequestToRecord,
        outcome: RecordOutcome,
        run_id: int | None,
        specification: str | None,
        problems: Sequence[FieldProblem] = (),
    ) -> None:
        self.tables.requests[request.request_id] = {
            "request_id": request.request_id,
            "topic": request.record.topic,
            "partition": request.record.partition,
            "kafka_offset": request.record.offset,
            "content_hash": request.content_hash,
            "outcome": outcome.value,
            "run_id": run_id,
            "source": request.source,
            "data": request.data,
            "specification": specification,
            "received_at": self.tables.clock.now_utc(),
            "problems": [asdict(problem) for problem in problems],
        }

    def cancel_known(self, cancels: Sequence[CancelToRecord]) -> tuple[OutgoingEvent, ...]:
        """Note the cancels of running runs, and end the queued ones here and now."""
        for cancel in cancels:
            execution = self._live_execution(cancel)
            if execution is not None and execution["cancel_reason"] is None:
                noted = {**execution, "cancel_reason": cancel.reason or REASON_REQUESTED}
                self.tables.executions[execution["run_id"]] = noted
        live = {row["run_id"] for cancel in cancels if (row := self._live_execution(cancel)) is not None}
        return self.end_queued([run_id for run_id in live if self.tables.executions[run_id]["state"] == "queued"])

    def _live_execution(self, cancel: CancelToRecord) -> Row | None:
        run_id = cancel.run_id
        if cancel.request_id is not None:
            run_id = self.tables.requests.get(cancel.request_id, {}).get("run_id")
        execution = self.tables.executions.get(run_id) if run_id is not None else None
        return execution if execution is not None and execution["state"] in {"queued", "running"} else None

    def end_queued(self, run_ids: Sequence[int]) -> tuple[OutgoingEvent, ...]:
        """End cancelled runs that wait; where the row is held or gone the sweep does it."""
        at_hand = [run_id for run_id in run_ids if run_id in self.tables.runs and run_id not in self.tables.held]
        endings = cancelled_unclaimed(
            (self.tables.standing_of(self.tables.executions[run_id]), self.tables.runs[run_id]["status"])
            for run_id in at_hand
        )
        return self.tables.end_runs(endings, self.journal.writer, self.journal.owner, self.journal.lease_seconds)


def _target(cancel: CancelToRecord) -> int | str:
    target = cancel.run_id if cancel.run_id is not None else cancel.request_id
    if target is None:
        raise ValueError("a cancel names a run or a request")
    return target
