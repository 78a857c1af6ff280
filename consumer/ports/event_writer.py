"""What renders events; apart from the events, since it knows what they tell of."""

from collections.abc import Sequence
from typing import Protocol

from consumer.ports.advice import AdviceFigures
from consumer.ports.engine import EngineProgress
from consumer.ports.events import OutgoingEvent, RunFacts
from consumer.ports.intake import RequestToRecord
from consumer.ports.outcomes import TerminalOutcome
from consumer.ports.records import Record
from schemas.dead_letter import DeadLetterReason
from schemas.problems import FieldProblem


class EventWriter(Protocol):
    """Renders events; pure but for the time it stamps. Rendered once: every delivery of an event has the same bytes."""

    def started(self, facts: RunFacts, sequence: int, attempt: int) -> OutgoingEvent: ...

    def progress(
        self,
        facts: RunFacts,
        sequence: int,
        attempt: int,
        at: EngineProgress,
        eta_seconds: float | None,
        llm: AdviceFigures | None = None,
    ) -> OutgoingEvent: ...

    def terminal(
        self, facts: RunFacts, sequence: int, attempt: int, progress_pct: int, outcome: TerminalOutcome
    ) -> OutgoingEvent: ...

    def rejected(self, request: RequestToRecord, problems: Sequence[FieldProblem]) -> OutgoingEvent: ...

    def requested(self, request: RequestToRecord, run_id: int) -> OutgoingEvent:
        """The record of a request that came over HTTP, and is this run by now."""
        ...

    def dead_letter(self, record: Record, reason: DeadLetterReason, message: str) -> OutgoingEvent: ...
