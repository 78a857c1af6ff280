"""Following a request to its end, on topics in memory."""

import time
from datetime import UTC, datetime

from consumer.adapters.memory.broker import MemoryBroker
from consumer.adapters.memory.topics import MemoryTopics
from consumer.clock import SystemClock
from consumer.ports import Delivery
from consumer.requests.sending import send_request
from consumer.requests.watching import SILENCE_SECONDS, DeadLettered, deadline_after, watch_request
from schemas.completed import Completed
from schemas.outgoing import EventData, TerminalEvent, render
from schemas.requested import BacktestRequested, parse_requested
from schemas.topics import Topic
from tests.support.builders import NOON, completed, progress, request_data

Answers = list[tuple[EventData, tuple[Topic, ...]]]


class FastClock(SystemClock):
    """Ten times as fast: what waits for seconds waits for tenths."""

    def monotonic(self) -> float:
        return 10 * time.monotonic()


CLOCK = FastClock()


def topics() -> MemoryTopics:
    return MemoryTopics(MemoryBroker())


def request() -> BacktestRequested:
    return parse_requested(request_data())


async def tell(topics: MemoryTopics, event: EventData, *where: Topic) -> None:
    value = render(event, event_id=f"{event.run_id}-{event.sequence}", source="worker", time=NOON)
    await topics.send(
        [Delivery(topic, b"17", value, (("content-type", b"application/cloudevents+json"),)) for topic in where]
    )


async def watched(
    topics: MemoryTopics,
    *,
    may_be_known: bool,
    answers: list[tuple[EventData, tuple[Topic, ...]]],
    patience: float = 5.0,
) -> tuple[TerminalEvent | DeadLettered | None, list[EventData]]:
    """Send a request, let it be answered, and say how the watch ended and what it showed."""
    shown: list[EventData] = []
    async with watch_request(topics, "request-1", CLOCK, may_be_known=may_be_known) as watch:
        sent_to = await send_request(topics, request(), "request-1", source="me", now=datetime.now(UTC))
        for event, where in answers:
            await tell(topics, event, *where)
        ended = await watch.until_end(sent_to, shown.append, deadline_after(patience, CLOCK))
    return ended, shown


async def test_the_last_event_ends_the_watch_and_each_is_shown_once() -> None:
    answers: Answers = [
        (progress(sequence=2), (Topic.PROGRESS,)),
        (progress(sequence=2), (Topic.PROGRESS,)),
        (completed(sequence=3), (Topic.PROGRESS, Topic.COMPLETED)),
    ]
    ended, shown = await watched(topics(), may_be_known=False, answers=answers)
    assert isinstance(ended, Completed)
    assert [event.sequence for event in shown] == [2, 3]


async def silences(*answers: tuple[EventData, tuple[Topic, ...]], patience: float) -> int:
    """How often a watch said that nothing answers."""
    told: list[None] = []
    where = topics()
    async with watch_request(where, "request-1", CLOCK, may_be_known=False) as watch:
        sent_to = await send_request(where, request(), "request-1", source="me", now=datetime.now(UTC))
        for event, places in answers:
            await tell(where, event, *places)
        await watch.until_end(sent_to, lambda _: None, deadline_after(patience, CLOCK), lambda: told.append(None))
    return len(told)


async def test_a_wait_without_any_worker_says_once_that_nothing_answers() -> None:
    another = progress(run_id=18, request_id="another", sequence=2)
    assert await silences((another, (Topic.PROGRESS,)), patience=4 * SILENCE_SECONDS) == 1


async def test_a_long_run_that_has_answered_is_no_silence() -> None:
    assert await silences((progress(sequence=2), (Topic.PROGRESS,)), patience=3 * SILENCE_SECONDS) == 0


async def test_another_requests_events_are_not_shown() -> None:
    answers: Answers = [
        (completed(run_id=18, request_id="another", sequence=3), (Topic.PROGRESS, Topic.COMPLETED)),
    ]
    assert await watched(topics(), may_be_known=False, answers=answers, patience=2.0) == (None, [])


async def test_a_dead_letter_for_the_very_record_ends_the_watch() -> None:
    here = topics()
    async with watch_request(here, "request-1", CLOCK, may_be_known=False) as watch:
        partition, offset = await send_request(here, request(), "request-1", source="me", now=NOON)
        for place, reason in ((offset + 1, "of another"), (offset, "conflict")):
            headers = {
                "dlq-topic": Topic.REQUESTED,
                "dlq-partition": str(partition),
                "dlq-offset": str(place),
                "dlq-reason": reason,
                "dlq-message": "used before",
            }
            letter = Delivery(
                Topic.DEAD_LETTER, None, b"", tuple((name, text.encode()) for name, text in headers.items())
            )
            await here.send([letter])
        ended = await watch.until_end((partition, offset), lambda _: None, deadline_after(50.0, CLOCK))
    assert ended == DeadLettered("conflict", "used before")


async def test_an_answer_from_before_this_request_is_given_time_to_be_contradicted() -> None:
    here = topics()
    await tell(here, completed(sequence=3), Topic.PROGRESS, Topic.COMPLETED)
    async with watch_request(here, "request-1", CLOCK, may_be_known=True) as watch:
        sent_to = await send_request(here, request(), "request-1", source="me", now=NOON)
        began = CLOCK.monotonic()
        ended = await watch.until_end(sent_to, lambda _: None, deadline_after(60.0, CLOCK))
    assert isinstance(ended, Completed)
    assert 2.5 < CLOCK.monotonic() - began < 30


async def test_a_request_carries_the_source_it_was_sent_with() -> None:
    here = topics()
    await send_request(here, request(), "request-1", source="desk-7", now=NOON)
    [record] = here.broker.records(Topic.REQUESTED)
    assert b'"source":"desk-7"' in (record.value or b"").replace(b": ", b":")
