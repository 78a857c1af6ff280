"""Candle lengths by name. Needs neither numpy nor numba: whoever only checks a name pays for no compiler."""

from dataclasses import dataclass

from engine.errors import UnknownTimeframe

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
YEAR_US = 365 * DAY_US + 6 * HOUR_US
MONTH_US = YEAR_US // 12
"""30.4375 days. No month has them: what a month is in a year's figures; its bars close by the calendar."""


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A candle length. name: M1 to MN1, as events and files write it; duration_us: nominal, of a month the mean."""

    name: str
    duration_us: int

    @property
    def shortest_us(self) -> int:
        """How close two bars may open: changes of clocks shorten a day and a week by an hour, February is a month."""
        if self.duration_us < DAY_US:
            return self.duration_us
        return 28 * DAY_US if self.duration_us == MONTH_US else self.duration_us - HOUR_US


TIMEFRAMES: dict[str, Timeframe] = {
    unit + str(count): Timeframe(unit + str(count), count * unit_us)
    for unit, unit_us, counts in (
        ("M", MINUTE_US, (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
        ("H", HOUR_US, (1, 2, 3, 4, 6, 8, 12)),
        ("D", DAY_US, (1,)),
        ("W", WEEK_US, (1,)),
        ("MN", MONTH_US, (1,)),
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
    """Whether bars of `to` hold whole bars of `source`: H3 does not fill H4, W1 no MN1, and H4 cannot become H1."""
    if source == to:
        return True
    whole_us = DAY_US if to.duration_us == MONTH_US else to.duration_us
    return whole_us % source.duration_us == 0
