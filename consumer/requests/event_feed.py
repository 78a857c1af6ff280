"""Events of both output topics as one stream: each once, and a run's in order.

The progress topic has a run's whole life in order, but only for a day; the completed topic has ends only, for long, and
the only word of rejections. What it says of runs is therefore held back until the progress topic had its chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from consumer.ports import Clock, Record
from consumer.ports.requests import TopicReader
from consumer.requests.states import RunStates, read_event
from schemas.outgoing import EventData
from schemas.rejected import Rejected
from schemas.topics import Topic

HOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class News:
    """An event that says something new, and the record that brought it."""

    event: EventData
    record: Record


@dataclass(slots=True)
class EventFeed:
    """Reads a reader of the progress and completed topics; other topics' records are passed on apart."""

    reader: TopicReader
    clock: Clock
    on_skipped: Callable[[str], None] = lambda _: None
    """Told of records that are no events, written by somebody else: they must not end a subscription."""
    states: RunStates = field(default_factory=RunStates, init=False)
    has_caught_up: bool = field(default=False, init=False)
    """All that was in the topics at the start has been told."""
    others: list[Record] = field(default_factory=list, init=False)
    """Records of other topics that came with the last `read`."""
    _held: list[tuple[float, News]] = field(default_factory=list, init=False)

    async def read(self, timeout_seconds: float) -> list[News]:
        """What is new, waiting for something as long as told. May be empty."""
        records = await self.reader.read(min(timeout_seconds, HOLD_SECONDS / 2) if self._held else timeout_seconds)
        now = self.clock.monotonic()
        self.others = [record for record in records if record.topic not in (Topic.PROGRESS, Topic.COMPLETED)]
        told: list[News] = []
        for record in records:
            news = self._news_of(record)
            if news is None:
                continue
            if record.topic == Topic.COMPLETED and not isinstance(news.event, Rejected):
                self._held.append((now + HOLD_SECONDS, news))
            else:
                told.append(news)
        if not self.has_caught_up and await self.reader.has_caught_up():
            self.has_caught_up = True
            told += [news for _, news in self._held]
            self._held.clear()
        elif self.has_caught_up:
            told += [news for release_at, news in self._held if release_at <= now]
            self._held = [held for held in self._held if held[0] > now]
        return [news for news in told if self.states.take(news.event)]

    def _news_of(self, record: Record) -> News | None:
        if record.topic not in (Topic.PROGRESS, Topic.COMPLETED):
            return None
        try:
            event = read_event(record.value, record.headers)
        except ValueError as error:
            self.on_skipped(f"skipped {record.topic}/{record.partition}/{record.offset}: {error}")
            return None
        return None if event is None else News(event, record)
