"""Events of searches as subscribers take them: each once, a search's in order. As `requests.states` has it for runs."""

from dataclasses import dataclass, field
from typing import TypeGuard

from schemas.envelope import EnvelopeError, Headers
from schemas.optimization_events import (
    OptimizationCancelled,
    OptimizationCompleted,
    OptimizationFailed,
    OptimizationRejected,
)
from schemas.outgoing import SearchEventData, parse_search_event

SearchKey = int | str
"""A search by its optimization_id; a rejected request, which is none, by its request_id."""
SearchEnd = OptimizationCompleted | OptimizationFailed | OptimizationCancelled | OptimizationRejected


@dataclass(slots=True)
class SearchStates:
    """The newest event of each search and of each rejected request."""

    newest: dict[SearchKey, SearchEventData] = field(default_factory=dict)

    def take(self, event: SearchEventData) -> bool:
        """Whether the event says anything new: its sequence is above the last one seen of its search."""
        key = event.request_id if isinstance(event, OptimizationRejected) else event.optimization_id
        last = self.newest.get(key)
        if last is not None and event.sequence <= last.sequence:
            return False
        self.newest[key] = event
        return True


def read_search_event(value: bytes | None, headers: Headers = ()) -> SearchEventData | None:
    """Read a record of optimization.progress or optimization.completed; None for a tombstone or an unknown type.

    Raises ValueError for what is no event at all.
    """
    if value is None:
        return None
    try:
        return parse_search_event(value, headers)
    except EnvelopeError as error:
        if error.reason == "wrong_type":
            return None
        raise


def is_end_of_search(event: SearchEventData) -> TypeGuard[SearchEnd]:
    """Whether nothing comes after it."""
    return isinstance(event, OptimizationCompleted | OptimizationFailed | OptimizationCancelled | OptimizationRejected)
