"""From the outbox to Kafka: send what is unsent, in order within each run, and forget it once the broker has it.

At most one event of each run is under way, and the next one is sent only after the one before was acknowledged on all
its topics. So whatever fails or is repeated, no event of a run first appears after one of higher sequence. Nothing here
needs a lock: whoever writes an event takes over the run's unsent ones in the same transaction (see `ports.Outbox`).

Each topic has a lane of its own, so that one that is away, slow or refuses an event holds up nothing that others take;
and what a topic has acknowledged is not sent there again. A worker whose broker says nothing for longer than a lease
lets its events go, for others to send.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import structlog

from consumer.errors import StoreUnavailable
from consumer.outbox_lane import Lane
from consumer.ports import Clock, EventKind, Outbox, OutgoingEvent, Publisher, SendResult
from consumer.rules.delivery import RunOrRow, delivery_of, is_superseded, order_key, size_of, topics_of
from consumer.telemetry import Telemetry
from schemas.dead_letter import DeadLetter, truncated
from schemas.topics import OUTPUT_TOPICS, REQUEST_TOPICS, Topic

log = structlog.get_logger(__name__)

EVENTS_A_PASS = 500
BYTES_A_PASS = 8 * 1_048_576
RETRY_PAUSE_SECONDS = 0.25
"""After a pass that nobody answered, or a deletion that the store did not answer."""
NO_TOPIC_PAUSE_SECONDS = 1.0
SEND_EVERY_SECONDS = 0.01
"""Sends to a topic begin so far apart: a lone event goes at once, and what comes right behind it goes together. A send
takes the worker and the broker as long for one event as for ten."""
FORGET_PAUSE_SECONDS = 0.03
"""Without anything acknowledged for so long, what was sent is deleted."""
FORGET_AT_ONCE = 100
"""Under load without pauses, that many are deleted together."""
MOST_WAITING_BYTES = 32 * 1_048_576
"""Rejections and dead letters beyond it are left in the store until there is room: they hold whole records."""
MOST_PARTLY_SENT = 10_000
"""Events of which it is remembered what they still lack."""

Taken = list[tuple[RunOrRow, OutgoingEvent]]


@dataclass(slots=True)
class Flight:
    """An event under way, and to which topics."""

    event_id: str
    topics: set[Topic] = field(default_factory=set)


@dataclass(slots=True)
class OutboxRelay:
    """Publishes this worker's events. Events are added after the transaction that stored them, or adopted from
    others.
    """

    outbox: Outbox
    publisher: Publisher
    telemetry: Telemetry
    clock: Clock
    lease_seconds: float
    waiting: dict[RunOrRow, list[OutgoingEvent]] = field(default_factory=dict, init=False)
    """Unsent events by run, sequence rising."""
    waiting_bytes: int = field(default=0, init=False)
    lanes: dict[Topic, Lane] = field(init=False)
    flying: dict[RunOrRow, Flight] = field(default_factory=dict, init=False)
    acknowledged: dict[str, set[Topic]] = field(default_factory=dict, init=False)
    """Event id -> topics that have it, of events that not all have; kept also when they are let go."""
    sent: dict[str, OutgoingEvent] = field(default_factory=dict, init=False)
    """Acknowledged and not deleted yet, by event id: a writer that takes them over again need not have them sent."""
    has_sent: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    left: list[OutgoingEvent] = field(default_factory=list, init=False)
    """Stored, but not held here for want of room, without their values."""
    answered_at: float = field(init=False)
    """When the broker last said anything."""
    is_cut_off: bool = field(default=False, init=False)
    """It has said nothing for longer than a lease: then this worker should claim nothing."""
    alone_until: float = field(default=float("-inf"), init=False)
    """Until then what was let go is left to others."""
    let_go: set[int] = field(default_factory=set, init=False)
    """Runs of which others may hold events: more progress of theirs may not be sent before what is unsent is ours."""
    held_back: set[int] = field(default_factory=set, init=False)
    """Of those, the ones that have made progress since."""

    def __post_init__(self) -> None:
        self.lanes = {topic: Lane(topic) for topic in (*OUTPUT_TOPICS, *REQUEST_TOPICS)}
        self.answered_at = self.clock.monotonic()

    def complaints(self) -> list[str]:
        """What is the matter with the topics that events go to, a line each."""
        now = self.clock.monotonic()
        found = [complaint for lane in self.lanes.values() if (complaint := lane.complaint(now)) is not None]
        if self.is_cut_off:
            found.append(f"no answer from Kafka for {now - self.answered_at:.0f} s: no run is claimed here")
        return found

    def add(self, events: Iterable[OutgoingEvent]) -> None:
        """Take stored events for publishing. A newer progress event replaces the run's older one; a repeat, and
        progress that is superseded already, is ignored.
        """
        for event in events:
            if event.event_id in self.sent or self._is_held_back(event):
                continue
            if event.run_id is None and self.waiting_bytes > MOST_WAITING_BYTES:
                self.left.append(replace(event, key=None, value=None, headers=()))
                continue
            queue = self.waiting.setdefault(order_key(event), [])
            if any(other.event_id == event.event_id or is_superseded(event, other) for other in queue):
                continue
            superseded = [other for other in queue if is_superseded(other, event)]
            queue[:] = [other for other in queue if other not in superseded]
            queue.append(event)
            queue.sort(key=lambda other: other.sequence)
            self.waiting_bytes += size_of(event) - sum(size_of(other) for other in superseded)
            self._offer(order_key(event))

    def _is_held_back(self, event: OutgoingEvent) -> bool:
        """Progress of a run that was let go stays in the store; whatever else is written for it brings its unsent
        events with it.
        """
        if event.run_id is None or event.run_id not in self.let_go:
            return False
        if event.kind is EventKind.PROGRESS:
            self.held_back.add(event.run_id)
            return True
        self.let_go.discard(event.run_id)
        return False

    def _offer(self, key: RunOrRow) -> None:
        """Put the run's first event before the topics that lack it, unless another one of the run is under way."""
        queue, flight = self.waiting.get(key), self.flying.get(key)
        if not queue or (flight is not None and flight.event_id != queue[0].event_id):
            return
        for topic in self._lacking(queue[0]):
            if flight is None or topic not in flight.topics:
                self.lanes[topic].offer(key, queue[0])

    def _lacking(self, event: OutgoingEvent) -> list[Topic]:
        has_it = self.acknowledged.get(event.event_id, ())
        return [topic for topic in topics_of(event) if topic not in has_it]

    async def run(self) -> None:
        """Publish until cancelled. What was sent is deleted beside that: nobody waits for it."""
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes.values():
                group.create_task(self._serve(lane))
            group.create_task(self._forget_in_pauses())

    async def _serve(self, lane: Lane) -> None:
        while True:
            lane.arrived.clear()
            if not lane.ready:
                await _set_within(lane.arrived, lane.wakes_in(self.clock.monotonic()))
            began = self.clock.monotonic()
            if await self._send(lane, self._take(lane)):
                await asyncio.sleep(max(0.0, began + SEND_EVERY_SECONDS - self.clock.monotonic()))
            lane.name_trouble(self.clock.monotonic())
            self.telemetry.events_refused(lane.topic, len(lane.refused))
            if lane.trouble is not None:
                await asyncio.sleep(
                    NO_TOPIC_PAUSE_SECONDS if lane.trouble is SendResult.NO_TOPIC else RETRY_PAUSE_SECONDS
                )

    async def publish_once(self) -> bool:
        """One pass over all topics, and forget what was acknowledged. False: things were sent, and none was settled."""
        taken = [(lane, self._take(lane)) for lane in self.lanes.values()]
        settled = await asyncio.gather(*(self._send(lane, events) for lane, events in taken))
        await self._forget()
        return any(settled) or not any(events for _, events in taken)

    def _take(self, lane: Lane) -> Taken:
        """What is to be sent to this topic now, at most one event of a run; it is under way from here on."""
        taken: Taken = []
        size = 0
        for key in lane.next_ones(EVENTS_A_PASS, self.clock.monotonic()):
            queue = self.waiting.get(key)
            if not queue or lane.topic not in self._lacking(queue[0]):
                lane.forget(key)
                continue
            flight = self.flying.setdefault(key, Flight(queue[0].event_id))
            if flight.event_id != queue[0].event_id:
                continue  # offered again when that one has landed
            flight.topics.add(lane.topic)
            taken.append((key, queue[0]))
            size += size_of(queue[0])
            if size > BYTES_A_PASS:
                break
        return taken

    async def _send(self, lane: Lane, taken: Taken) -> int:
        """Send to one topic, and heed its answers. The number of events that are settled by that."""
        if not taken:
            return 0
        results: Sequence[SendResult] = [SendResult.UNKNOWN] * len(taken)
        try:
            results = await self.publisher.send([delivery_of(event, lane.topic) for _, event in taken])
        finally:  # also when it was cancelled: then nothing is known of what was sent
            settled = sum(
                self._settle(lane, key, event, result) for (key, event), result in zip(taken, results, strict=True)
            )
        return settled

    def _settle(self, lane: Lane, key: RunOrRow, event: OutgoingEvent, result: SendResult) -> bool:
        """Heed one answer. False: the event is to be sent there again as it is."""
        now = self.clock.monotonic()
        self._land(key, lane.topic)
        settled = False
        match result:
            case SendResult.ACKNOWLEDGED:
                lane.taken(key)
                self._note_acknowledged(key, event, lane.topic)
                settled = True
            case SendResult.TOO_LARGE | SendResult.REFUSED:
                settled = result is SendResult.TOO_LARGE and self._cut(key, event)
                if not settled and event in self.waiting.get(key, ()):
                    lane.refuse(key, event, result, now)
            case SendResult.NO_TOPIC | SendResult.UNKNOWN:
                lane.is_troubled(result, now)
                lane.defer(key, now)
            case _:
                assert_never(result)
        if result is not SendResult.UNKNOWN:
            self.answered_at = now
            self.is_cut_off = False
        if result not in {SendResult.NO_TOPIC, SendResult.UNKNOWN}:
            lane.is_well()
        self._offer(key)
        return settled

    def _land(self, key: RunOrRow, topic: Topic) -> None:
        flight = self.flying[key]
        flight.topics.discard(topic)
        if not flight.topics:
            del self.flying[key]

    def _note_acknowledged(self, key: RunOrRow, event: OutgoingEvent, topic: Topic) -> None:
        self.acknowledged.setdefault(event.event_id, set()).add(topic)
        if self._lacking(event):
            while len(self.acknowledged) > MOST_PARTLY_SENT:
                del self.acknowledged[next(iter(self.acknowledged))]
            return
        del self.acknowledged[event.event_id]
        self._remove(key, event.event_id)
        self.sent[event.event_id] = event
        self.has_sent.set()
        self.telemetry.event_published(event.kind)

    def _remove(self, key: RunOrRow, event_id: str) -> None:
        queue = self.waiting.get(key, [])
        for other in [other for other in queue if other.event_id == event_id]:
            queue.remove(other)
            self.waiting_bytes -= size_of(other)
        if not queue:
            self.waiting.pop(key, None)

    def _cut(self, key: RunOrRow, event: OutgoingEvent) -> bool:
        """A dead letter that fits nowhere goes as its first 64 KiB. Anything else too large waits as it is."""
        if event.kind is not EventKind.DEAD_LETTER or event not in self.waiting.get(key, ()):
            return False
        cut = truncated(DeadLetter(event.key, event.value, event.headers))
        if cut.headers == event.headers:
            return False
        queue = self.waiting[key]
        shorter = replace(event, key=cut.key, value=cut.value, headers=cut.headers)
        queue[queue.index(event)] = shorter
        self.waiting_bytes += size_of(shorter) - size_of(event)
        return True

    async def _forget_in_pauses(self) -> None:
        while True:
            await self.has_sent.wait()
            self.has_sent.clear()
            while len(self.sent) < FORGET_AT_ONCE and await _set_within(self.has_sent, FORGET_PAUSE_SECONDS):
                self.has_sent.clear()
            if not await self._forget():
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
                self.has_sent.set()
            elif self.left and self.waiting_bytes < MOST_WAITING_BYTES // 4:
                await self._fetch_left()

    async def _forget(self) -> bool:
        """Delete what was acknowledged. False: the store was away; it is remembered, and sent again at worst."""
        sent = list(self.sent.values())
        if not sent:
            return True
        try:
            await self.outbox.delete(sent)
        except StoreUnavailable as error:
            log.warning("sent_events_kept", events=len(sent), error=str(error))
            return False
        for event in sent:
            self.sent.pop(event.event_id, None)
        return True

    async def _fetch_left(self) -> None:
        """Room again for what was left in the store."""
        try:
            await self._release_left()
            self.add(await self.outbox.adopt(EVENTS_A_PASS, MOST_WAITING_BYTES // 2))
        except StoreUnavailable as error:
            log.warning("events_left_in_store", error=str(error))

    async def _release_left(self) -> None:
        left, self.left = self.left, []
        try:
            if left:
                await self.outbox.release(left)
        except BaseException:
            self.left += left
            raise

    async def keep(self) -> None:
        """Renew what waits here, and adopt what others let lapse; without a broker for too long, let go of it. Called
        a few times a lease.
        """
        await self._forget()
        await self._look_for_broker()
        self.is_cut_off = self.clock.monotonic() - self.answered_at > self.lease_seconds
        if self.is_cut_off:
            await self._let_go_of_all()
            return
        waiting = [event for queue in self.waiting.values() for event in queue]
        if waiting:
            await self.outbox.renew(waiting)
        if self.clock.monotonic() < self.alone_until:
            return
        if self.held_back:
            mine = await self.outbox.take_over(sorted(self.held_back))
            self.let_go -= self.held_back
            self.held_back.clear()
            self.add(mine)
        await self._release_left()
        if self.waiting_bytes < MOST_WAITING_BYTES:
            adopted = await self.outbox.adopt(EVENTS_A_PASS, MOST_WAITING_BYTES // 2)
            self.let_go -= {event.run_id for event in adopted if event.run_id is not None}
            self.add(adopted)

    async def _look_for_broker(self) -> None:
        """Ask whether it is there, where nothing that was sent tells."""
        is_quiet = self.clock.monotonic() - self.answered_at >= self.lease_seconds / 4
        is_asked = any(lane.trouble is SendResult.UNKNOWN and lane.ready for lane in self.lanes.values())
        if is_quiet and not is_asked and await self.publisher.is_reachable():
            self.answered_at = self.clock.monotonic()

    async def _let_go_of_all(self) -> None:
        """Let others send what waits here: a worker beside this one may well have a broker."""
        rest = [event for queue in self.waiting.values() for event in queue]
        if not rest:
            return
        await self.outbox.release(rest)
        log.warning("events_let_go", events=len(rest), silent_seconds=round(self.clock.monotonic() - self.answered_at))
        self.let_go |= {event.run_id for event in rest if event.run_id is not None}
        for event in rest:
            self._remove(order_key(event), event.event_id)
            for lane in self.lanes.values():
                lane.forget(order_key(event))
        self.alone_until = self.clock.monotonic() + self.lease_seconds

    async def drain(self, deadline: float) -> None:
        """Publish what waits until `deadline` (monotonic), then leave the rest to other workers."""
        while any(lane.ready for lane in self.lanes.values()) and self.clock.monotonic() < deadline:
            if not await self.publish_once():
                break
        await self._forget()
        rest = [event for queue in self.waiting.values() for event in queue] + self.left
        if rest:
            log.warning("events_left_to_others", events=len(rest))
            await self.outbox.release(rest)


async def _set_within(event: asyncio.Event, timeout_seconds: float | None) -> bool:
    """Wait until it is set; False: not in that time."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await event.wait()
    except TimeoutError:
        return False
