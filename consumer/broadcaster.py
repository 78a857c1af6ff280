"""Events from the topics to everybody who follows, by one consumer of the process and outside any group.

Each follower has a place of bounded size: of what he has not taken yet the newest progress alone is kept; those who
follow everything share one. Kafka away stops nothing: what ended meanwhile is found in the tables.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from consumer.errors import StartFailed, Unavailable
from consumer.ports import Clock, Record
from consumer.ports.requests import Topics
from consumer.ports.standings import Standings
from schemas.envelope import EnvelopeError, open_envelope
from schemas.topics import EventType, Topic

log = structlog.get_logger(__name__)

Key = tuple[bool, int]
"""Whether it is a search, and its number."""
TOPICS: Final = (Topic.PROGRESS, Topic.OPTIMIZATION_PROGRESS)
"""Each has a run's, or a search's, whole life in order."""
TYPES: Final = tuple(str(each) for each in EventType)
LAST_WORDS: Final = frozenset({"completed", "failed", "cancelled"})
AWAY_PAUSE_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 2.0
"""Between two looks in the tables whether what is followed has ended."""
TICK_SECONDS: Final = 0.25
KEPT_TICKS: Final = 40
"""Who is further behind has to begin anew."""
MOST_REMEMBERED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Event:
    """word: the last of its type. data: JSON text of one line."""

    key: Key
    sequence: int
    word: str
    data: str

    @property
    def is_last(self) -> bool:
        return self.word in LAST_WORDS


def newest(events: Iterable[Event]) -> list[Event]:
    """Each run's in order; progress that is followed by progress, or by the end, left out."""
    queues: dict[Key, list[Event]] = {}
    for event in events:
        queue = queues.setdefault(event.key, [])
        if event.word == "progress" or event.is_last:
            queue[:] = [other for other in queue if other.word != "progress"]
        queue.append(event)
    return [event for queue in queues.values() for event in queue]


@dataclass(slots=True, eq=False)
class Follower:
    """What one stream of a run, or of a search, has still to send."""

    key: Key
    waiting: list[Event] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    has_ended: bool = False
    """The tables say that it has ended; its event may never come."""

    def put(self, event: Event) -> None:
        self.waiting = newest([*self.waiting, event])
        self.woken.set()

    def take(self) -> list[Event]:
        """All that waits, in order."""
        taken, self.waiting = self.waiting, []
        self.woken.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Tick:
    """What came within a moment, of everything, for all who follow everything: kept once for all of them."""

    number: int
    events: Sequence[Event]
    texts: list[str] = field(default_factory=list)
    """For those who follow to keep what they make of the events, once for all of them."""


@dataclass(slots=True)
class Broadcaster:
    """One for a process; `read` and `look` have to run beside it."""

    topics: Topics
    standings: Standings
    clock: Clock
    by_key: dict[Key, set[Follower]] = field(default_factory=dict, init=False)
    fresh: list[Event] = field(default_factory=list, init=False)
    """Of everything, since the last tick."""
    ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=KEPT_TICKS), init=False)
    tick_number: int = field(default=0, init=False)
    ticked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set at the next tick, and replaced by a new one then."""
    told: dict[Key, int] = field(default_factory=dict, init=False)
    """The newest sequence of what was told lately: events may come again."""
    is_stopping: bool = field(default=False, init=False)
    was_live: bool = field(default=False, init=False)
    """The topics were read before."""

    def follow(self, key: Key) -> Follower:
        """Everything of it that comes from now on. `leave` has to be called in the end."""
        follower = Follower(key)
        self.by_key.setdefault(key, set()).add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        rest = self.by_key.get(follower.key, set())
        rest.discard(follower)
        if not rest:
            self.by_key.pop(follower.key, None)

    def since(self, number: int) -> Tick | None:
        """What came of everything after that tick, newest progress alone; None: so much that some is not kept."""
        missed = [tick for tick in self.ticks if tick.number > number]
        if len(missed) < self.tick_number - number:
            return None
        if len(missed) == 1:
            return missed[0]
        return Tick(self.tick_number, newest(event for tick in missed for event in tick.events))

    def stop(self) -> None:
        """Let all streams end."""
        self.is_stopping = True
        self.ticked.set()
        for followers in self.by_key.values():
            for follower in followers:
                follower.woken.set()

    async def tick(self) -> None:
        """Give those who follow everything what came. Called a few times a second."""
        if not self.fresh:
            return
        self.tick_number += 1
        self.ticks.append(Tick(self.tick_number, newest(self.fresh)))
        self.fresh = []
        self._wake()

    def _wake(self) -> None:
        ticked, self.ticked = self.ticked, asyncio.Event()
        ticked.set()

    async def read(self) -> None:
        """Tell what the topics bring, until they cannot be read any more; to be called again then."""
        try:
            async with self.topics.reading(TOPICS, from_beginning=False) as reader:
                self._begin()
                while True:
                    for record in await reader.read(1.0):
                        self._tell(record)
        except (Unavailable, StartFailed) as error:
            log.info("events_not_read", error=str(error))
            await asyncio.sleep(AWAY_PAUSE_SECONDS)

    def _begin(self) -> None:
        """Between two readings events were missed: who follows everything has to begin anew."""
        if self.was_live:
            self.tick_number += KEPT_TICKS + 1
            self.ticks.clear()
            self._wake()
        self.was_live = True

    async def look(self) -> None:
        """Find out what has ended of what is followed, for who missed the event. Called every second or two."""
        if not self.by_key:
            return
        followed = list(self.by_key)
        runs, searches = await self.standings.ended(
            [number for is_search, number in followed if not is_search],
            [number for is_search, number in followed if is_search],
        )
        for key in [*((False, number) for number in runs), *((True, number) for number in searches)]:
            for follower in self.by_key.get(key, ()):
                follower.has_ended = True
                follower.woken.set()

    def _tell(self, record: Record) -> None:
        event = read_told(record)
        if event is None or event.sequence <= self.told.get(event.key, 0):
            return
        self.told[event.key] = event.sequence
        while len(self.told) > MOST_REMEMBERED:
            del self.told[next(iter(self.told))]
        for follower in self.by_key.get(event.key, ()):
            follower.put(event)
        self.fresh.append(event)


def read_told(record: Record, dump: Callable[[Any], str] = json.dumps) -> Event | None:
    """The event in a record; None for what somebody else wrote, or a type that came later than we."""
    try:
        envelope = open_envelope(record.value, record.headers, *TYPES)
    except EnvelopeError:
        return None
    data = envelope.data
    is_search = record.topic == Topic.OPTIMIZATION_PROGRESS
    number, sequence = data.get("optimization_id" if is_search else "run_id"), data.get("sequence")
    if type(number) is not int or type(sequence) is not int:
        return None
    return Event((is_search, number), sequence, envelope.type.rpartition(".")[2], dump(data))
