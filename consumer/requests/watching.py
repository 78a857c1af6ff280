"""Follows one request to its end: its events, or the word of the dead-letter topic that it was not taken at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from consumer.ports import Clock, Record
from consumer.ports.requests import TopicReader, Topics
from consumer.requests.event_feed import RUNS, EventFeed
from consumer.requests.states import is_terminal
from schemas.outgoing import EventData, TerminalEvent
from schemas.topics import Topic

DEAD_LETTER_PATIENCE_SECONDS: Final = 3.0
"""For a worker to refuse a request whose id had been used before, once the outcome of the earlier one is known."""

SILENCE_SECONDS: Final = 5.0
"""Without any answer, after which a worker may not be there: one that is up rejects, starts or queues sooner, mostly.
"""

Show = Callable[[EventData], None]


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The request was not taken at all."""

    reason: str
    message: str


@asynccontextmanager
async def watch_request(
    topics: Topics, request_id: str, clock: Clock, *, may_be_known: bool
) -> AsyncIterator["RequestWatch"]:
    """Watch for answers; enter it before sending. may_be_known: the id was not made just now, so look back too."""
    told = (Topic.PROGRESS, Topic.COMPLETED, Topic.DEAD_LETTER)
    async with topics.reading(told, from_beginning=may_be_known) as reader:
        yield RequestWatch(reader, request_id, clock)


@dataclass(frozen=True, slots=True)
class RequestWatch:
    """The answers to one request."""

    reader: TopicReader
    request_id: str
    clock: Clock

    async def until_end(
        self,
        sent_to: tuple[int, int],
        show: Show,
        deadline: float,
        on_silence: Callable[[], None] = lambda: None,
    ) -> TerminalEvent | DeadLettered | None:
        """Show each new event of the request, and return its last one; None when the monotonic deadline comes first.

        on_silence: called once where nothing at all has answered for SILENCE_SECONDS.
        """
        feed = EventFeed(RUNS, self.reader, self.clock)
        ended: TerminalEvent | None = None
        silent_until = self.clock.monotonic() + SILENCE_SECONDS
        while (now := self.clock.monotonic()) < deadline:
            if now >= silent_until:
                silent_until = float("inf")
                on_silence()
            told = await feed.read(min(0.5, deadline - now))
            dead = next(filter(None, (dead_letter_of(record, sent_to) for record in feed.others)), None)
            if dead is not None:
                return dead
            for news in told:
                if news.event.request_id != self.request_id:
                    continue
                silent_until = float("inf")
                show(news.event)
                if is_terminal(news.event):
                    ended = news.event
                    patience = DEAD_LETTER_PATIENCE_SECONDS if self._was_there_before(news.record) else 0.0
                    deadline = min(deadline, self.clock.monotonic() + patience)
        return ended

    def _was_there_before(self, record: Record) -> bool:
        """Whether the record is older than this watch: then it answers an earlier request with the same id."""
        return record.offset < self.reader.ends.get((record.topic, record.partition), 0)


def deadline_after(seconds: float | None, clock: Clock) -> float:
    """The monotonic deadline that a waiting time means; None: none."""
    return clock.monotonic() + seconds if seconds is not None else float("inf")


def dead_letter_of(record: Record, sent_to: tuple[int, int], topic: Topic = Topic.REQUESTED) -> DeadLettered | None:
    """What the dead-letter topic says of the record that was sent to this partition and offset of a topic."""
    if record.topic != Topic.DEAD_LETTER:
        return None
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    place = (headers.get("dlq-topic"), headers.get("dlq-partition"), headers.get("dlq-offset"))
    if place != (str(topic), str(sent_to[0]), str(sent_to[1])):
        return None
    return DeadLettered(headers.get("dlq-reason", ""), headers.get("dlq-message", ""))
