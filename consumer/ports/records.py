"""Records in: what is read from Kafka, and when its offset may be committed."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, byte for byte."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = -1
    """As the broker has it, since 1970; -1: it has none (logs of old format)."""
    unread: str = ""
    """Why key, value and headers are not here, where the record is part of a batch that cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records polled together, and the positions that may be committed once all of them, and all of the batches before,
    are durable. Without records where there was nothing to read before a position.
    """

    records: tuple[Record, ...]
    positions: Mapping[tuple[str, int], int]
    """(topic, partition) -> next offset to read, as the consumer reported it (gaps included; never last + 1)."""
    assignment: int = 0
    """Number of the assignment the batch was polled under."""


class RecordSource(Protocol):
    """The input topics, read in one group.

    Polls at least every second whatever its reader does, so that a slow reader never costs group membership.
    Each record is delivered at least once; a partition's records in order.
    """

    @property
    def reads_requests(self) -> bool:
        """Whether a partition of the request topic is this member's now."""
        ...

    def batches(self) -> AsyncIterator[Batch]:
        """Yield batches until `stop`; while one is being handled no further ones pile up (partitions are paused)."""
        ...

    def mark_durable(self, batch: Batch) -> None:
        """Let the batch's positions be committed, soon. Positions of partitions revoked meanwhile are dropped."""
        ...

    def hold_requests(self, hold: bool) -> None:
        """Pause (or resume) the request topic only: cancels keep coming, membership stays."""
        ...

    async def stop(self) -> None:
        """Commit what is durable (bounded in time), leave the group and end `batches`."""
        ...
