"""From a topic to the current state of every run: a library for subscribers, and what `backtest follow` shows.

    runs = RunStates()
    async for record in any_kafka_consumer:              # progress, completed or both, from any offset on
        event = read_event(record.value, record.headers)
        if event is not None and runs.take(event):
            show(event)                                  # new, and newer than all that was shown of this run

What comes out depends on the events alone: not on their order, nor on how often each of them comes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeGuard

from schemas.cancelled import Cancelled
from schemas.completed import Completed
from schemas.envelope import EnvelopeError, Headers
from schemas.failed import Failed
from schemas.outgoing import EventData, TerminalEvent, parse_event
from schemas.rejected import Rejected

RunKey = int | str
"""A run by its run_id. A rejected request, which is no run, by its request_id: it says nothing about a run it named."""


@dataclass(slots=True)
class RunStates:
    """The newest event of each run and of each rejected request: as of now, all there is to know of it."""

    newest: dict[RunKey, EventData] = field(default_factory=dict)

    def take(self, event: EventData) -> bool:
        """Whether the event says anything new: its sequence is above the last one seen of its run."""
        key = key_of(event)
        last = self.newest.get(key)
        if last is not None and event.sequence <= last.sequence:
            return False
        self.newest[key] = event
        return True


def states_of(events: Iterable[EventData]) -> dict[RunKey, EventData]:
    """The newest event of each run, of events in any order and repeated at will."""
    states = RunStates()
    for event in events:
        states.take(event)
    return states.newest


def read_event(value: bytes | None, headers: Headers = ()) -> EventData | None:
    """Read a record of backtest.progress or backtest.completed; None for a tombstone or a type that came later than we.

    Raises ValueError for what is no event at all.
    """
    if value is None:
        return None
    try:
        return parse_event(value, headers)
    except EnvelopeError as error:
        if error.reason == "wrong_type":
            return None
        raise


def key_of(event: EventData) -> RunKey:
    """What the event is about."""
    return event.request_id if isinstance(event, Rejected) else event.run_id


def is_terminal(event: EventData) -> TypeGuard[TerminalEvent]:
    """Whether nothing comes after it."""
    return isinstance(event, Completed | Failed | Cancelled | Rejected)
