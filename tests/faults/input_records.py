"""What an input record is, read by itself: a request or a cancel that must be durable, or poison that must be kept."""

import json
from dataclasses import dataclass

from consumer.decoding import decode_cancel, decode_request, decode_search, decode_search_cancel
from consumer.ports import Record
from schemas.envelope import EnvelopeError
from schemas.problems import InvalidRequestError
from schemas.topics import Topic
from tests.faults.evidence import Place


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, valid or to be rejected: its id must be in the table of requests."""

    place: Place
    request_id: str
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A cancel of one of the two: it must be in the table of cancels."""

    place: Place
    run_id: int | None
    request_id: str | None
    optimization_id: int | None = None


@dataclass(frozen=True, slots=True)
class Poison:
    """Nothing that can be used."""

    place: Place


def read_input(record: Record) -> Wanted | Kept | Poison:
    """What is no JSON object is poison, by this module's own reading; finer points by the published schemas."""
    place = place_of(record)
    if not _is_json_object(record.value):
        return Poison(place)
    try:
        if record.topic == Topic.CANCEL_REQUESTED:
            cancel = decode_cancel(record)
            return Kept(place, cancel.run_id, cancel.request_id)
        if record.topic == Topic.OPTIMIZATION_CANCEL_REQUESTED:
            cancel = decode_search_cancel(record)
            return Kept(place, None, cancel.request_id, cancel.optimization_id)
        is_search = record.topic == Topic.OPTIMIZATION_REQUESTED
        request = decode_search(record) if is_search else decode_request(record)
    except (EnvelopeError, InvalidRequestError):
        return Poison(place)
    return Wanted(place, request.request_id, request.content_hash)


def place_of(record: Record) -> Place:
    return record.topic, record.partition, record.offset


def _is_json_object(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads((value or b"").decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False
