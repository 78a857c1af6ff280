"""Which zone's clock the times of FX bars were written in, told by the closed weekend; for warnings, never applied.

The FX week opens on Sunday and closes on Friday at 17:00 New York. Bars read in another zone than they were written in
open it elsewhere, and some lie in the closed weekend. Only the bars on both sides of each weekend are looked at, so
that millions of bars cost as little as thousands.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.market.instruments import Session
from engine.market.sessions import fx_weekends
from engine.market.timeframes import HOUR_US, MINUTE_US
from engine.market.zones import zone_named
from engine.numeric.arrays import median

METATRADER = "America/New_York+7"
_CANDIDATES = (
    "UTC",
    METATRADER,
    "Europe/Athens",
    "Etc/GMT+5",
    "America/New_York",
    "Europe/London",
    "Europe/Berlin",
    "America/Chicago",
    "Asia/Tokyo",
    "Asia/Singapore",
    "Asia/Kolkata",
    "Asia/Dubai",
    "Europe/Moscow",
    "Australia/Sydney",
    "America/New_York+5",
    "America/New_York+6",
    "America/New_York+8",
    *(f"Etc/GMT{-hours:+d}" for hours in (*range(1, 15), *range(-1, -13, -1))),
)
"""The likeliest first: of zones that fit alike the first is named."""
_STEPS_THAT_TELL_THE_BAR = 5_000
_LONGEST_BAR_US = 4 * HOUR_US
_WEEKEND_US = (40 * HOUR_US, 60 * HOUR_US)
"""Of no bars: shorter is a holiday within the week, longer one beside the weekend, and both tell nothing."""
_LATE_US = 20 * MINUTE_US
"""Brokers open and close some minutes inside the week."""
_WEEKS_THAT_SETTLE_IT = 0.03
"""A zone whose clock changes on other days than the right one's errs in some four weeks a year."""
_ADVICE: WeakKeyDictionary[Bars, dict[Session, "ZoneAdvice | None"]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ZoneAdvice:
    """A zone that fits the weekly hours better than the one that times were read in. str() of it is a warning.

    zone: the likeliest; as_well: others that these bars cannot tell from it. weeks, astray: weekends looked at, and
    those at which the zone read in does not fit.
    """

    read_as: str
    zone: str
    as_well: tuple[str, ...]
    weeks: int
    astray: int

    def __str__(self) -> str:
        known_as = " (the clock of most MetaTrader servers)" if self.zone == METATRADER else ""
        as_well = f"; {', '.join(self.as_well)} fit{'s' * (len(self.as_well) == 1)} as well" if self.as_well else ""
        return (
            f"read as {self.read_as}, {self.astray} of {self.weeks} weekends have bars in the closed market, or a week"
            f" that opens or closes elsewhere than at 17:00 New York; {self.zone}{known_as} fits{as_well}:"
            f" --bars-timezone {self.zone}"
        )


def zone_advice_on(bars: Bars, session: Session) -> ZoneAdvice | None:
    """Say it of bars read as UTC; worked out once for each object, as many runs may share them."""
    known = _ADVICE.setdefault(bars, {})
    if session not in known:
        known[session] = zone_advice(bars.time_us, session)
    return known[session]


def zone_advice(time_us: NDArray[np.int64], session: Session, read_as: str = "UTC") -> ZoneAdvice | None:
    """Say which zone the bars' times seem to be written in; None where that read in fits, or no other fits better.

    time_us: open times, microseconds since 1970 UTC, ascending, as they came from a file read in the zone `read_as`
    (see `zone_named`). None for sessions without a closed weekend, bars above H4, and data without a weekend in them.
    """
    if session != "fx" or time_us.size < 3:
        return None
    steps_us = np.diff(time_us)
    bar_us = _middle(steps_us[:_STEPS_THAT_TELL_THE_BAR])
    if bar_us > _LONGEST_BAR_US:
        return None
    closed_us = steps_us - bar_us
    before = np.flatnonzero((closed_us >= _WEEKEND_US[0]) & (closed_us <= _WEEKEND_US[1]))
    if before.size == 0:
        return None
    given = _misfits(time_us[before], time_us[before + 1], bar_us)
    # Times an hour or more off leave such bars in the closed market, at one end of the week or at the other; a holiday
    # leaves none, and is what most misfits are. Candidates take a hundred times as long as this.
    if given.sides == 0 or (given.closed == 0 and bar_us <= HOUR_US):
        return None
    sides = _clock_of(time_us[np.concatenate([before, before + 1])], read_as)
    candidates = {
        zone: _misfits(read_us[: before.size], read_us[before.size :], bar_us)
        for zone, read_us in _read_in_each(sides).items()
    }
    return _better(given, candidates, read_as)


def _middle(steps_us: NDArray[np.int64]) -> int:
    """Their median. Mostly it is the shortest of them, which more than half are: to count takes a tenth of the time."""
    shortest = int(steps_us.min())
    return shortest if 2 * np.count_nonzero(steps_us == shortest) > steps_us.size else int(median(steps_us))


@dataclass(frozen=True, slots=True)
class _Misfits:
    """weekends: looked at; astray: those with a side that does not fit; sides: of them; closed: sides with bars while
    the market is closed."""

    weekends: int
    astray: int
    sides: int
    closed: int


def _misfits(last_us: NDArray[np.int64], first_us: NDArray[np.int64], bar_us: int) -> _Misfits:
    """Compare each weekend of the data, from the last bar's open to the first one's, with the market's nearest."""
    if last_us.size == 0:
        return _Misfits(0, 0, 0, 0)
    begin_us, end_us = fx_weekends(int(last_us[0]) - 7 * 24 * HOUR_US, int(first_us[-1]) + 7 * 24 * HOUR_US)
    middle_us = (last_us + bar_us + first_us) // 2
    nearest = np.searchsorted((begin_us[1:] + end_us[:-1]) // 2, middle_us)
    opens_late_us = first_us - end_us[nearest]
    closes_late_us = last_us + bar_us - begin_us[nearest]
    in_weekend = np.array([opens_late_us <= -bar_us, closes_late_us >= bar_us])
    inside_week = np.array([opens_late_us > _LATE_US, closes_late_us < -_LATE_US])
    wrong = in_weekend | inside_week
    return _Misfits(last_us.size, int(wrong.any(axis=0).sum()), int(wrong.sum()), int(in_weekend.sum()))


def _better(given: _Misfits, candidates: dict[str, _Misfits], read_as: str) -> ZoneAdvice | None:
    """Return advice where a candidate is clearly better. A market that opens late or closes early (gold) misses one
    side of each weekend in its own zone, and the other in the next: that is no reason to name the next."""
    best = min(candidates.values(), key=lambda each: (each.sides, each.closed))
    needed = max(1, math.ceil(_WEEKS_THAT_SETTLE_IT * given.weekends))
    if given.sides - best.sides < needed or 4 * best.closed > given.closed:
        return None
    fitting = [zone for zone, each in candidates.items() if (each.sides, each.closed) == (best.sides, best.closed)]
    as_well = _without_fixed_where_others_do(fitting[1:])
    return ZoneAdvice(read_as, fitting[0], tuple(as_well[:2]), given.weekends, given.astray)


def _without_fixed_where_others_do(zones: list[str]) -> list[str]:
    named = [zone for zone in zones if not zone.startswith("Etc/")]
    return named or zones


def _clock_of(time_us: NDArray[np.int64], zone_name: str) -> pl.Series:
    """What the zone's clock showed, naive."""
    zone = zone_named(zone_name)
    moments = pl.Series(time_us).cast(pl.Datetime("us", "UTC"))
    clock = moments.dt.convert_time_zone(zone.iana).dt.replace_time_zone(None)
    return (clock.to_physical() + zone.ahead_us).cast(pl.Datetime("us"))


def _read_in_each(clock: pl.Series) -> dict[str, NDArray[np.int64]]:
    """By candidate, the moments at which its clock showed this. An hour that does not exist counts as the next."""
    moments = clock.alias("clock").to_frame().select(**{name: _moments(name) for name in _CANDIDATES})
    return {name: moments[name].to_physical().to_numpy() for name in _CANDIDATES}


def _moments(zone_name: str) -> pl.Expr:
    zone = zone_named(zone_name)
    own = pl.col("clock") - pl.duration(microseconds=zone.ahead_us)
    moments, later = (
        each.dt.replace_time_zone(zone.iana, ambiguous="earliest", non_existent="null")
        for each in (own, own + pl.duration(hours=1))
    )
    return moments.fill_null(later)
