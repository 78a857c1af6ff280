"""Renders the events of searches, once each, as `rules.events` those of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from consumer.ports import Clock, EventKind, OutgoingEvent
from consumer.ports.outcomes import Cancelled, Failed
from consumer.ports.searches import Found, SearchFacts, SearchOutcome, SearchToRecord
from consumer.rules.delivery import of_search
from consumer.rules.events import MAX_MESSAGE_CHARACTERS, MAX_WARNING_CHARACTERS, bounded_warnings, cut
from consumer.rules.searches import SearchState
from schemas import optimization_events, outgoing
from schemas.failed import ErrorBody
from schemas.problems import MAX_PROBLEMS, FieldProblem


@dataclass(frozen=True, slots=True)
class SearchEventRenderer:
    """source: the CloudEvents source of every event, `backtest-consumer/<group>`."""

    source: str
    clock: Clock

    def requested(self, request: SearchToRecord, optimization_id: int) -> OutgoingEvent:
        named = request.request.model_copy(
            update={"optimization_id": optimization_id, "request_id": request.request_id}
        )
        return OutgoingEvent(
            event_id=request.request_id,
            kind=EventKind.SEARCH_REQUESTED,
            run_id=None,
            sequence=0,
            key=outgoing.search_key(optimization_id),
            value=outgoing.render(named, event_id=request.request_id, source=request.source, time=self.clock.now_utc()),
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def started(self, facts: SearchFacts, sequence: int) -> OutgoingEvent:
        event = optimization_events.OptimizationStarted(**_common(facts, sequence), progress_pct=0)
        return self._event(EventKind.STARTED, facts, sequence, event)

    def progress(self, facts: SearchFacts, search: SearchState, now: datetime) -> OutgoingEvent:
        """now: the store's."""
        seconds = (now - search.started_at).total_seconds() if search.started_at is not None else 0.0
        pace = search.done / seconds if seconds > 0 and search.done else None
        event = optimization_events.OptimizationProgress(
            **_common(facts, search.sequence),
            progress_pct=search.progress_pct,
            combinations_done=search.done,
            combinations_total=search.total,
            combinations_per_second=round(pace, 3) if pace is not None else None,
            eta_seconds=round((search.total - search.done) / pace, 3) if pace is not None else None,
            best_params=dict(search.best_params) if search.best_params is not None else None,
            best_value=search.best_value,
        )
        return self._event(EventKind.PROGRESS, facts, search.sequence, event)

    def terminal(self, facts: SearchFacts, search: SearchState, outcome: SearchOutcome) -> OutgoingEvent:
        common = _common(facts, search.sequence)
        event: outgoing.SearchEventData
        match outcome:
            case Found():
                columns = outcome.columns
                event = optimization_events.OptimizationCompleted(
                    **common,
                    best_params=columns["best_params"],
                    best_value=columns["best_value"],
                    best_run_id=outcome.best_run.run_id if outcome.best_run is not None else None,
                    robust_params=columns["robust_params"],
                    statistics=columns["statistics"],
                    results_file_path=columns["results_file_path"],
                    result_digest=outcome.result_digest,
                    failed_combinations=search.failed,
                    duration_seconds=outcome.duration_seconds,
                    warnings=bounded_warnings(outcome.warnings),
                )
            case Failed(code, message, details):
                told = [replace(each, message=cut(each.message, MAX_WARNING_CHARACTERS)) for each in details]
                error = ErrorBody(code=code, message=cut(message, MAX_MESSAGE_CHARACTERS), details=told[:MAX_PROBLEMS])
                event = optimization_events.OptimizationFailed(**common, progress_pct=search.progress_pct, error=error)
            case Cancelled(reason):
                event = optimization_events.OptimizationCancelled(
                    **common, progress_pct=search.progress_pct, reason=reason
                )
            case _:
                assert_never(outcome)
        return self._event(EventKind.TERMINAL, facts, search.sequence, event)

    def rejected(self, request: SearchToRecord, problems: Sequence[FieldProblem]) -> OutgoingEvent:
        event = optimization_events.search_rejection(request.request_id, request.given, problems)
        event_id = outgoing.rejected_event_id(request.request_id)
        return OutgoingEvent(
            event_id=event_id,
            kind=EventKind.SEARCH_REJECTED,
            run_id=None,
            sequence=1,
            key=outgoing.request_key(request.request_id),
            value=self._render(event, event_id),
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def _event(
        self, kind: EventKind, facts: SearchFacts, sequence: int, event: outgoing.SearchEventData
    ) -> OutgoingEvent:
        event_id = outgoing.search_event_id(facts.optimization_id, sequence)
        return OutgoingEvent(
            event_id=event_id,
            kind=kind,
            run_id=of_search(facts.optimization_id),
            sequence=sequence,
            key=outgoing.search_key(facts.optimization_id),
            value=self._render(event, event_id),
            headers=(outgoing.CONTENT_TYPE_HEADER,),
        )

    def _render(self, event: outgoing.SearchEventData, event_id: str) -> bytes:
        return outgoing.render(event, event_id=event_id, source=self.source, time=self.clock.now_utc())


def _common(facts: SearchFacts, sequence: int) -> dict[str, Any]:
    return {
        "optimization_id": facts.optimization_id,
        "request_id": facts.request_id,
        "strategy_id": facts.strategy_id,
        "symbol": facts.symbol,
        "timeframe": facts.timeframe,
        "sequence": sequence,
    }
