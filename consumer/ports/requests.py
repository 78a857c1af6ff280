"""The topics as an emitter and a subscriber see them: records go in, and are read from outside any group."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from consumer.ports.events import Delivery
from consumer.ports.records import Record

Place = tuple[str, int]
"""Topic and partition."""


class TopicReader(Protocol):
    """An open subscription to every partition of some topics. Commits nothing, so that nobody else notices it."""

    @property
    def beginnings(self) -> Mapping[Place, int]:
        """The first offset that each partition still had when reading began."""
        ...

    @property
    def ends(self) -> Mapping[Place, int]:
        """Where each partition ended when reading began: the next record will have this offset, or a later one."""
        ...

    async def read(self, timeout_seconds: float) -> Sequence[Record]:
        """What has come, waiting for something as long as told; a partition's records in order. May be empty.

        A broker that is away is waited for; BrokerUnavailable where that cannot help.
        """
        ...

    async def offsets_at(self, moment: datetime) -> Mapping[Place, int]:
        """The offset of each partition's first record that is not older; its end where all are."""
        ...

    async def has_caught_up(self) -> bool:
        """Whether all that was there when reading began has been read."""
        ...


class Topics(Protocol):
    """Our topics, over one way to reach the brokers. Methods raise BrokerUnavailable when no broker answers, and
    StartFailed for what trying again will not mend.
    """

    async def prepare(self) -> None:
        """Make the topics that are missing, as a worker would at its start, unless the settings say not to.

        So the first request may come before the first worker. Idempotent.
        """
        ...

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[int, int]]:
        """Send records in order, wait until all replicas have them, and return partition and offset of each.

        After BrokerUnavailable some of them may have arrived.
        """
        ...

    def reading(self, topics: Sequence[str], *, from_beginning: bool) -> AbstractAsyncContextManager[TopicReader]:
        """Read topics from their beginning, or all that is sent after this was entered.

        StartFailed when one of them does not exist.
        """
        ...
