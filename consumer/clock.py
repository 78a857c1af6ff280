"""Clocks: of this machine, and of the store that many machines share."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

SLOW_ANSWER_SECONDS = 1.0
"""A reading that took longer says too little of when it was made, where there is an earlier one."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """Implements `Clock`."""

    def now_utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class StoreClock:
    """Implements `Clock`: the store's wall clock, read now and then, and carried on by this machine's monotonic one.

    So that no event and no record ever has the time of a machine whose clock is wrong.
    """

    read_time: datetime | None = field(default=None, init=False)
    read_at: float = field(default=0.0, init=False)

    async def adjust(self, read: Callable[[], Awaitable[datetime]]) -> None:
        """Ask the store; raises what `read` raises."""
        before = time.monotonic()
        found = await read()
        after = time.monotonic()
        if self.read_time is None or after - before < SLOW_ANSWER_SECONDS:
            self.read_time, self.read_at = found.astimezone(UTC), (before + after) / 2

    def now_utc(self) -> datetime:
        """Raises RuntimeError before the first `adjust`."""
        if self.read_time is None:
            raise RuntimeError("the store has not been asked for its time")
        return self.read_time + timedelta(seconds=time.monotonic() - self.read_at)

    def monotonic(self) -> float:
        return time.monotonic()
