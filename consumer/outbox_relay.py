"""From the outbox to Kafka: send what is unsent, in order within each run, and forget it once the broker has it.

Each pass sends at most one event of each run, and the next one of a run only after the one before was acknowledged on
all its topics. So whatever fails or is repeated, no event of a run first appears after one of higher sequence.
Nothing here needs a lock: whoever writes an event takes over the run's unsent ones in the same transaction (see
`ports.Outbox`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import structlog

from consumer.errors import StoreUnavailable
from consumer.ports import Clock, Delivery, EventKind, Outbox, OutgoingEvent, Publisher, SendResult
from consumer.telemetry import Telemetry
from schemas.dead_letter import DeadLetter, truncated
from schemas.topics import Topic

log = structlog.get_logger(__name__)

RunOrRow = tuple[str, int]
"""What keeps its order: a run, or a row that belongs to none."""

EVENTS_A_PASS = 500
RETRY_PAUSE_SECONDS = 0.25
"""After a pass in which nothing was acknowledged, or a deletion that the store did not answer."""
FORGET_PAUSE_SECONDS = 0.03
"""Without anything to publish for so long, what was sent is deleted."""
FORGET_AT_ONCE = 100
"""Under load without pauses, that many are deleted together."""


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
    """Unsent events by run, sequence rising; insertion order is the order of service."""
    sent: dict[str, OutgoingEvent] = field(default_factory=dict, init=False)
    """Acknowledged and not deleted yet, by event id: a writer that takes them over again need not have them sent."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def add(self, events: Iterable[OutgoingEvent]) -> None:
        """Take stored events for publishing. A newer progress event replaces the run's older one; a repeat, and
        progress that is superseded already, is ignored.
        """
        for event in events:
            if event.event_id in self.sent:
                continue
            queue = self.waiting.setdefault(order_key(event), [])
            if any(other.event_id == event.event_id or is_superseded(event, other) for other in queue):
                continue
            queue[:] = [other for other in queue if not is_superseded(other, event)]
            queue.append(event)
            queue.sort(key=lambda other: other.sequence)
            self.arrived.set()

    async def run(self) -> None:
        """Publish until cancelled. What was sent is deleted in the pauses: nobody waits for that."""
        while True:
            if await self._has_arrived(FORGET_PAUSE_SECONDS if self.sent else None):
                if not await self._publish():
                    await asyncio.sleep(RETRY_PAUSE_SECONDS)
                if len(self.sent) < FORGET_AT_ONCE:
                    continue
            if not await self._forget():
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _has_arrived(self, timeout_seconds: float | None) -> bool:
        """Wait for something to publish; False: nothing came in that time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.arrived.wait()
        except TimeoutError:
            return False

    async def publish_once(self) -> bool:
        """One pass, and forget what was acknowledged. False: nothing was."""
        settled = await self._publish()
        await self._forget()
        return settled

    async def _publish(self) -> bool:
        """Send the first waiting event of each run. False: nothing was acknowledged."""
        self.arrived.clear()
        heads = [queue[0] for queue in self.waiting.values() if queue][:EVENTS_A_PASS]
        deliveries = [(event, delivery) for event in heads for delivery in deliveries_of(event)]
        results = await self.publisher.send([delivery for _, delivery in deliveries])
        settled = self._settle(heads, [(event, result) for (event, _), result in zip(deliveries, results, strict=True)])
        if any(self.waiting.values()):
            self.arrived.set()
        return settled > 0 or not heads

    def _settle(self, heads: Sequence[OutgoingEvent], results: Sequence[tuple[OutgoingEvent, SendResult]]) -> int:
        """Take off what every topic acknowledged, cut what is too large for its topic; the rest stays for the
        next pass.
        """
        answers: dict[int, set[SendResult]] = {id(event): set() for event in heads}
        for event, result in results:
            answers[id(event)].add(result)
        settled = 0
        for event in heads:
            key = order_key(event)
            if answers[id(event)] == {SendResult.ACKNOWLEDGED}:
                self._remove(key, event)
                self.sent[event.event_id] = event
                self.telemetry.event_published(event.kind)
                settled += 1
            elif SendResult.TOO_LARGE in answers[id(event)]:
                settled += self._shrink(key, event)
        return settled

    def _remove(self, key: RunOrRow, event: OutgoingEvent) -> None:
        queue = self.waiting[key]
        queue[:] = [other for other in queue if other.event_id != event.event_id]
        if not queue:
            del self.waiting[key]

    def _shrink(self, key: RunOrRow, event: OutgoingEvent) -> int:
        """A dead letter that fits nowhere goes as its first 64 KiB. Anything else too large is a defect,
        loudly kept.
        """
        if event.kind is not EventKind.DEAD_LETTER:
            log.error("event_too_large", event_id=event.event_id, bytes=len(event.value or b""))
            return 0
        cut = truncated(DeadLetter(event.key, event.value, event.headers))
        if cut.headers == event.headers:
            log.error("dead_letter_too_large", event_id=event.event_id)
            return 0
        queue = self.waiting[key]
        queue[queue.index(event)] = replace(event, key=cut.key, value=cut.value, headers=cut.headers)
        return 1

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

    async def keep(self) -> None:
        """Renew what waits here, and adopt what others let lapse. Called a few times a lease."""
        await self._forget()
        waiting = [event for queue in self.waiting.values() for event in queue]
        if waiting:
            await self.outbox.renew(waiting)
        self.add(await self.outbox.adopt(EVENTS_A_PASS))

    async def drain(self, deadline: float) -> None:
        """Publish what waits until `deadline` (monotonic), then leave the rest to other workers."""
        while any(self.waiting.values()) and self.clock.monotonic() < deadline:
            if not await self.publish_once():
                break
        await self._forget()
        rest = [event for queue in self.waiting.values() for event in queue]
        if rest:
            log.warning("events_left_to_others", events=len(rest))
            await self.outbox.release(rest)


def order_key(event: OutgoingEvent) -> RunOrRow:
    return ("run", event.run_id) if event.run_id is not None else ("row", event.row_id)


def is_superseded(older: OutgoingEvent, newer: OutgoingEvent) -> bool:
    """Unsent progress says nothing any more once the run has a newer progress or its terminal event."""
    return (
        older.kind is EventKind.PROGRESS
        and newer.kind in {EventKind.PROGRESS, EventKind.TERMINAL}
        and older.sequence < newer.sequence
    )


def deliveries_of(event: OutgoingEvent) -> tuple[Delivery, ...]:
    """The topics of an event: the terminal event is one event on two topics, with the same bytes."""
    return tuple(Delivery(topic, event.key, event.value, event.headers) for topic in topics_of(event.kind))


def topics_of(kind: EventKind) -> tuple[Topic, ...]:
    match kind:
        case EventKind.STARTED | EventKind.PROGRESS:
            return (Topic.PROGRESS,)
        case EventKind.TERMINAL:
            return (Topic.PROGRESS, Topic.COMPLETED)
        case EventKind.REJECTED:
            return (Topic.COMPLETED,)
        case EventKind.DEAD_LETTER:
            return (Topic.DEAD_LETTER,)
        case _:
            assert_never(kind)
