"""How fast a search goes, and how long it has left."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

_SPAN_SECONDS: Final = 10.0
"""The rate is that of so long: strategies take their time differently over a space."""


@dataclass(slots=True)
class Pace:
    """Is told how much is done, and when; moments are seconds of any clock that never goes back."""

    total: int
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, done: int, now: float) -> None:
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _SPAN_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """Combinations; 0 while there is nothing to tell it from."""
        if len(self._seen) < 2:
            return 0.0
        (begun, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - begun) if now > begun else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None while it is not known."""
        rate = self.per_second
        return (self.total - self._seen[-1][1]) / rate if rate > 0 else None
