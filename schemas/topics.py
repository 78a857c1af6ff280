"""Names of topics and event types, apart so that nobody spells one by hand."""

from enum import StrEnum


class Topic(StrEnum):
    """Our topics (docs/events.md): five of runs, four of searches, which share the one of dead letters."""

    REQUESTED = "backtest.requested"
    CANCEL_REQUESTED = "backtest.cancel_requested"
    PROGRESS = "backtest.progress"
    """A run's whole life in order: started, progress and the terminal event."""
    COMPLETED = "backtest.completed"
    """Terminal events only: completed, failed, cancelled, rejected."""
    DEAD_LETTER = "backtest.requested.dlq"
    OPTIMIZATION_REQUESTED = "optimization.requested"
    OPTIMIZATION_CANCEL_REQUESTED = "optimization.cancel_requested"
    OPTIMIZATION_PROGRESS = "optimization.progress"
    OPTIMIZATION_COMPLETED = "optimization.completed"


class EventType(StrEnum):
    """The CloudEvents `type` of every event."""

    REQUESTED = "backtest.requested"
    CANCEL_REQUESTED = "backtest.cancel_requested"
    STARTED = "backtest.started"
    PROGRESS = "backtest.progress"
    COMPLETED = "backtest.completed"
    FAILED = "backtest.failed"
    CANCELLED = "backtest.cancelled"
    REJECTED = "backtest.rejected"
    OPTIMIZATION_REQUESTED = "optimization.requested"
    OPTIMIZATION_CANCEL_REQUESTED = "optimization.cancel_requested"
    OPTIMIZATION_STARTED = "optimization.started"
    OPTIMIZATION_PROGRESS = "optimization.progress"
    OPTIMIZATION_COMPLETED = "optimization.completed"
    OPTIMIZATION_FAILED = "optimization.failed"
    OPTIMIZATION_CANCELLED = "optimization.cancelled"
    OPTIMIZATION_REJECTED = "optimization.rejected"


EXPECTED_TYPE = {
    Topic.REQUESTED: EventType.REQUESTED,
    Topic.CANCEL_REQUESTED: EventType.CANCEL_REQUESTED,
    Topic.OPTIMIZATION_REQUESTED: EventType.OPTIMIZATION_REQUESTED,
    Topic.OPTIMIZATION_CANCEL_REQUESTED: EventType.OPTIMIZATION_CANCEL_REQUESTED,
}
"""The only event type taken from each input topic."""

REQUEST_TOPICS = (Topic.REQUESTED, Topic.OPTIMIZATION_REQUESTED)
"""Not read while the queue is full."""

OUTPUT_TOPICS = tuple(topic for topic in Topic if topic not in EXPECTED_TYPE)

DEAD_LETTER_MAX_MESSAGE_BYTES = 8 * 1_048_576
"""`max.message.bytes` of the dead-letter topic."""
