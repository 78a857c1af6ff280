"""What the clock decides:

nights that cost swap, days that returns are taken over and candles are made of, hours in which nothing is decided.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from tests.engine.reference.model import Instrument

NEW_YORK = ZoneInfo("America/New_York")
ROLL_TIME = time(17, 0)
NOON = time(12, 0)
MONDAY, WEDNESDAY, SATURDAY, SUNDAY = 0, 2, 5, 6
ONE_DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nights(first_us: int, last_us: int) -> Iterator[tuple[int, int]]:
    """Every 17:00 New York from one moment to another, both included, that is charged: its moment, and how many times.

    Wednesday's is three, the weekend's none.
    """
    day = from_us(first_us).astimezone(NEW_YORK).date() - ONE_DAY
    while (roll_us := moment_of(day, ROLL_TIME, NEW_YORK)) <= last_us:
        if roll_us >= first_us and day.weekday() not in (SATURDAY, SUNDAY):
            yield roll_us, 3 if day.weekday() == WEDNESDAY else 1
        day += ONE_DAY


def trading_day(open_us: int, session: Literal["fx", "always"]) -> date:
    """The day of section 5 that a bar belongs to by its open; no day_start moves it."""
    return TradingCalendar.of(Instrument(session=session)).day(open_us)


def is_skipped(close_us: int, hours: tuple[int, ...], weekdays: tuple[int, ...], timezone: str) -> bool:
    local = from_us(close_us).astimezone(ZoneInfo(timezone))
    return local.hour in hours or local.weekday() in weekdays


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """Days that start at one wall clock time of a zone.

    A day is named by the date on which most of it lies: one that starts at noon or later by the next date. folds: what
    opens on Saturday and Sunday belongs to Monday.
    """

    start: time
    zone: ZoneInfo
    folds: bool

    @classmethod
    def of(cls, instrument: Instrument) -> "TradingCalendar":
        if instrument.day_start is not None:
            clock, zone = instrument.day_start.split(" ", 1)
            return cls(time.fromisoformat(clock), ZoneInfo(zone), folds=False)
        if instrument.session == "always":
            return cls(time(0, 0), ZoneInfo("UTC"), folds=False)
        return cls(ROLL_TIME, NEW_YORK, folds=True)

    def day(self, moment_us: int) -> date:
        """The day a moment belongs to, after folding."""
        name = from_us(moment_us).astimezone(self.zone).date() - ONE_DAY
        while self.start_of(name + ONE_DAY) <= moment_us:
            name += ONE_DAY
        return self.folded(name)

    def folded(self, day: date) -> date:
        if self.folds and day.weekday() in (SATURDAY, SUNDAY):
            return day + timedelta(days=7 - day.weekday())
        return day

    def start_of(self, day: date) -> int:
        """The moment at which the day of this name starts."""
        opens_on = day - ONE_DAY if self.start >= NOON else day
        return moment_of(opens_on, self.start, self.zone)

    def trading_ends_before(self, day: date) -> int:
        """The moment at which the last trading day before this one ends: the closed weekend lies between."""
        if self.folds and day.weekday() == MONDAY:
            return self.start_of(day - timedelta(days=2))
        return self.start_of(day)


def moment_of(day: date, clock: time, zone: ZoneInfo) -> int:
    return to_us(datetime.combine(day, clock, tzinfo=zone))


def from_us(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def to_us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
