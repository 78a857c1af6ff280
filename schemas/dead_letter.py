"""Records that cannot be used: as they came, plus headers that say why and where from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from schemas.json_text import printable, utc_text

TRUNCATED_BYTES: Final = 65_536
MAX_MESSAGE_CHARACTERS: Final = 1_000

Headers = Sequence[tuple[str, bytes | None]]


class DeadLetterReason(StrEnum):
    """`dlq-reason`: why a record cannot be used."""

    UNDECODABLE = "undecodable"
    WRONG_TYPE = "wrong_type"
    TOO_LARGE = "too_large"
    CONFLICT = "conflict"
    INVALID_REQUEST = "invalid_request"
    """On the cancel topic only; a request that breaks its schema is rejected instead."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is sent to the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter(
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    reason: DeadLetterReason,
    message: str,
    topic: str,
    partition: int,
    offset: int,
    time: datetime,
) -> DeadLetter:
    """The record as it came, its own headers first (repeated and null ones too), then those of the dead letter.

    time: when it was found unusable, with an offset. A record that was a dead letter before keeps its old dlq- headers;
    the last of each name is the newest.
    """
    added = dead_letter_headers(
        reason=reason, message=message, topic=topic, partition=partition, offset=offset, time=time
    )
    return DeadLetter(key, value, (*headers, *added))


def dead_letter_headers(
    *, reason: DeadLetterReason, message: str, topic: str, partition: int, offset: int, time: datetime
) -> tuple[tuple[str, bytes | None], ...]:
    """The six headers that every dead letter has."""
    told = printable(message)
    if len(told) > MAX_MESSAGE_CHARACTERS:
        told = f"{told[: MAX_MESSAGE_CHARACTERS - 3]}..."
    return (
        ("dlq-reason", str(reason).encode("ascii")),
        ("dlq-message", told.encode("utf-8")),
        ("dlq-topic", topic.encode("utf-8")),
        ("dlq-partition", str(partition).encode("ascii")),
        ("dlq-offset", str(offset).encode("ascii")),
        ("dlq-time", utc_text(time).encode("ascii")),
    )


def truncated(letter: DeadLetter) -> DeadLetter:
    """The letter cut to what fits anywhere, marked `dlq-truncated: true`; cutting again changes nothing.

    Key and value are cut to their first 64 KiB. Of the record's own headers the first ones stay, up to 64 KiB together;
    the dlq- ones always do.
    """
    if letter.headers and letter.headers[-1] == ("dlq-truncated", b"true"):
        return letter
    own, added = letter.headers[:-6], letter.headers[-6:]
    kept: list[tuple[str, bytes | None]] = []
    size = 0
    for name, value in own:
        size += len(name.encode("utf-8", "replace")) + len(value or b"")
        if size > TRUNCATED_BYTES:
            break
        kept.append((name, value))
    return replace(
        letter,
        key=None if letter.key is None else letter.key[:TRUNCATED_BYTES],
        value=None if letter.value is None else letter.value[:TRUNCATED_BYTES],
        headers=(*kept, *added, ("dlq-truncated", b"true")),
    )
