"""`backtest.started`: a worker took the run; again with a higher attempt when another one takes it over."""

from typing import ClassVar, Literal

from schemas.run_event import RunEvent
from schemas.topics import EventType


class Started(RunEvent):
    """Says nothing beyond what every event says."""

    event_type: ClassVar[EventType] = EventType.STARTED

    status: Literal["running"] = "running"
