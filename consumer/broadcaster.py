"""Events from the topics to everybody who follows, by one consumer of the process and outside any group.

Each follower has a place of bounded size: of what he has not taken yet the newest progress alone is kept. Kafka away
stops nothing: what ended meanwhile is found in the tables.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
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
MOST_RUNS_BEHIND: Final = 10_000
"""Of one follower: he is let go then, and begins anew."""


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


@dataclass(slots=True, eq=False)
class Follower:
    """What one stream has still to send."""

    key: Key | None
    """None: everything."""
    waiting: dict[Key, list[Event]] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_behind: bool = False
    """More came than there is room for: what is missing cannot be made good."""
    has_ended: bool = False
    """The tables say that it has ended; its event may never come."""

    def put(self, event: Event) -> None:
        queue = self.waiting.setdefault(event.key, [])
        if event.word == "progress" or event.is_last:
            queue[:] = [other for other in queue if other.word != "progress"]
        queue.append(event)
        if len(self.waiting) > MOST_RUNS_BEHIND:
            self.waiting.clear()
            self.is_behind = True
        self.woken.set()

    def take(self) -> list[Event]:
        """All that waits, each run's in order."""
        taken = [event for queue in self.waiting.values() for event in queue]
        self.waiting.clear()
        self.woken.clear()
        return taken


@dataclass(slots=True)
class Broadcaster:
    """One for a process; `read` and `look` have to run beside it."""

    topics: Topics
    standings: Standings
    clock: Clock
    by_key: dict[Key, set[Follower]] = field(default_factory=dict, init=False)
    of_all: set[Follower] = field(default_factory=set, init=False)
    is_stopping: bool = field(default=False, init=False)
    was_live: bool = field(default=False, init=False)
    """The topics were read before."""

    def follow(self, key: Key | None) -> Follower:
        """Everything that comes from now on. `leave` has to be called in the end."""
        follower = Follower(key)
        (self.of_all if key is None else self.by_key.setdefault(key, set())).add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        if follower.key is None:
            self.of_all.discard(follower)
            return
        rest = self.by_key.get(follower.key, set())
        rest.discard(follower)
        if not rest:
            self.by_key.pop(follower.key, None)

    def stop(self) -> None:
        """Let all streams end."""
        self.is_stopping = True
        for follower in self._followers():
            follower.woken.set()

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
            for follower in self.of_all:
                follower.is_behind = True
                follower.woken.set()
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
        if not self._is_followed(record.key):
            return
        event = read_told(record)
        if event is None:
            return
        for follower in (*self.by_key.get(event.key, ()), *self.of_all):
            follower.put(event)

    def _is_followed(self, key: bytes | None) -> bool:
        """By the record's key, without a look into the record."""
        digits = (key or b"").removeprefix(b"opt-")
        if self.of_all or not digits.isdigit():
            return True
        return (key != digits, int(digits[:12])) in self.by_key

    def _followers(self) -> Iterator[Follower]:
        yield from self.of_all
        for followers in self.by_key.values():
            yield from followers


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
