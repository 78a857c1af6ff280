"""Time, wall and monotonic."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for events and monotonic time for intervals; passed in, so that tests own it."""

    def now_utc(self) -> datetime: ...

    def monotonic(self) -> float: ...
