"""Where events go, and which of them must wait for which."""

from typing import assert_never

from consumer.ports import Delivery, EventKind, OutgoingEvent
from schemas.topics import Topic

RunOrRow = tuple[str, int]
"""What keeps its order: a run, or a row of the outbox that belongs to none."""


def order_key(event: OutgoingEvent) -> RunOrRow:
    return ("run", event.run_id) if event.run_id is not None else ("row", event.row_id)


def size_of(event: OutgoingEvent) -> int:
    return len(event.value or b"") + len(event.key or b"") + sum(len(value or b"") for _, value in event.headers)


def is_superseded(older: OutgoingEvent, newer: OutgoingEvent) -> bool:
    """Unsent progress says nothing any more once the run has a newer progress or its terminal event."""
    return (
        older.kind is EventKind.PROGRESS
        and newer.kind in {EventKind.PROGRESS, EventKind.TERMINAL}
        and older.sequence < newer.sequence
    )


def delivery_of(event: OutgoingEvent, topic: Topic) -> Delivery:
    """The event for one of its topics: the terminal event is one event on two, with the same bytes."""
    return Delivery(topic, event.key, event.value, event.headers)


def topics_of(event: OutgoingEvent) -> tuple[Topic, ...]:
    is_search = event.run_id is not None and event.run_id < 0
    progress = Topic.OPTIMIZATION_PROGRESS if is_search else Topic.PROGRESS
    match event.kind:
        case EventKind.STARTED | EventKind.PROGRESS:
            return (progress,)
        case EventKind.TERMINAL:
            return (progress, Topic.OPTIMIZATION_COMPLETED if is_search else Topic.COMPLETED)
        case EventKind.REJECTED:
            return (Topic.COMPLETED,)
        case EventKind.SEARCH_REJECTED:
            return (Topic.OPTIMIZATION_COMPLETED,)
        case EventKind.REQUESTED:
            return (Topic.REQUESTED,)
        case EventKind.SEARCH_REQUESTED:
            return (Topic.OPTIMIZATION_REQUESTED,)
        case EventKind.DEAD_LETTER:
            return (Topic.DEAD_LETTER,)
        case _:
            assert_never(event.kind)


def of_search(optimization_id: int) -> int:
    """What stands as `run_id` of a search's events: a number that no run has; so one outbox keeps both in order."""
    return -optimization_id
