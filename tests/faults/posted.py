"""What an upstream posted and was told: what the checker holds the system to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer 202."""

    body: Mapping[str, Any]
    content: bytes
    """The answer's body."""

    @property
    def number(self) -> int:
        """Of the run, or of the search."""
        told = json.loads(self.content)
        return int(told.get("run_id") or told["optimization_id"])


@dataclass(slots=True)
class Posted:
    """All that was posted under one Idempotency-Key and answered, 503 and silence aside."""

    is_search: bool = False
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """Statuses."""
    is_emitted_too: bool = False
    """The upstream also sends it on the request topic, under the same request_id."""

    def copy(self) -> "Posted":
        return replace(self, accepted=list(self.accepted), refused=list(self.refused))


@dataclass(frozen=True, slots=True)
class PostedCancel:
    """A cancel that was answered 202."""

    is_search: bool
    number: int
    status: str
    """Of the run or search, as answered."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A run or search that was followed over HTTP until its end, across the deaths of API processes."""

    is_search: bool
    number: int
    status: str
    sequence: int
    wrong: tuple[str, ...] = ()
    """What its streams must not have said."""
