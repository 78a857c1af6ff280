"""docs/events.md tells a subscriber all there is: every field, every code, and examples that are events."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from schemas.cancelled import Cancelled
from schemas.completed import Completed
from schemas.dead_letter import DeadLetterReason
from schemas.failed import ErrorBody, Failed
from schemas.optimization_cancel_requested import OptimizationCancelRequested
from schemas.optimization_events import (
    OptimizationCancelled,
    OptimizationCompleted,
    OptimizationFailed,
    OptimizationProgress,
    OptimizationRejected,
    OptimizationStarted,
)
from schemas.optimization_requested import OptimizationRequested, WalkForward
from schemas.outgoing import parse_event
from schemas.problems import REJECTION_CODES
from schemas.progress import Progress
from schemas.rejected import Rejected
from schemas.requested import BacktestRequested
from schemas.started import Started
from schemas.topics import EventType, Topic

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
NAMED = frozenset(re.findall(r"`([a-z_.\-]+)`", PAGE))
EXAMPLES = [line.strip() for line in PAGE.splitlines() if line.startswith('    {"specversion":"1.0"')]


@pytest.mark.parametrize(
    "model",
    [
        *(BacktestRequested, Started, Progress, Completed, Cancelled, Failed, Rejected, ErrorBody),
        *(OptimizationRequested, OptimizationCancelRequested, WalkForward),
        *(OptimizationStarted, OptimizationProgress, OptimizationCompleted),
        *(OptimizationFailed, OptimizationCancelled, OptimizationRejected),
    ],
)
def test_every_field_of_an_event_is_named(model: type[BaseModel]) -> None:
    assert set(model.model_fields) - NAMED == set()


def test_every_reason_and_every_code_of_a_rejection_is_named() -> None:
    assert {*DeadLetterReason, *REJECTION_CODES} - NAMED == set()


def test_every_topic_is_named() -> None:
    assert [topic for topic in Topic if topic not in PAGE] == []


def test_every_metric_is_in_the_example_of_a_completed_event_or_in_the_text() -> None:
    completed = next(parse_event(line.encode()) for line in EXAMPLES if '"backtest.completed"' in line)
    assert isinstance(completed, Completed)
    beyond_the_columns = list(completed.metrics)[list(completed.metrics).index("net_profit") :]
    assert set(beyond_the_columns) - NAMED - {"result_digest", "warnings"} == set()


def test_examples_are_events_as_they_are_sent() -> None:
    kinds = {json.loads(line)["type"] for line in EXAMPLES if parse_event(line.encode())}
    assert kinds == {
        EventType(f"backtest.{kind}") for kind in ("started", "progress", "completed", "cancelled", "rejected")
    }
