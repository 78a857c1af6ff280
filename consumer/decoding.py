"""From a record's bytes to what it asks for: a request or a cancel of a run or of a search, or a dead letter.

Apart from intake, which records it: nothing here waits for anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, assert_never

import structlog

from consumer.ports import CancelToRecord, EventWriter, OutgoingEvent, Record, RequestToRecord
from consumer.ports.searches import SearchToRecord
from schemas.cancel_requested import parse_cancel_requested
from schemas.dead_letter import DeadLetterReason
from schemas.envelope import Envelope, EnvelopeError, open_envelope
from schemas.identity import (
    content_text,
    hash_of_content,
    hash_of_search_content,
    raw_content_hash,
    raw_content_text,
    request_identity,
    search_content_text,
)
from schemas.optimization_cancel_requested import parse_optimization_cancel_requested
from schemas.optimization_requested import parse_optimization_requested, usable_search_part
from schemas.problems import FieldProblem, InvalidRequestError, one_a_field
from schemas.requested import parse_requested, usable_part
from schemas.topics import EventType, Topic

log = structlog.get_logger(__name__)

OVER_HTTP: Final = Record("http", -1, -1, None, None)
"""Stands for the record of a request that no topic brought."""


@dataclass(slots=True)
class Decoded:
    """A batch, sorted."""

    requests: list[RequestToRecord] = field(default_factory=list)
    searches: list[SearchToRecord] = field(default_factory=list)
    cancels: list[CancelToRecord] = field(default_factory=list)
    """Of runs."""
    search_cancels: list[CancelToRecord] = field(default_factory=list)
    dead_letters: list[OutgoingEvent] = field(default_factory=list)


def decode_all(records: Sequence[Record], writer: EventWriter) -> Decoded:
    """Sort records into requests (valid or to be rejected), cancels and dead letters. Pure but for dead letters'
    time.
    """
    decoded = Decoded()
    for record in records:
        match decode(record, writer):
            case RequestToRecord() as request:
                decoded.requests.append(request)
            case SearchToRecord() as search:
                decoded.searches.append(search)
            case CancelToRecord() as cancel:
                is_search = record.topic == Topic.OPTIMIZATION_CANCEL_REQUESTED
                (decoded.search_cancels if is_search else decoded.cancels).append(cancel)
            case OutgoingEvent() as letter:
                decoded.dead_letters.append(letter)
            case unexpected:
                assert_never(unexpected)
    return decoded


def decode(record: Record, writer: EventWriter) -> RequestToRecord | SearchToRecord | CancelToRecord | OutgoingEvent:
    """Decode one record; whatever its bytes, it becomes one of the four."""
    if record.unread:
        return writer.dead_letter(record, DeadLetterReason.TOO_LARGE, record.unread)
    try:
        match record.topic:
            case Topic.CANCEL_REQUESTED:
                return decode_cancel(record)
            case Topic.OPTIMIZATION_REQUESTED:
                return decode_search(record)
            case Topic.OPTIMIZATION_CANCEL_REQUESTED:
                return decode_search_cancel(record)
            case _:
                return decode_request(record)
    except EnvelopeError as error:
        return writer.dead_letter(record, DeadLetterReason(error.reason), error.message)
    except InvalidRequestError as error:
        return writer.dead_letter(record, DeadLetterReason.INVALID_REQUEST, str(error))
    except Exception as error:
        log.exception("decoder_failed", topic=record.topic, partition=record.partition, offset=record.offset)
        message = f"the record cannot be decoded: {type(error).__name__}: {error}"
        return writer.dead_letter(record, DeadLetterReason.UNDECODABLE, message)


def decode_request(record: Record) -> RequestToRecord:
    """Decode and validate a request; one that breaks the schema comes back with its problems. Raises EnvelopeError."""
    envelope = open_envelope(record.value, record.headers, EventType.REQUESTED)
    return read_request(
        envelope.data, envelope.duplicate_keys, identity_of(record, envelope), envelope.source or "", record
    )


def read_request(
    data: dict[str, Any],
    duplicate_keys: Sequence[str],
    request_id: str,
    source: str,
    record: Record = OVER_HTTP,
    more: Sequence[FieldProblem] = (),
) -> RequestToRecord:
    """Validate the data of a request, whatever brought them. more: what is wrong with them beside their schema."""
    request, problems = _read(parse_requested, data, duplicate_keys, more)
    if request is None:
        return RequestToRecord(
            request_id=request_id,
            content_hash=raw_content_hash(data, duplicate_keys),
            record=record,
            source=source,
            data=raw_content_text(data),
            given=data,
            request=usable_part(data, problems),
            problems=problems,
        )
    content = content_text(request)
    return RequestToRecord(
        request_id=request_id,
        content_hash=hash_of_content(content),
        record=record,
        source=source,
        data=content,
        given=data,
        request=request,
    )


Parsed = TypeVar("Parsed")


def _read(
    parse: Callable[[dict[str, Any], Sequence[str]], Parsed],
    data: dict[str, Any],
    duplicate_keys: Sequence[str],
    more: Sequence[FieldProblem],
) -> tuple[Parsed | None, tuple[FieldProblem, ...]]:
    """The request, or all that is wrong with it."""
    try:
        request = parse(data, duplicate_keys)
    except InvalidRequestError as error:
        return None, one_a_field((*more, *error.problems))
    return (None, one_a_field(more)) if more else (request, ())


def decode_cancel(record: Record) -> CancelToRecord:
    """Decode and validate a cancel. Raises EnvelopeError or InvalidRequestError."""
    envelope = open_envelope(record.value, record.headers, EventType.CANCEL_REQUESTED)
    cancel = parse_cancel_requested(envelope.data, envelope.duplicate_keys)
    return CancelToRecord(record, cancel.run_id, cancel.request_id, cancel.reason)


def decode_search(record: Record) -> SearchToRecord:
    """As decode_request, for a search. Raises EnvelopeError."""
    envelope = open_envelope(record.value, record.headers, EventType.OPTIMIZATION_REQUESTED)
    return read_search(
        envelope.data, envelope.duplicate_keys, identity_of(record, envelope), envelope.source or "", record
    )


def read_search(
    data: dict[str, Any],
    duplicate_keys: Sequence[str],
    request_id: str,
    source: str,
    record: Record = OVER_HTTP,
    more: Sequence[FieldProblem] = (),
) -> SearchToRecord:
    """As `read_request`, for a search."""
    request, problems = _read(parse_optimization_requested, data, duplicate_keys, more)
    if request is None:
        return SearchToRecord(
            request_id=request_id,
            content_hash=raw_content_hash(data, duplicate_keys, of_search=True),
            record=record,
            source=source,
            data=raw_content_text(data),
            given=data,
            request=usable_search_part(data, problems),
            problems=problems,
        )
    content = search_content_text(request)
    return SearchToRecord(request_id, hash_of_search_content(content), record, source, content, data, request)


def decode_search_cancel(record: Record) -> CancelToRecord:
    """Decode and validate a search's cancel. Raises EnvelopeError or InvalidRequestError."""
    envelope = open_envelope(record.value, record.headers, EventType.OPTIMIZATION_CANCEL_REQUESTED)
    cancel = parse_optimization_cancel_requested(envelope.data, envelope.duplicate_keys)
    return CancelToRecord(record, None, cancel.request_id, cancel.reason, cancel.optimization_id)


def identity_of(record: Record, envelope: Envelope) -> str:
    """The request_id of a request."""
    return request_identity(
        envelope.data.get("request_id"),
        envelope.id,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms,
    )
