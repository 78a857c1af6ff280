"""One topic's share of the outbox: whose event is to be sent there next, and what the topic does not take."""

import asyncio
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import structlog

from consumer.ports import OutgoingEvent, SendResult
from consumer.rules.delivery import RunOrRow
from schemas.topics import Topic

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries of an event that its topic refuses; it doubles from the one to the other."""
RETRIES_A_PASS = 20
RETRY_INTERVAL_SECONDS = 1.0
"""Refused events come back so many at a time, however many there are: the topic is mended for all or for none."""
NAMED_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that the topic does not take as it is, and how long it waits before it is tried again."""

    event_id: str
    why: SendResult
    pause_seconds: float


@dataclass(slots=True)
class Lane:
    """Runs and rows whose first unsent event is owed to this topic; each is ready, or refused and waiting alone."""

    topic: Topic
    ready: dict[RunOrRow, None] = field(default_factory=dict, init=False)
    """Insertion order is the order of service."""
    refused: dict[RunOrRow, Refusal] = field(default_factory=dict, init=False)
    due: list[tuple[float, RunOrRow]] = field(default_factory=list, init=False)
    """A heap of when the refused are tried again; one that is no longer refused is passed over."""
    retried_at: float = field(default=float("-inf"), init=False)
    trouble: SendResult | None = field(default=None, init=False)
    """UNKNOWN or NO_TOPIC: what became of the last sending, if it was about the topic and not about an event."""
    troubled_since: float = field(default=0.0, init=False)
    named_at: float = field(default=float("-inf"), init=False)
    arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def offer(self, key: RunOrRow, event: OutgoingEvent) -> None:
        """Have the run's first event sent. One that was refused waits for its time."""
        refusal = self.refused.get(key)
        if refusal is not None and refusal.event_id == event.event_id:
            return
        self.refused.pop(key, None)
        self.ready[key] = None
        self.arrived.set()

    def next_ones(self, limit: int, now: float) -> Iterator[RunOrRow]:
        """Take out what is ready, at most `limit`, and a few of the refused whose time has come. What the caller does
        not go on to ask for stays where it is.
        """
        for key in list(islice(self.ready, limit)):
            del self.ready[key]
            yield key
        if now - self.retried_at < RETRY_INTERVAL_SECONDS:
            return
        for _ in range(RETRIES_A_PASS):
            if not self.due or self.due[0][0] > now:
                return
            self.retried_at = now
            key = heapq.heappop(self.due)[1]
            if key in self.refused:
                yield key

    def refuse(self, key: RunOrRow, event: OutgoingEvent, why: SendResult, now: float) -> None:
        """Let an event wait alone, twice as long as the last time."""
        before = self.refused.get(key)
        again = before is not None and before.event_id == event.event_id
        pause = min(2 * before.pause_seconds, LONGEST_PAUSE_SECONDS) if before and again else FIRST_PAUSE_SECONDS
        self.refused[key] = Refusal(event.event_id, why, pause)
        heapq.heappush(self.due, (now + pause, key))

    def taken(self, key: RunOrRow) -> None:
        """The topic has the event. If it had refused it, it takes others again too: all are tried at once."""
        if self.refused.pop(key, None) is not None:
            self.ready.update(dict.fromkeys(self.refused))
            self.refused.clear()
            self.due.clear()
            self.arrived.set()

    def defer(self, key: RunOrRow, now: float) -> None:
        """Nothing was heard of it. If it was a refused one, it waits again as it did."""
        if (refusal := self.refused.get(key)) is not None:
            heapq.heappush(self.due, (now + refusal.pause_seconds, key))

    def forget(self, key: RunOrRow) -> None:
        self.ready.pop(key, None)
        self.refused.pop(key, None)

    def is_well(self) -> None:
        """The topic answered."""
        self.trouble = None

    def is_troubled(self, why: SendResult, now: float) -> None:
        if self.trouble is None:
            self.troubled_since = now
        self.trouble = why

    def wakes_in(self, now: float) -> float | None:
        """Seconds until a refused event is to be tried; None: there is none."""
        return max(self.due[0][0], self.retried_at + RETRY_INTERVAL_SECONDS) - now if self.due else None

    def complaint(self, now: float) -> str | None:
        """What is the matter with this topic, in a line; None: nothing."""
        if self.trouble is not None and self.ready:
            told = "does not exist" if self.trouble is SendResult.NO_TOPIC else "does not answer"
            return f"{self.topic} {told}: {len(self.ready)} events wait for {now - self.troubled_since:.0f} s"
        if self.refused:
            first = next(iter(self.refused.values()))
            return f"{self.topic} refuses {len(self.refused)} events ({first.why}), the first {first.event_id}"
        return None

    def name_trouble(self, now: float) -> None:
        """Log what is the matter, once a minute."""
        complaint = self.complaint(now)
        if complaint is not None and now - self.named_at >= NAMED_EVERY_SECONDS:
            self.named_at = now
            first = [(key[1], refusal.event_id) for key, refusal in islice(self.refused.items(), 5)]
            log.error("events_not_taken", topic=self.topic, why=complaint, refused=len(self.refused), first=first)
