"""What every incoming record shares: one JSON object, with or without a CloudEvents 1.0 envelope, structured or binary.

Own code in place of the `cloudevents` package: that one makes up a missing id and time, lets Kafka headers overwrite
attributes of a structured event, takes headers as a dict (repeated ones are lost, null ones crash) and raises whatever
the JSON inside provokes, where a bad request's answer has to tell these apart. The tests use the package as a witness
for both directions.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from schemas.json_text import DecodedJson, JsonTextError, decode_json, printable, shown, why_unusable_text

MAX_VALUE_BYTES: Final = 1_048_576
"""The largest value taken, in bytes of the record's value alone; key and headers do not count."""
MAX_ID_CHARACTERS: Final = 255
MAX_SOURCE_CHARACTERS: Final = 512
"""A source is an index key in Postgres: 2 048 bytes of UTF-8 at most."""

Headers = Sequence[tuple[str, bytes | None]]
EnvelopeReason = Literal["undecodable", "wrong_type", "too_large"]


class EnvelopeError(ValueError):
    """The record goes to the dead-letter topic: `reason` is its dlq-reason, `message` one printable line."""

    def __init__(self, reason: EnvelopeReason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason: EnvelopeReason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Envelope:
    """One decoded record. Plain JSON has no id, source, subject and time, and the type that was expected."""

    id: str | None
    """1 to 255 characters that can be stored."""
    source: str | None
    """1 to 512 characters that can be stored."""
    type: str
    subject: str | None
    time: str | None
    """As sent; nothing depends on it."""
    data: dict[str, Any]
    """As sent: may hold NaN, infinities, any text and `OversizedInteger`, which validation refuses by field."""
    duplicate_keys: tuple[str, ...] = ()
    """Keys of data, dotted, that an object of it held twice; `parse_requested` refuses them by name."""


def open_envelope(value: bytes | None, headers: Headers, *expected_types: str) -> Envelope:
    """Decode a record's value and headers; pure, and raises nothing but EnvelopeError.

    Structured: content-type application/cloudevents+json, else a JSON object with `specversion` and no ce_ header.
    Binary: any ce_ header. Else plain JSON, taken as the one expected type. JSON is UTF-8, a byte order mark is
    skipped. An envelope that names an attribute twice with two values has no one identity, so it is undecodable; a
    repeated key inside data is not.
    """
    if value is None:
        raise EnvelopeError("undecodable", "the record has no value (a tombstone)")
    if len(value) > MAX_VALUE_BYTES:
        raise EnvelopeError("too_large", f"the value has {len(value)} bytes, more than {MAX_VALUE_BYTES}")
    named = _read_headers(headers) if headers else {}
    content_type = _media_type(named.get("content-type"))
    if content_type.startswith("application/cloudevents"):
        if content_type not in {"application/cloudevents", "application/cloudevents+json"}:
            raise EnvelopeError("undecodable", f"content-type {shown(content_type)} is not a single CloudEvent in JSON")
        return _open_structured(_decode_object(value, "the value"), expected_types)
    if any(name.startswith("ce_") for name in named):
        return _open_binary(value, named, content_type, expected_types)
    decoded = _decode_object(value, "the value")
    if "specversion" in decoded.value:
        return _open_structured(decoded, expected_types)
    if len(expected_types) != 1:
        raise EnvelopeError("undecodable", "not a CloudEvent, and its type cannot be told without one")
    return Envelope(None, None, expected_types[0], None, None, decoded.value, decoded.repeated_keys)


def _open_structured(decoded: DecodedJson, expected_types: Sequence[str]) -> Envelope:
    attributes = decoded.value
    repeated = [key for key in decoded.repeated_keys if not key.startswith("data.")]
    if repeated:
        raise EnvelopeError("undecodable", f"the CloudEvent names {shown(repeated[0])} more than once")
    identity = _read_identity(attributes, expected_types)
    content_type = attributes.get("datacontenttype")
    if content_type is not None and not (
        isinstance(content_type, str) and _is_json(_media_type(content_type.encode("utf-8", "replace")))
    ):
        raise EnvelopeError("undecodable", f"the CloudEvent's datacontenttype {shown(content_type)} is not JSON")
    encoded = attributes.get("data_base64")
    data = attributes.get("data")
    if encoded is not None:
        if data is not None:
            raise EnvelopeError("undecodable", "the CloudEvent has both data and data_base64")
        inner = _decode_object(_decode_base64(encoded), "the CloudEvent's data_base64")
        return Envelope(*identity, inner.value, inner.repeated_keys)
    if data is None:
        raise EnvelopeError("undecodable", "the CloudEvent has no data")
    if not isinstance(data, dict):
        raise EnvelopeError("undecodable", f"the CloudEvent's data is not a JSON object but {_kind(data)}")
    duplicates = tuple(key.removeprefix("data.") for key in decoded.repeated_keys)
    return Envelope(*identity, cast("dict[str, Any]", data), duplicates)


def _open_binary(
    value: bytes, named: Mapping[str, bytes | None], content_type: str, expected_types: Sequence[str]
) -> Envelope:
    attributes = {
        name: _decode_header(f"ce_{name}", named.get(f"ce_{name}"))
        for name in ("specversion", "id", "source", "type", "subject", "time")
    }
    identity = _read_identity(attributes, expected_types)
    if content_type and not _is_json(content_type):
        raise EnvelopeError("undecodable", f"the CloudEvent's content-type {shown(content_type)} is not JSON")
    if not value:
        raise EnvelopeError("undecodable", "the CloudEvent has no data")
    decoded = _decode_object(value, "the CloudEvent's data")
    return Envelope(*identity, decoded.value, decoded.repeated_keys)


def _read_identity(
    attributes: Mapping[str, Any], expected_types: Sequence[str]
) -> tuple[str, str, str, str | None, str | None]:
    """(id, source, type, subject, time); no specversion is 1.0, a subject or time that is no text is none."""
    version = attributes.get("specversion", "1.0")
    if version not in ("1.0", None):
        raise EnvelopeError("undecodable", f"the CloudEvent's specversion is {shown(version)}, only '1.0' is read")
    event_id = _required_text(attributes, "id", MAX_ID_CHARACTERS)
    source = _required_text(attributes, "source", MAX_SOURCE_CHARACTERS)
    event_type = _required_text(attributes, "type", None)
    if event_type not in expected_types:
        expected = " or ".join(shown(str(name)) for name in expected_types)
        raise EnvelopeError("wrong_type", f"the CloudEvent's type is {shown(event_type)}, expected {expected}")
    subject, time = attributes.get("subject"), attributes.get("time")
    return (
        event_id,
        source,
        event_type,
        subject if isinstance(subject, str) else None,
        time if isinstance(time, str) else None,
    )


def _required_text(attributes: Mapping[str, Any], name: str, max_characters: int | None) -> str:
    text = attributes.get(name)
    if text is None or text == "":
        raise EnvelopeError("undecodable", f"the CloudEvent has no {name}")
    if not isinstance(text, str):
        raise EnvelopeError("undecodable", f"the CloudEvent's {name} is not text but {_kind(text)}")
    if max_characters is not None:
        if len(text) > max_characters:
            raise EnvelopeError(
                "undecodable", f"the CloudEvent's {name} has {len(text)} characters, more than {max_characters}"
            )
        problem = why_unusable_text(text)
        if problem is not None:
            raise EnvelopeError("undecodable", f"the CloudEvent's {name} {problem}")
    return text


def _decode_object(value: bytes, what: str) -> DecodedJson:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvelopeError("undecodable", f"{what} is not UTF-8 at byte {error.start}") from error
    try:
        decoded = decode_json(text)
    except JsonTextError as error:
        raise EnvelopeError("undecodable", f"{what} is not JSON: {printable(str(error))}") from error
    if not isinstance(decoded.value, dict):
        raise EnvelopeError("undecodable", f"{what} is not a JSON object but {_kind(decoded.value)}")
    return decoded


def _decode_base64(encoded: Any) -> bytes:
    if not isinstance(encoded, str):
        raise EnvelopeError("undecodable", f"the CloudEvent's data_base64 is not text but {_kind(encoded)}")
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise EnvelopeError("undecodable", "the CloudEvent's data_base64 is not base64") from error


def _read_headers(headers: Headers) -> dict[str, bytes | None]:
    """content-type and every ce_ header by lower-case name; the same twice is one, two values are refused."""
    named: dict[str, bytes | None] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if name != "content-type" and not name.startswith("ce_"):
            continue
        if name in named and named[name] != value:
            raise EnvelopeError("undecodable", f"the header {shown(name)} stands twice, with two values")
        named[name] = value
    return named


def _decode_header(name: str, value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EnvelopeError("undecodable", f"the header {name} is not UTF-8") from error


def _media_type(content_type: bytes | None) -> str:
    """Lower case, without parameters; empty when absent."""
    return (content_type or b"").decode("utf-8", "replace").partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type in {"application/json", "text/json"} or media_type.endswith("+json")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case str():
            return "text"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return "a number"
