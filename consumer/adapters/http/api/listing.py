"""Lists in parts: {"items": [...], "next_cursor": text or null}. A cursor holds a place, and what it is a place in."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from consumer.adapters.http.api.problems import Problem, refused_field
from schemas.json_text import canonical_json

Place = tuple[Any, ...]
"""What a list is in order of, of its last item: moments, numbers, text, nulls."""
_DIGEST_BYTES: Final = 12


def write_cursor(kind: str, query: Mapping[str, Any], place: Place) -> str:
    """kind: which list. query: sort and filters by name, as the route understood them; without limit and cursor."""
    text = json.dumps([_written(value) for value in place], separators=(",", ":")).encode("ascii")
    return urlsafe_b64encode(_digest(kind, query, text) + text).decode("ascii").rstrip("=")


def read_cursor(kind: str, query: Mapping[str, Any], cursor: str) -> Place:
    """The place, as it was written. Raises Problem (422) for a cursor of another list, sort or filter, or of nobody."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (NotBase64, ValueError) as error:
        raise _foreign() from error
    digest, text = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(kind, query, text):
        raise _foreign()
    return tuple(_read(value) for value in json.loads(text))


def _foreign() -> Problem:
    return refused_field("cursor", "is none of this list with this sort and these filters")


def _digest(kind: str, query: Mapping[str, Any], text: bytes) -> bytes:
    """Over the place too: what is cut or changed is noticed. It is no secret, and hides nothing."""
    asked = canonical_json([kind, {name: _written(value) for name, value in query.items() if value is not None}])
    return hashlib.sha256(asked.encode("ascii") + b"\n" + text).digest()[:_DIGEST_BYTES]


def _written(value: Any) -> Any:
    match value:
        case datetime():
            return ["t", value.astimezone(UTC).isoformat()]
        case float():
            return ["f", value.hex()]
        case _:
            return value


def _read(value: Any) -> Any:
    match value:
        case ["t", text]:
            return datetime.fromisoformat(text)
        case ["f", text]:
            return float.fromhex(text)
        case _:
            return value
