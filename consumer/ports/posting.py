"""Requests that are answered at once, over HTTP: taken into the same memory as those of the topics, with their run, or
not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.ports.events import OutgoingEvent
from consumer.ports.intake import Admit, Refused, RequestToRecord, Unchecked
from consumer.ports.searches import AdmitSearch, SearchToRecord
from schemas.problems import FieldProblem

KnownHashes = Mapping[str, Sequence[bytes]]
"""Request id -> the content hashes that are that request: its own, and that of the record that went out for it."""


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """A request that is in the table. number: the run's, or the search's; None where it has none (yet)."""

    content_hashes: Sequence[bytes]
    outcome: str
    """accepted, rejected, waiting."""
    is_search: bool
    number: int | None
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """It is durable, as this run or search. is_repeat: it was before."""

    number: int
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """Its id was used before, with other content, or for the other kind. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Held:
    """A client of the database keeps its strategy's row locked, or its request waits for that: ask again later."""


PostAnswer = Taken | Refused | Conflict | Held | Unchecked
"""What became of one; but for Taken nothing is written. Refused: by admission, or in the table since a topic had it."""


@dataclass(frozen=True, slots=True)
class PostResult:
    """answers: one a request, in their order. events: stored with them, for the relay."""

    answers: Sequence[PostAnswer]
    events: Sequence[OutgoingEvent]


class PostJournal(Protocol):
    """The memory of requests, for who waits for the answer. Raises StoreUnavailable; then all may be taken again."""

    async def take(self, requests: Sequence[RequestToRecord], admit: Admit) -> PostResult:
        """Take valid requests without run_id, no two of one id, in one transaction: request, row (`pending`),
        execution, and in the outbox the record that names the run. A refusal writes nothing.

        The first of an id that is durable wins, also among processes and with the topics' readers; the record that goes
        out, and the same request from the topic, are duplicates of it.
        """
        ...


class SearchPostJournal(Protocol):
    """As PostJournal, for searches."""

    async def take(self, requests: Sequence[SearchToRecord], admit: AdmitSearch) -> PostResult: ...
