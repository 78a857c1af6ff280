"""What the clock decides:

nights that cost swap, days that returns are taken over, hours in which nothing is decided.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
ROLL_TIME = time(17, 0)
WEDNESDAY, SATURDAY, SUNDAY = 2, 5, 6
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nights_between(close_us: int, next_close_us: int) -> int:
    """Nights charged for every 17:00 New York at or after one close and before the next;

    Wednesday's is three, the weekend's none.
    """
    day = from_us(close_us).astimezone(NEW_YORK).date() - timedelta(days=1)
    nights = 0
    while (roll_us := to_us(datetime.combine(day, ROLL_TIME, tzinfo=NEW_YORK))) < next_close_us:
        if roll_us >= close_us:
            nights += _weight(day)
        day += timedelta(days=1)
    return nights


def trading_day(open_us: int, session: Literal["fx", "always"]) -> date:
    """The day a bar belongs to by its open."""
    if session == "always":
        return from_us(open_us).date()
    wall_clock = from_us(open_us).astimezone(NEW_YORK).replace(tzinfo=None)
    day = (wall_clock + timedelta(hours=7)).date()
    if day.weekday() == SATURDAY:
        return day + timedelta(days=2)
    if day.weekday() == SUNDAY:
        return day + timedelta(days=1)
    return day


def is_skipped(close_us: int, hours: tuple[int, ...], weekdays: tuple[int, ...], timezone: str) -> bool:
    local = from_us(close_us).astimezone(ZoneInfo(timezone))
    return local.hour in hours or local.weekday() in weekdays


def from_us(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def to_us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _weight(day: date) -> int:
    if day.weekday() == WEDNESDAY:
        return 3
    return 0 if day.weekday() in (SATURDAY, SUNDAY) else 1
