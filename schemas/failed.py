"""`backtest.failed`: the run was accepted and could not be finished; and the error that it shares with a rejection."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schemas.problems import FieldProblem
from schemas.run_event import RunEvent
from schemas.topics import EventType


class ErrorBody(BaseModel):
    """Why a run failed or a request was rejected."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    code: str
    """no_data, bad_bars, timeout, ... for a failure (docs/events.md), one of REJECTION_CODES for a rejection."""
    message: str
    details: list[FieldProblem]
    """Every field at fault; empty where the fault lies in no field."""


class Failed(RunEvent):
    """The terminal event of a failed run."""

    event_type: ClassVar[EventType] = EventType.FAILED

    status: Literal["failed"] = "failed"
    error: ErrorBody
