"""What the bars of a run are like: enough to know them again, and everything odd that a trader should hear of."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.market.instruments import Session
from engine.market.sessions import fx_weekends, session_days
from engine.market.timeframes import DAY_US
from engine.numeric.arrays import median, read_only
from engine.numeric.compiled import compiled
from engine.numeric.times import iso_time

_DESCRIBED: WeakKeyDictionary[Bars, dict[Session, "Passport"]] = WeakKeyDictionary()

LONG_STRETCH = 10
"""Bars: shorter stretches without movement are normal in thin hours."""
_WAY_ON = "ask for the export without flats, or leave them out before the import"
OUTLIER_RANGES = 20.0
"""Median ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """Bars at a glance. Times are ISO 8601 with Z, open times of bars."""

    digest: str
    timeframe: str
    count: int
    first_time: str
    last_time: str
    gaps: int
    """Places where the market was open for at least one whole bar and there is none."""
    missing_bars: int
    """Whole bars in them."""
    longest_gap_bars: int
    longest_gap_after: str | None
    """The bar before the longest gap."""
    bars_while_closed: int
    """Bars that lie wholly in the closed part of the FX week."""
    zero_range_bars: int
    longest_zero_range_stretch: int
    """Bars in a row with high = low."""
    repeated_bars: int
    """Bars whose four prices are those of the bar before."""
    longest_repeated_stretch: int
    """Bars in a row with the same four prices, the first included; 0 for none."""
    outliers: int
    """Bars that move, from the close before or within, by more than 20 median ranges; never over a gap."""
    first_outlier: str | None
    warnings: tuple[str, ...]


def data_passport(bars: Bars, session: Session) -> Passport:
    """Describe bars, at least one, against the FX week (Sunday to Friday 17:00 New York) or, for "always", no closure.

    Nothing is filled or changed. Holidays count as gaps: the engine knows the week, not the calendar. Described once
    for each object: bars never change, and a thousand runs may share them.
    """
    passports = _DESCRIBED.setdefault(bars, {})
    if session not in passports:
        passports[session] = _describe(bars, session)
    return passports[session]


def _describe(bars: Bars, session: Session) -> Passport:
    missing, after = _missing_bars(bars, session)
    closed, filler = _bars_while_closed(bars, session)
    flat, flat_stretch, repeated, repeated_stretch = _stretches(bars.open, bars.high, bars.low, bars.close)
    outlier_rows = _outlier_rows(bars)
    longest = int(np.argmax(missing)) if missing.size else None
    described = {
        "gaps": int(missing.size),
        "missing_bars": int(missing.sum()),
        "longest_gap_bars": 0 if longest is None else int(missing[longest]),
        "bars_while_closed": closed,
        "zero_range_bars": flat,
        "longest_zero_range_stretch": flat_stretch,
        "repeated_bars": repeated,
        "longest_repeated_stretch": repeated_stretch,
        "outliers": int(outlier_rows.size),
    }
    longest_gap_after = None if longest is None else iso_time(int(bars.time_us[after[longest]]))
    first_outlier = iso_time(int(bars.time_us[outlier_rows[0]])) if outlier_rows.size else None
    return Passport(
        digest=bars.digest,
        timeframe=bars.timeframe.name,
        count=bars.height,
        first_time=iso_time(int(bars.time_us[0])),
        last_time=iso_time(int(bars.time_us[-1])),
        longest_gap_after=longest_gap_after,
        first_outlier=first_outlier,
        warnings=_warnings(described, filler, longest_gap_after, first_outlier),
        **described,
    )


def _missing_bars(bars: Bars, session: Session) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many whole bars of open market each gap lacks, and the row before it."""
    before = np.flatnonzero(bars.time_us[1:] > bars.close_time_us[:-1])
    begin_us, end_us = bars.close_time_us[before], bars.time_us[before + 1]
    open_us = end_us - begin_us - _closed_us(begin_us, end_us, session)
    if session == "weekdays" and bars.timeframe.duration_us < DAY_US:
        # The hours of the exchange are not known; a day as long as others are without a bar is.
        days = session_days(bars.time_us, session).label.size
        missing = open_us // DAY_US * max(1, round(bars.height / days))
    else:
        missing = open_us // bars.timeframe.duration_us
    return missing[missing > 0], before[missing > 0]


def _bars_while_closed(bars: Bars, session: Session) -> tuple[int, int]:
    """Return how many bars lie in the closed part of the week, and how many of these have no range."""
    if session == "always":
        return 0, 0
    weekends = fx_weekends(int(bars.time_us[0]), int(bars.close_time_us[-1]))
    closing_us, opening_us = read_only(weekends[0]), read_only(weekends[1])
    closed = _within(bars.time_us, bars.close_time_us, closing_us, opening_us)
    if not closed:
        return 0, 0
    flat = bars.high == bars.low
    times_us, close_times_us = read_only(bars.time_us[flat]), read_only(bars.close_time_us[flat])
    return closed, _within(times_us, close_times_us, closing_us, opening_us)


@compiled
def _within(
    time_us: NDArray[np.int64],
    close_time_us: NDArray[np.int64],
    closing_us: NDArray[np.int64],
    opening_us: NDArray[np.int64],
) -> int:
    """Count bars that lie wholly in one of the spans, which ascend and do not touch."""
    count, span = 0, 0
    for i in range(time_us.size):
        while span < opening_us.size and opening_us[span] < close_time_us[i]:
            span += 1
        if span == opening_us.size:
            break
        count += closing_us[span] <= time_us[i]
    return count


def _closed_us(begin_us: NDArray[np.int64], end_us: NDArray[np.int64], session: Session) -> NDArray[np.int64]:
    """Return how much of each span [begin, end) lies in the closed part of the week."""
    if session == "always" or begin_us.size == 0:
        return np.zeros(begin_us.size, np.int64)
    closing_us, opening_us = fx_weekends(int(begin_us[0]), int(end_us[-1]))
    whole_us = np.concatenate(([0], np.cumsum(opening_us - closing_us)))

    def closed_before(moments_us: NDArray[np.int64]) -> NDArray[np.int64]:
        weekend = np.searchsorted(closing_us, moments_us, side="right")
        latest = np.maximum(weekend - 1, 0)
        unfinished_us = np.where(weekend > 0, np.maximum(opening_us[latest] - moments_us, 0), 0)
        return np.asarray(whole_us[weekend] - unfinished_us, np.int64)

    return closed_before(end_us) - closed_before(begin_us)


@compiled
def _stretches(
    open_: NDArray[np.float64], high: NDArray[np.float64], low: NDArray[np.float64], close: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Return count and longest stretch of bars without range, then of bars that repeat the one before."""
    flat, flat_run, flat_longest = 0, 0, 0
    repeated, repeated_run, repeated_longest = 0, 0, 0
    for i in range(close.size):
        is_flat = high[i] == low[i]
        repeats = (
            i > 0
            and close[i] == close[i - 1]
            and open_[i] == open_[i - 1]
            and high[i] == high[i - 1]
            and low[i] == low[i - 1]
        )
        flat += is_flat
        flat_run = flat_run + 1 if is_flat else 0
        flat_longest = max(flat_longest, flat_run)
        repeated += repeats
        repeated_run = repeated_run + 1 if repeats else 0
        repeated_longest = max(repeated_longest, repeated_run)
    return flat, flat_longest, repeated, repeated_longest + 1 if repeated_longest else 0


def _outlier_rows(bars: Bars) -> NDArray[np.int64]:
    """Return rows of outliers; the median is that of the ranges above 0, none at all without one."""
    ranges = bars.high - bars.low
    moving = ranges[ranges > 0]
    if moving.size == 0:
        return np.empty(0, np.int64)
    limit = OUTLIER_RANGES * median(moving)
    return _rows_beyond(bars.time_us, bars.close_time_us, bars.high, bars.low, bars.close, limit * (1.0 + 1e-9))


@compiled
def _rows_beyond(
    time_us: NDArray[np.int64],
    close_time_us: NDArray[np.int64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    limit: float,
) -> NDArray[np.int64]:
    rows = np.empty(time_us.size, np.int64)
    count = 0
    for i in range(time_us.size):
        top, bottom = high[i], low[i]
        if i > 0 and time_us[i] == close_time_us[i - 1]:
            top, bottom = max(top, close[i - 1]), min(bottom, close[i - 1])
        if top - bottom > limit:
            rows[count] = i
            count += 1
    return rows[:count].copy()


def _warnings(
    described: dict[str, int], filler: int, longest_gap_after: str | None, first_outlier: str | None
) -> tuple[str, ...]:
    """Put what is odd into short sentences. filler: how many of the bars while closed have no range."""
    sentences = []
    if described["gaps"]:
        sentences.append(
            f"{described['missing_bars']} bars are missing in {described['gaps']} gaps of the trading week,"
            f" the longest {described['longest_gap_bars']} bars after {longest_gap_after}"
        )
    if described["bars_while_closed"]:
        lie = f"{described['bars_while_closed']} bars lie in the closed part of the FX week"
        # An export that fills the weekend is told from times in another zone by what has no range.
        filled = f", {filler} of them flat, which is filler: {_WAY_ON}" if filler else ""
        sentences.append(lie + filled)
    if described["longest_zero_range_stretch"] >= LONG_STRETCH:
        sentences.append(f"{described['longest_zero_range_stretch']} bars in a row have no range")
    if described["longest_repeated_stretch"] >= LONG_STRETCH:
        sentences.append(f"{described['longest_repeated_stretch']} bars in a row have the same prices")
    if described["outliers"]:
        sentences.append(
            f"{described['outliers']} bars move more than {OUTLIER_RANGES:.0f} median ranges,"
            f" the first at {first_outlier}"
        )
    return tuple(sentences)
