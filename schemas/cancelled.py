"""`backtest.cancelled`: the run was stopped, or never started, because somebody wanted that."""

from typing import ClassVar, Final, Literal

from schemas.run_event import RunEvent
from schemas.topics import EventType

REASON_REQUESTED: Final = "requested"
"""By an event that gives no reason of its own."""
REASON_ROW: Final = "row"
"""By the row's status."""
REASON_RUN_DELETED: Final = "run_deleted"
"""The run or its strategy was deleted."""


class Cancelled(RunEvent):
    """The terminal event of a cancelled run."""

    event_type: ClassVar[EventType] = EventType.CANCELLED

    status: Literal["cancelled"] = "cancelled"
    reason: str
    """requested, row, run_deleted, or the reason that the cancel event gave."""
