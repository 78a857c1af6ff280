"""Renders the events that the service emits, once each: the outbox keeps the bytes and every delivery repeats them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, assert_never

from consumer.ports import (
    Clock,
    EngineProgress,
    EventKind,
    OutgoingEvent,
    Record,
    RequestToRecord,
    RunFacts,
)
from consumer.ports.advice import AdviceFigures
from consumer.ports.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from schemas import cancelled, completed, failed, outgoing, progress, rejected, started
from schemas.dead_letter import DeadLetterReason, dead_letter
from schemas.problems import MAX_PROBLEMS, FieldProblem

MAX_MESSAGE_CHARACTERS = 10_000
MAX_WARNINGS = 200
MAX_WARNING_CHARACTERS = 1_000
"""An event that no broker takes would never be seen: what people wrote is cut, in the event only."""


@dataclass(frozen=True, slots=True)
class EventRenderer:
    """Implements `EventWriter`. source: the CloudEvents source of every event, `backtest-consumer/<group>`."""

    source: str
    clock: Clock

    def started(self, facts: RunFacts, sequence: int, attempt: int) -> OutgoingEvent:
        event = started.Started(**_common(facts, sequence, attempt), progress_pct=0)
        return self._run_event(EventKind.STARTED, facts, sequence, event)

    def progress(
        self,
        facts: RunFacts,
        sequence: int,
        attempt: int,
        at: EngineProgress,
        eta_seconds: float | None,
        llm: AdviceFigures | None = None,
    ) -> OutgoingEvent:
        event = progress.Progress(
            **_common(facts, sequence, attempt),
            progress_pct=progress_percent(at),
            bars_done=at.bars_done,
            bars_total=at.bars_total,
            simulated_time=at.simulated_time,
            equity=at.equity,
            trades=at.trades,
            eta_seconds=eta_seconds,
            **_of_calls(llm),
        )
        return self._run_event(EventKind.PROGRESS, facts, sequence, event)

    def terminal(
        self, facts: RunFacts, sequence: int, attempt: int, progress_pct: int, outcome: TerminalOutcome
    ) -> OutgoingEvent:
        event: outgoing.TerminalEvent
        common = _common(facts, sequence, attempt)
        match outcome:
            case Completed():
                event = completed.Completed(
                    **common,
                    metrics=outcome.metrics,
                    data_file_path=outcome.data_file_path,
                    artifacts=outcome.artifacts,
                    result_digest=outcome.result_digest,
                    engine_version=outcome.engine_version,
                    duration_seconds=outcome.duration_seconds,
                    warnings=bounded_warnings(outcome.warnings),
                    **_of_calls(outcome.llm),
                )
            case Failed(code, message, details):
                details = tuple(replace(each, message=cut(each.message, MAX_WARNING_CHARACTERS)) for each in details)
                error = failed.ErrorBody(
                    code=code, message=cut(message, MAX_MESSAGE_CHARACTERS), details=list(details[:MAX_PROBLEMS])
                )
                event = failed.Failed(**common, progress_pct=progress_pct, error=error)
            case Cancelled(reason):
                event = cancelled.Cancelled(**common, progress_pct=progress_pct, reason=reason)
            case _:
                assert_never(outcome)
        return self._run_event(EventKind.TERMINAL, facts, sequence, event)

    def rejected(self, request: RequestToRecord, problems: Sequence[FieldProblem]) -> OutgoingEvent:
        event = rejected.rejection(request.request_id, request.given, problems)
        event_id = outgoing.rejected_event_id(request.request_id)
        return OutgoingEvent(
            event_id=event_id,
            kind=EventKind.REJECTED,
            run_id=None,
            sequence=1,
            key=outgoing.request_key(request.request_id),
            value=self._render(event, event_id),
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def requested(self, request: RequestToRecord, run_id: int) -> OutgoingEvent:
        named = request.request.model_copy(update={"run_id": run_id, "request_id": request.request_id})
        value = outgoing.render(named, event_id=request.request_id, source=request.source, time=self.clock.now_utc())
        return OutgoingEvent(
            event_id=request.request_id,
            kind=EventKind.REQUESTED,
            run_id=None,
            sequence=0,
            key=outgoing.run_key(run_id),
            value=value,
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def dead_letter(self, record: Record, reason: DeadLetterReason, message: str) -> OutgoingEvent:
        letter = dead_letter(
            key=record.key,
            value=record.value,
            headers=record.headers,
            reason=reason,
            message=message,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            time=self.clock.now_utc(),
        )
        return OutgoingEvent(
            event_id=outgoing.dead_letter_id(record.topic, record.partition, record.offset),
            kind=EventKind.DEAD_LETTER,
            run_id=None,
            sequence=0,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
        )

    def _run_event(self, kind: EventKind, facts: RunFacts, sequence: int, event: outgoing.EventData) -> OutgoingEvent:
        event_id = outgoing.run_event_id(facts.run_id, sequence)
        return OutgoingEvent(
            event_id=event_id,
            kind=kind,
            run_id=facts.run_id,
            sequence=sequence,
            key=outgoing.run_key(facts.run_id),
            value=self._render(event, event_id),
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def _render(self, event: outgoing.EventData, event_id: str) -> bytes:
        return outgoing.render(event, event_id=event_id, source=self.source, time=self.clock.now_utc())


def progress_percent(at: EngineProgress) -> int:
    """0 to 99: 100 is for a completed run."""
    if at.bars_total <= 0:
        return 0
    return min(99, at.bars_done * 100 // at.bars_total)


def cut(text: str, characters: int) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def bounded_warnings(warnings: Sequence[str]) -> list[str]:
    """As many, and as long ones, as fit into an event."""
    kept = [cut(warning, MAX_WARNING_CHARACTERS) for warning in warnings[:MAX_WARNINGS]]
    return kept if len(warnings) <= MAX_WARNINGS else [*kept, f"and {len(warnings) - MAX_WARNINGS} more warnings"]


def _of_calls(llm: AdviceFigures | None) -> dict[str, Any]:
    return {} if llm is None else asdict(llm)


def _common(facts: RunFacts, sequence: int, attempt: int) -> dict[str, Any]:
    return {
        "run_id": facts.run_id,
        "request_id": facts.request_id,
        "strategy_id": facts.strategy_id,
        "symbol": facts.symbol,
        "timeframe": facts.timeframe,
        "sequence": sequence,
        "attempt": attempt,
    }
