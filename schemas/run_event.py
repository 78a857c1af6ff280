"""What every outgoing event says of its run."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from schemas.topics import EventType


class RunEvent(BaseModel):
    """The part that a subscriber reads of any event: which run, how far, and in which order.

    A base class since each event is one: subscribers drop `sequence <= last seen` of a run without looking at the type.
    Unknown fields are ignored, so that a subscriber outlives a worker that says more.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    event_type: ClassVar[EventType]

    run_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str
    progress_pct: Annotated[int, Field(ge=0, le=100)]
    """Never falls within an attempt."""
    sequence: Annotated[int, Field(ge=1)]
    """Strictly rising per run; gaps are normal."""
    attempt: Annotated[int, Field(ge=0)]
    """From 1; 0 for a run that ended before it was ever started."""
