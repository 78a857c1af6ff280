"""Candle lengths by name. Needs neither numpy nor numba: whoever only checks a name pays for no compiler."""

from dataclasses import dataclass

from engine.errors import UnknownTimeframe

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
_FIRST_MONDAY_US = 4 * DAY_US
"""1970-01-05: the epoch was a Thursday, and weeks are anchored at Mondays."""


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A candle length. name: M1 to W1, as events and files write it."""

    name: str
    duration_us: int

    @property
    def anchor_us(self) -> int:
        """A moment at which a bar of this timeframe opens; all others are whole durations away from it."""
        return _FIRST_MONDAY_US if self.duration_us == WEEK_US else 0


TIMEFRAMES: dict[str, Timeframe] = {
    unit + str(count): Timeframe(unit + str(count), count * unit_us)
    for unit, unit_us, counts in (
        ("M", MINUTE_US, (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
        ("H", HOUR_US, (1, 2, 3, 4, 6, 8, 12)),
        ("D", DAY_US, (1,)),
        ("W", WEEK_US, (1,)),
    )
    for count in counts
}


def timeframe(name: str) -> Timeframe:
    """Return the timeframe of that name; names are upper case. Raises UnknownTimeframe."""
    try:
        return TIMEFRAMES[name]
    except KeyError:
        raise UnknownTimeframe(f"unknown timeframe {name!r}; known are {', '.join(TIMEFRAMES)}") from None


def can_resample(source: Timeframe, to: Timeframe) -> bool:
    """Whether bars of `to` hold whole bars of `source`: H3 does not fill H4, and H4 cannot become H1."""
    return to.duration_us % source.duration_us == 0
