"""`backtest.progress`: how far a running simulation is; an unsent one is replaced by the next."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.field_types import Instant
from schemas.run_event import AdvisedRunEvent
from schemas.topics import EventType


class Progress(AdvisedRunEvent):
    """A moment of the simulation."""

    event_type: ClassVar[EventType] = EventType.PROGRESS

    status: Literal["running"] = "running"
    bars_done: Annotated[int, Field(ge=0)]
    bars_total: Annotated[int, Field(ge=0)]
    simulated_time: Instant | None
    """Open time of the last bar done; None before the first."""
    equity: float | None
    """Account currency, at that bar's close; None before the first."""
    trades: Annotated[int, Field(ge=0)]
    """Exits so far."""
    eta_seconds: Annotated[float, Field(ge=0)] | None
    """Wall-clock seconds to the end at the pace so far; None while there is no pace."""
