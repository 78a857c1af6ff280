"""Names of topics and event types, apart so that nobody spells one by hand."""

from enum import StrEnum


class Topic(StrEnum):
    """The five topics (docs/events.md)."""

    REQUESTED = "backtest.requested"
    CANCEL_REQUESTED = "backtest.cancel_requested"
    PROGRESS = "backtest.progress"
    """A run's whole life in order: started, progress and the terminal event."""
    COMPLETED = "backtest.completed"
    """Terminal events only: completed, failed, cancelled, rejected."""
    DEAD_LETTER = "backtest.requested.dlq"


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


EXPECTED_TYPE = {Topic.REQUESTED: EventType.REQUESTED, Topic.CANCEL_REQUESTED: EventType.CANCEL_REQUESTED}
"""The only event type taken from each input topic."""

DEAD_LETTER_MAX_MESSAGE_BYTES = 8 * 1_048_576
"""`max.message.bytes` of the dead-letter topic."""
