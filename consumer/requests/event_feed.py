"""Events of both output topics as one stream: each once, and a run's in order.

The progress topic has a run's whole life in order, but only for a day; the completed topic has ends only, for long, and
the only word of rejections. What it says of runs is therefore held back until the progress topic had its chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from consumer.ports import Clock, Record
from consumer.ports.requests import TopicReader
from consumer.requests.search_states import SearchStates, read_search_event
from consumer.requests.states import RunStates, read_event
from schemas.envelope import Headers
from schemas.outgoing import EventData, SearchEventData
from schemas.topics import EventType, Topic

HOLD_SECONDS = 1.0

Event = TypeVar("Event", EventData, SearchEventData)


Told = TypeVar("Told", contravariant=True)


class States(Protocol[Told]):
    """What was told of each run, or search."""

    def take(self, event: Told) -> bool: ...


@dataclass(frozen=True, slots=True)
class Kind(Generic[Event]):
    """Events of runs, or of searches: their topics, and how they are read."""

    progress: Topic
    completed: Topic
    read: Callable[[bytes | None, Headers], Event | None]
    states: Callable[[], States[Event]]

    @property
    def topics(self) -> tuple[Topic, Topic]:
        return self.progress, self.completed


RUNS: Kind[EventData] = Kind(Topic.PROGRESS, Topic.COMPLETED, read_event, RunStates)
SEARCHES: Kind[SearchEventData] = Kind(
    Topic.OPTIMIZATION_PROGRESS, Topic.OPTIMIZATION_COMPLETED, read_search_event, SearchStates
)
_REJECTIONS = frozenset({EventType.REJECTED, EventType.OPTIMIZATION_REJECTED})


@dataclass(frozen=True, slots=True)
class News(Generic[Event]):
    """An event that says something new, and the record that brought it."""

    event: Event
    record: Record


@dataclass(slots=True)
class EventFeed(Generic[Event]):
    """Reads a reader of a kind's two topics; other topics' records are passed on apart."""

    kind: Kind[Event]
    reader: TopicReader
    clock: Clock
    on_skipped: Callable[[str], None] = lambda _: None
    """Told of records that are no events, written by somebody else: they must not end a subscription."""
    states: States[Event] = field(init=False)
    has_caught_up: bool = field(default=False, init=False)
    """All that was in the topics at the start has been told."""
    others: list[Record] = field(default_factory=list, init=False)
    """Records of other topics that came with the last `read`."""
    _held: list[tuple[float, News[Event]]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.states = self.kind.states()

    async def read(self, timeout_seconds: float) -> list[News[Event]]:
        """What is new, waiting for something as long as told. May be empty."""
        records = await self.reader.read(min(timeout_seconds, HOLD_SECONDS / 2) if self._held else timeout_seconds)
        now = self.clock.monotonic()
        self.others = [record for record in records if record.topic not in self.kind.topics]
        told: list[News[Event]] = []
        for record in records:
            news = self._news_of(record)
            if news is None:
                continue
            if record.topic == self.kind.completed and news.event.event_type not in _REJECTIONS:
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

    def _news_of(self, record: Record) -> News[Event] | None:
        if record.topic not in self.kind.topics:
            return None
        try:
            event = self.kind.read(record.value, record.headers)
        except ValueError as error:
            self.on_skipped(f"skipped {record.topic}/{record.partition}/{record.offset}: {error}")
            return None
        return None if event is None else News(event, record)
