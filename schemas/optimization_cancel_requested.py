"""`optimization.cancel_requested`: stop a search, named by its row or by the request that made or will make it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from schemas.cancel_requested import MAX_REASON_CHARACTERS, read_cancel
from schemas.field_types import RequestId, RowId
from schemas.topics import EventType


class OptimizationCancelRequested(BaseModel):
    """The data of a valid cancel: exactly one of optimization_id and request_id is set."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_CANCEL_REQUESTED

    optimization_id: RowId | None = None
    request_id: RequestId | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS, pattern=r"^[^\x00]*$")] | None = None
    """Copied into the terminal event; an empty one counts as none."""


def parse_optimization_cancel_requested(
    data: Mapping[str, Any], duplicate_keys: Sequence[str] = ()
) -> OptimizationCancelRequested:
    """Validate the data of a cancel, as decoded from JSON. Raises InvalidRequestError with every field at fault."""
    return read_cancel(OptimizationCancelRequested, ("optimization_id", "request_id"), data, duplicate_keys)
