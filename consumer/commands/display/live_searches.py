"""How commands show searches while they live: a line an event; the verdict stands before the best figure."""

import json
from collections.abc import Mapping
from typing import Any, assert_never

from schemas import optimization_events as events
from schemas.json_text import printable
from schemas.outgoing import SearchEventData


def search_lines(event: SearchEventData) -> list[str]:
    """What the event says, for people: verdict and warnings first."""
    told = f"{_title(event)}: {_news(event)}"
    if not isinstance(event, events.OptimizationCompleted):
        return [told]
    verdict = event.statistics.get("verdict")
    first = [printable(f"{_title(event)}: verdict: {verdict}")] if verdict else []
    warnings = [printable(f"  warning: {each}") for each in event.warnings]
    return [*first, *warnings, told]


def params_text(params: Mapping[str, Any] | None) -> str:
    """Parameters on one line."""
    if params is None:
        return "none"
    return printable(", ".join(f"{name} {json.dumps(value)}" for name, value in params.items()))


def _title(event: SearchEventData) -> str:
    if isinstance(event, events.OptimizationRejected):
        return printable(f"request {event.request_id}")
    return printable(f"search {event.optimization_id} {event.symbol} {event.timeframe}")


def _news(event: SearchEventData) -> str:
    match event:
        case events.OptimizationStarted():
            return "started"
        case events.OptimizationProgress():
            rate = f", {event.combinations_per_second:,.0f} a second" if event.combinations_per_second else ""
            left = f", {event.eta_seconds:,.0f} s left" if event.eta_seconds is not None else ""
            best = f", best so far {event.best_value:.4g}" if event.best_value is not None else ""
            done = f"{event.combinations_done:,} of {event.combinations_total:,}"
            return f"{event.progress_pct} %, {done} combinations{rate}{left}{best}"
        case events.OptimizationCompleted():
            failed = f", {event.failed_combinations:,} failed" if event.failed_combinations else ""
            if event.best_value is None:
                return f"completed: there is no best{failed} ({event.duration_seconds:.1f} s)"
            best = f"best {event.best_value:.4g} with {params_text(event.best_params)}"
            run = f", run {event.best_run_id}" if event.best_run_id is not None else ""
            return f"completed: {best}{run}{failed} ({event.duration_seconds:.1f} s)"
        case events.OptimizationFailed() | events.OptimizationRejected():
            return printable(f"{event.status}: {event.error.code}: {event.error.message}")
        case events.OptimizationCancelled():
            return printable(f"cancelled: {event.reason}")
        case _:
            assert_never(event)
