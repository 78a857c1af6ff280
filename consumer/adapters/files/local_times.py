"""Clock times of a zone to UTC, across the changes of its clock; no time is guessed."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from consumer.adapters.files.unreadable_time import refuse_first
from engine.market.zones import Zone, zone_named

_LONGEST_FOLD_US = 3 * 3_600_000_000
_LONGEST_GAP = ("30m", "1h")
_EARLIEST, _LATEST = "earliest", "latest"


def localised(local: pl.Series, written: pl.Series, timezone: str, is_bare_date: pl.Series | None) -> pl.Series:
    """Return naive local times as Datetime[us, UTC]. timezone: see `zone_named`. written: the rows, for messages.

    is_bare_date: rows that name a day alone: they mean its first moment, which is not 00:00 where clocks change at
    midnight. A time of day that does not exist is refused; one that exists twice is accepted where order decides:
    times rise, so of a run of such rows with one step back, those before it are the first pass of the clock and those
    after it the second. Raises UnreadableTimeError.
    """
    if timezone == "UTC":
        return local.dt.replace_time_zone("UTC")
    zone = zone_named(timezone)
    clock = (local.to_physical() - zone.ahead_us).cast(pl.Datetime("us")) if zone.ahead_us else local
    zoned = clock.dt.replace_time_zone(zone.iana, ambiguous="null", non_existent="null")
    if zoned.null_count() and is_bare_date is not None and is_bare_date.any():
        zoned = zoned.zip_with(~(zoned.is_null() & is_bare_date), _first_moments(clock, zone))
    if zoned.null_count() == 0:
        return zoned.dt.convert_time_zone("UTC")
    undecided = zoned.is_null()
    earliest = clock.dt.replace_time_zone(zone.iana, ambiguous="earliest", non_existent="null")
    twice = earliest.is_not_null() & undecided
    refuse_first(written, undecided & ~twice, f"there is no such time in {timezone}: the clock went forward over it")
    passes = _passes_of_the_clock(clock, twice.to_numpy())
    refuse_first(
        written,
        pl.Series(passes == ""),
        f"the clock in {timezone} showed this time twice; write the times with their offset",
    )
    latest = clock.dt.replace_time_zone(zone.iana, ambiguous="latest", non_existent="null")
    decided = earliest.zip_with(pl.Series(passes == _EARLIEST), latest)
    return zoned.zip_with(~twice, decided).dt.convert_time_zone("UTC")


def _first_moments(midnight: pl.Series, zone: Zone) -> pl.Series:
    """Return the first moment of each day, null where a day has none (Samoa's 30 December 2011)."""
    moments = midnight.dt.replace_time_zone(zone.iana, ambiguous="earliest", non_existent="null")
    for later in _LONGEST_GAP:
        if moments.null_count() == 0:
            break
        shifted = midnight.dt.offset_by(later)
        there = shifted.dt.replace_time_zone(zone.iana, ambiguous="earliest", non_existent="null")
        moments = moments.zip_with(moments.is_not_null(), there)
    return moments


def _passes_of_the_clock(local: pl.Series, twice: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Say of each row which pass it is; "" where its group of ambiguous neighbours has not exactly one step back."""
    passes = np.full(local.len(), _EARLIEST, dtype="<U8")
    microseconds = local.to_physical().to_numpy()
    rows = np.flatnonzero(twice)
    apart = (np.diff(rows) != 1) | (np.abs(np.diff(microseconds[rows])) > _LONGEST_FOLD_US)
    for group in np.split(rows, np.flatnonzero(apart) + 1):
        steps_back = np.flatnonzero(np.diff(microseconds[group]) <= 0)
        if steps_back.size == 1:
            passes[group[steps_back[0] + 1 :]] = _LATEST
        else:
            passes[group] = ""
    return passes
