"""Events as bytes: CloudEvents 1.0 in structured JSON, both ways, and the ids that make an event the same again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.cancel_requested import CancelRequested
from schemas.cancelled import Cancelled
from schemas.completed import Completed
from schemas.envelope import Headers, open_envelope
from schemas.failed import Failed
from schemas.json_text import utc_text
from schemas.optimization_cancel_requested import OptimizationCancelRequested
from schemas.optimization_events import (
    OptimizationCancelled,
    OptimizationCompleted,
    OptimizationFailed,
    OptimizationProgress,
    OptimizationRejected,
    OptimizationStarted,
)
from schemas.optimization_requested import OptimizationRequested
from schemas.progress import Progress
from schemas.rejected import Rejected
from schemas.requested import BacktestRequested
from schemas.started import Started

TerminalEvent = Completed | Failed | Cancelled | Rejected
EventData = Started | Progress | TerminalEvent
SearchEventData = (
    OptimizationStarted
    | OptimizationProgress
    | OptimizationCompleted
    | OptimizationFailed
    | OptimizationCancelled
    | OptimizationRejected
)
Incoming = BacktestRequested | CancelRequested | OptimizationRequested | OptimizationCancelRequested
AnyEvent = EventData | SearchEventData | Incoming

Model = TypeVar("Model", bound=BaseModel)

CONTENT_TYPE_HEADER: Final = ("content-type", b"application/cloudevents+json")
"""The one header of every event that is sent."""


class EventError(ValueError):
    """An outgoing event breaks its schema; str() says where."""


def render(
    event: AnyEvent,
    *,
    event_id: str,
    source: str,
    time: datetime,
    subject: str | None = None,
) -> bytes:
    """The record's value. Same arguments, same bytes; ASCII only.

    Fields stand in the order of the model, metrics in the order given; unset fields of a request are left out, those of
    an outgoing event are null. Raises ValueError for a number that is not finite, and for a time without an offset.
    """
    data = event.model_dump()
    if isinstance(event, Incoming):
        data = {name: value for name, value in data.items() if value is not None}
    event_type = event.event_type.value
    attributes: dict[str, Any] = {"specversion": "1.0", "id": event_id, "source": source, "type": event_type}
    if subject is not None:
        attributes["subject"] = subject
    attributes["time"] = utc_text(time)
    attributes["datacontenttype"] = "application/json"
    attributes["data"] = data
    return _ENCODER.encode(attributes).encode("ascii")


def parse_event(value: bytes, headers: Headers = ()) -> EventData:
    """Read an event as a subscriber does: unknown fields are ignored.

    Raises EnvelopeError for what is no outgoing event (reason wrong_type for a type not known here), EventError for one
    that breaks its schema.
    """
    return _parse(value, headers, _OUTGOING)


def parse_search_event(value: bytes, headers: Headers = ()) -> SearchEventData:
    """Read an event of a search, as `parse_event` one of a run."""
    return _parse(value, headers, _OUTGOING_OF_SEARCHES)


def _parse(value: bytes, headers: Headers, models: "Mapping[str, type[Model]]") -> Model:
    envelope = open_envelope(value, headers, *models)
    try:
        return models[envelope.type].model_validate(envelope.data, strict=False)
    except ValidationError as error:
        where = ", ".join(".".join(str(part) for part in detail["loc"]) for detail in error.errors(include_url=False))
        raise EventError(f"{envelope.type} with unusable {where}") from error


def run_event_id(run_id: int, sequence: int) -> str:
    """The id of an event of a run: the sequence never repeats within a run, so neither does the id."""
    return f"run/{run_id}/{sequence}"


def search_event_id(optimization_id: int, sequence: int) -> str:
    """The id of an event of a search."""
    return f"opt/{optimization_id}/{sequence}"


def search_key(optimization_id: int) -> bytes:
    """The record key of a search's events. Never a run's."""
    return f"opt-{optimization_id}".encode("ascii")


def rejected_event_id(request_id: str) -> str:
    """The id of a request's one rejection, at most 255 characters; a long request_id stands in it as its SHA-256."""
    readable = f"request/{request_id}/rejected"
    if len(readable) <= 255:
        return readable
    return f"request-sha256/{hashlib.sha256(request_id.encode()).hexdigest()}/rejected"


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """What tells one dead letter from another while it waits to be sent; it does not go on the wire."""
    return f"dead-letter/{topic}/{partition}/{offset}"


def run_key(run_id: int) -> bytes:
    """The record key of a run's events."""
    return str(run_id).encode("ascii")


def request_key(request_id: str) -> bytes:
    """The record key while there is no run. Never a run's: compaction would let a rejection stand for a result."""
    return f"request/{request_id}".encode()


def _encode_other(value: Any) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=_encode_other)
_OUTGOING_MODELS: Final[Sequence[type[EventData]]] = (Started, Progress, Completed, Failed, Cancelled, Rejected)
_OUTGOING: Final[dict[str, type[EventData]]] = {model.event_type.value: model for model in _OUTGOING_MODELS}
_SEARCH_MODELS: Final[Sequence[type[SearchEventData]]] = (
    OptimizationStarted,
    OptimizationProgress,
    OptimizationCompleted,
    OptimizationFailed,
    OptimizationCancelled,
    OptimizationRejected,
)
_OUTGOING_OF_SEARCHES: Final[dict[str, type[SearchEventData]]] = {
    model.event_type.value: model for model in _SEARCH_MODELS
}
