"""Events out: what an outbox keeps, and what a producer says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class EventKind(StrEnum):
    """What an outbox row carries, and so which topics it goes to."""

    STARTED = "started"
    PROGRESS = "progress"
    TERMINAL = "terminal"
    REJECTED = "rejected"
    DEAD_LETTER = "dead_letter"
    SEARCH_REJECTED = "search_rejected"
    REQUESTED = "requested"
    """The record of a request that came over HTTP."""
    SEARCH_REQUESTED = "search_requested"


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One event or dead letter as the outbox keeps it until the broker has it."""

    event_id: str
    kind: EventKind
    run_id: int | None
    """Whose order it keeps: a run's number, or a search's below zero (rules.delivery)."""
    sequence: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    row_id: int = 0
    """Outbox row; 0 before it is stored."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class SendResult(StrEnum):
    """What the broker said to one delivery."""

    ACKNOWLEDGED = "acknowledged"
    TOO_LARGE = "too_large"
    """The broker or the client will never take it as it is."""
    REFUSED = "refused"
    """The broker answered, and does not take it: a record it finds wrong, a right that is missing."""
    NO_TOPIC = "no_topic"
    """The broker has no such topic. Nothing was sent."""
    UNKNOWN = "unknown"
    """No answer in time: it may or may not have arrived; send it again."""


class Publisher(Protocol):
    """An idempotent, acks=all producer."""

    async def send(self, deliveries: Sequence[Delivery]) -> Sequence[SendResult]:
        """Send all, wait for the answers (bounded in time), and return one result a delivery, in order.

        Order among deliveries of one call is not promised, so the caller puts at most one of each run into a call.
        What is refused is refused for itself, not for what it was sent together with. Topics do not wait for each
        other between calls, and records carry the store's time. Never raises for a broker that is away: results are
        UNKNOWN, and the next call uses a new producer.
        """
        ...

    async def is_reachable(self) -> bool:
        """Whether the brokers that lead the topics sent to answer; bounded to a second or two."""
        ...


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every event of a run says of it."""

    run_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str
    llm_replay: bool = False
    """The run asks no model: it has answers of the ledger or fails."""


class Outbox(Protocol):
    """Events that are durable here until the broker has them.

    Whoever writes an event for a run takes over all of the run's unsent ones in the same transaction, so that each
    relay alone knows every lower sequence of what it sends; order then needs no lock.
    """

    async def delete(self, events: Sequence[OutgoingEvent]) -> None:
        """Forget acknowledged events. An event replaced meanwhile (higher sequence in its row) stays."""
        ...

    async def renew(self, events: Sequence[OutgoingEvent]) -> None:
        """Keep these from being adopted by other workers while they wait here."""
        ...

    async def adopt(self, limit: int, max_bytes: int) -> Sequence[OutgoingEvent]:
        """Take over unsent events whose owner let them lapse, run by run, sequence rising: about so many, and those
        that lapsed first until their values come to about so many bytes.
        """
        ...

    async def take_over(self, run_ids: Sequence[int]) -> Sequence[OutgoingEvent]:
        """Make this worker the one who relays all unsent events of these runs; by run, sequence rising."""
        ...

    async def release(self, events: Sequence[OutgoingEvent]) -> None:
        """Let others adopt these at once (this worker is stopping)."""
        ...
