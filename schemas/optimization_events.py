"""What goes out of a search, from `optimization.started` to its terminal event: one shape, so one module."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.failed import ErrorBody
from schemas.problems import FieldProblem, first_code, summarise
from schemas.rejected import integer_as_given, text_as_given
from schemas.topics import EventType


class SearchEvent(BaseModel):
    """What every event of a search says: a subscriber drops `sequence <= last seen` without looking at the type.

    Unknown fields are ignored, so that a subscriber outlives a worker that says more.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    event_type: ClassVar[EventType]

    optimization_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str
    progress_pct: Annotated[int, Field(ge=0, le=100)]
    """Never falls."""
    sequence: Annotated[int, Field(ge=1)]
    """Strictly rising per search; gaps are normal."""
    attempt: Literal[1] = 1
    """A search is taken on where it was left, not begun anew."""


class OptimizationStarted(SearchEvent):
    """A worker took the first step."""

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_STARTED

    status: Literal["running"] = "running"


class OptimizationProgress(SearchEvent):
    """How far it is; an unsent one is replaced by the next."""

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_PROGRESS

    status: Literal["running"] = "running"
    combinations_done: Annotated[int, Field(ge=0)]
    combinations_total: Annotated[int, Field(ge=0)]
    """Without those that were found to be left out so far."""
    combinations_per_second: Annotated[float, Field(ge=0)] | None
    """Of all workers together; None while there is no pace."""
    eta_seconds: Annotated[float, Field(ge=0)] | None
    best_params: dict[str, Any] | None
    best_value: float | None


class OptimizationCompleted(SearchEvent):
    """The terminal event of a search that came to its end."""

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_COMPLETED

    status: Literal["completed"] = "completed"
    progress_pct: Annotated[int, Field(ge=100, le=100)] = 100
    best_params: dict[str, Any] | None
    """None: no combination has min_trades and a value."""
    best_value: float | None
    best_run_id: int | None
    """A run with these parameters."""
    robust_params: dict[str, Any] | None
    statistics: dict[str, Any]
    results_file_path: str
    """Parquet, every combination."""
    result_digest: str
    failed_combinations: Annotated[int, Field(ge=0)]
    duration_seconds: Annotated[float, Field(ge=0)]
    """From the first claim to the result."""
    warnings: list[str]


class OptimizationFailed(SearchEvent):
    """The terminal event of a failed search."""

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_FAILED

    status: Literal["failed"] = "failed"
    error: ErrorBody


class OptimizationCancelled(SearchEvent):
    """The terminal event of a cancelled search."""

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_CANCELLED

    status: Literal["cancelled"] = "cancelled"
    reason: str
    """requested, row, run_deleted, or the reason that the cancel event gave."""


class OptimizationRejected(BaseModel):
    """Only request_id is sure: the other names are as the request gave them, null where it gave no usable one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_REJECTED

    optimization_id: int | None
    request_id: str
    strategy_id: int | None
    symbol: str | None
    timeframe: str | None
    status: Literal["rejected"] = "rejected"
    progress_pct: Literal[0] = 0
    sequence: Literal[1] = 1
    attempt: Literal[0] = 0
    error: ErrorBody


def search_rejection(
    request_id: str, data: Mapping[str, Any], problems: Sequence[FieldProblem]
) -> OptimizationRejected:
    """The event for a request with problems, at least one. data: as sent."""
    return OptimizationRejected(
        optimization_id=integer_as_given(data.get("optimization_id")),
        request_id=request_id,
        strategy_id=integer_as_given(data.get("strategy_id")),
        symbol=text_as_given(data.get("symbol")),
        timeframe=text_as_given(data.get("timeframe")),
        error=ErrorBody(code=first_code(problems), message=summarise(problems), details=list(problems)),
    )
