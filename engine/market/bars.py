"""Bars: candles that were checked once, at the edge, so that everything after may rely on them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import BadBars
from engine.market.timeframes import DAY_US, HOUR_US, MONTH_US, Timeframe
from engine.numeric.arrays import read_only
from engine.numeric.compiled import compiled
from engine.numeric.times import as_us, iso_time

TIME = pl.Datetime("us", "UTC")
PRICES = ("open", "high", "low", "close")
_ARRAYS = ("time_us", "close_time_us", "open", "high", "low", "close", "volume", "spread_points")
"""The cached properties of `Bars` with one value a bar."""
_ARRAY_OF = {"time": "time_us", "spread": "spread_points"}
"""By column, where they are not called alike."""
_LATE_US = 2 * HOUR_US
_LATE_MONTH_US = 3 * DAY_US
"""How far from its nominal close the next bar may open and still be what closes a bar of a day, a week or a month."""


def bars_from_frame(
    frame: pl.DataFrame,
    timeframe: Timeframe,
    source: str,
    *,
    newest_first: bool = False,
    spread_may_lack: bool = False,
    rows_before: int = 0,
) -> "Bars":
    """Check a frame (docs/engine-rules.md, Bars) and return its bars; other columns than those of `Bars` are left out.

    Times of any unit are taken, naive ones as UTC, and cut to microseconds. Without a volume column volume is 0. Of
    several bad rows the first is named, and in it the first thing wrong. source: the file, as messages should name it.
    newest_first: the file has these rows the other way round, and messages count them as it does.
    spread_may_lack: a null spread is one that was not recorded, as where files with and without one were put together.
    rows_before: how many rows of the file come before these.

    Raises BadBars, one line: `source: row N (time T): what is wrong`, or `source: what is wrong` for the whole of it.
    Beyond the rules' list a negative volume is refused too, and null, NaN or infinite volume and spread as prices are.
    """
    if frame.height == 0:
        raise BadBars(f"{source}: there are no bars in it")
    columns = ["time", *PRICES, *(name for name in ("volume", "spread") if name in frame.columns)]
    typed = pl.DataFrame([_typed(frame, name, source) for name in columns]).rechunk()
    lacking = spread_may_lack and "spread" in typed.columns and typed["spread"].null_count() > 0
    judged = typed.with_columns(pl.col("spread").fill_null(0.0)) if lacking else typed
    sound = _rows_before_first_null(judged)
    last = judged.height - 1
    bars = Bars(timeframe, _with_volume(judged.head(sound)))
    bad = _first_bad(bars)
    if bad is not None:
        _refuse(
            source,
            last - bad if newest_first else rows_before + bad,
            bars.frame["time"][bad],
            _what_is_wrong(bars, bad),
        )
    if sound < judged.height:
        found = judged.row(sound, named=True)
        missing = next(name for name, value in found.items() if value is None)
        _refuse(source, last - sound if newest_first else rows_before + sound, found["time"], f"{missing} is null")
    if lacking:
        typed = typed.with_columns(pl.col("spread").fill_null(np.nan))
    return Bars(timeframe, _without_empty_spread(_with_volume(typed)))


@dataclass(frozen=True, eq=False)
class Bars:
    """Candles of one timeframe, oldest first, bid prices; build them with `bars_from_frame`, which checks them.

    frame: time (Datetime us UTC, the bar's open, strictly rising, at least timeframe.shortest_us apart), open, high,
    low, close, volume (Float64; 0 where none was recorded) and, where recorded, spread (Float64, points; NaN for a bar
    without one, beside others that have it). No nulls and no other NaN. The arrays are contiguous, read-only views of
    it, made once. `resample` may leave none at all: height 0.
    closes_us: when each bar closes, begins_us: from when on its prices count, where whoever made them knows more than
    their opens tell (`resample`).
    """

    timeframe: Timeframe
    frame: pl.DataFrame
    closes_us: NDArray[np.int64] | None = None
    begins_us: NDArray[np.int64] | None = None

    @property
    def height(self) -> int:
        return self.frame.height

    @cached_property
    def time_us(self) -> NDArray[np.int64]:
        """Open times, microseconds since 1970 UTC."""
        return read_only(self.frame["time"].to_numpy().view(np.int64))

    @cached_property
    def close_time_us(self) -> NDArray[np.int64]:
        """The moment from which a bar is known: see given_closes_us, or what `resample` found."""
        return read_only(given_closes_us(self.time_us, self.timeframe) if self.closes_us is None else self.closes_us)

    @cached_property
    def open(self) -> NDArray[np.float64]:
        return read_only(self.frame["open"].to_numpy())

    @cached_property
    def high(self) -> NDArray[np.float64]:
        return read_only(self.frame["high"].to_numpy())

    @cached_property
    def low(self) -> NDArray[np.float64]:
        return read_only(self.frame["low"].to_numpy())

    @cached_property
    def close(self) -> NDArray[np.float64]:
        return read_only(self.frame["close"].to_numpy())

    @cached_property
    def volume(self) -> NDArray[np.float64]:
        return read_only(self.frame["volume"].to_numpy())

    @cached_property
    def spread_points(self) -> NDArray[np.float64] | None:
        """Recorded spread in points (10^-digits of the instrument), NaN for a bar without; None where none has one."""
        return read_only(self.frame["spread"].to_numpy()) if "spread" in self.frame.columns else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over timeframe and values: times as int64 microseconds, the rest as float64, as in memory.

        Column by column, each preceded by its name and length. Equal for CSV and Parquet of the same bars.
        """
        hasher = hashlib.sha256(self.timeframe.name.encode())
        for name in self.frame.columns:
            # The arrays are needed by the run anyway.
            values = getattr(self, _ARRAY_OF.get(name, name))
            hasher.update(f"|{name}:{values.size}|".encode())
            hasher.update(values.data)
        return hasher.hexdigest()

    def between(self, start_us: int, end_us: int) -> tuple[int, int]:
        """Return the half-open row range of bars with start_us <= open time < end_us."""
        first, end = np.searchsorted(self.time_us, (start_us, end_us), side="left")
        return int(first), max(int(first), int(end))

    def rows(self, first: int, end: int) -> "Bars":
        """Return the bars of rows first to end, end left out; no copy. Arrays that were made are cut, not made anew.

        The last row closes when it did with the row after it still there.
        """
        known = self.closes_us is not None or self.timeframe.duration_us >= DAY_US
        closes_us = self.close_time_us[first:end] if known else None
        begins_us = None if self.begins_us is None else self.begins_us[first:end]
        frame = _without_empty_spread(self.frame.slice(first, max(0, end - first)))
        cut = Bars(self.timeframe, frame, closes_us, begins_us)
        made = vars(self)
        vars(cut).update({name: made[name][first:end] for name in _ARRAYS if made.get(name) is not None})
        if "spread" not in cut.frame.columns:
            vars(cut).pop("spread_points", None)
        return cut


def given_closes_us(time_us: NDArray[np.int64], timeframe: Timeframe) -> NDArray[np.int64]:
    """Return when bars that came with these open times close: after their nominal length, from a day on by the next.

    A day of 25 hours, a week with a change of clocks and a month of any length are known when the next one opens, if
    that is near the nominal close (2 hours; a calendar month, 3 days); no sooner, or an hour of the future would be
    seen. Farther away there is a hole, and the nominal close holds.
    """
    if timeframe.duration_us < DAY_US:
        return time_us + timeframe.duration_us
    of_months = timeframe.duration_us == MONTH_US
    nominal_us = _a_month_later(time_us) if of_months else time_us + timeframe.duration_us
    closes_us = nominal_us.copy()
    near = np.abs(time_us[1:] - nominal_us[:-1]) <= (_LATE_MONTH_US if of_months else _LATE_US)
    closes_us[:-1][near] = time_us[1:][near]
    return closes_us


def _a_month_later(time_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same day and time of the next calendar month; its last day where it has no such day."""
    days = time_us // DAY_US
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    following = (months + 1).astype("datetime64[D]")
    last_day = (months + 2).astype("datetime64[D]") - following - 1
    moved = following + np.minimum(dates - months.astype("datetime64[D]"), last_day)
    later_us: NDArray[np.int64] = moved.astype(np.int64) * DAY_US + (time_us - days * DAY_US)
    return later_us


def _typed(frame: pl.DataFrame, name: str, source: str) -> pl.Series:
    """Return the column in the type that `Bars` has it in; refuse one that is absent or of another kind."""
    if name not in frame.columns:
        raise BadBars(f"{source}: column {name} is missing")
    column = frame[name]
    if name != "time":
        if not column.dtype.is_numeric():
            raise BadBars(f"{source}: column {name} holds {column.dtype}, not numbers")
        return column.cast(pl.Float64)
    if isinstance(column.dtype, pl.Datetime):
        aware = column.dtype.time_zone is not None
        return column.dt.convert_time_zone("UTC").cast(TIME) if aware else column.cast(pl.Datetime("us")).cast(TIME)
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).cast(TIME)
    raise BadBars(f"{source}: column time holds {column.dtype}, not times")


def _with_volume(frame: pl.DataFrame) -> pl.DataFrame:
    if "volume" in frame.columns:
        return frame
    position = frame.get_column_index("close") + 1
    return frame.insert_column(position, pl.Series("volume", np.zeros(frame.height)))


def _without_empty_spread(frame: pl.DataFrame) -> pl.DataFrame:
    """Bars of which none has a spread are those of a file that has no such column, to the digest too."""
    if "spread" not in frame.columns or frame.height == 0 or not np.isnan(frame["spread"][0]):
        return frame
    return frame.drop("spread") if frame["spread"].is_nan().all() else frame


def _rows_before_first_null(frame: pl.DataFrame) -> int:
    nulls = [column.is_null().arg_max() for column in frame.iter_columns() if column.null_count()]
    return min((row for row in nulls if row is not None), default=frame.height)


def _first_bad(bars: Bars) -> int | None:
    spread = bars.spread_points
    shortest_us = bars.timeframe.shortest_us
    arrays = (bars.time_us, bars.open, bars.high, bars.low, bars.close, bars.volume)
    row = _first_bad_row(*arrays, bars.volume if spread is None else spread, shortest_us)
    return row if row >= 0 else None


@compiled
def _first_bad_row(
    time_us: NDArray[np.int64],
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
    spread: NDArray[np.float64],
    shortest_us: int,
) -> int:
    """Return the first row that breaks a rule, or -1. Comparisons are written so that a NaN fails them."""
    infinity = np.inf
    previous_us = time_us[0] - shortest_us if time_us.size else 0
    for i in range(time_us.size):
        lower, upper = min(open_[i], close[i]), max(open_[i], close[i])
        sound = time_us[i] - previous_us >= shortest_us
        sound &= (low[i] > 0.0) & (low[i] <= lower) & (upper <= high[i]) & (high[i] < infinity)
        sound &= (open_[i] > 0.0) & (close[i] > 0.0)
        sound &= (volume[i] >= 0.0) & (volume[i] < infinity) & (spread[i] >= 0.0) & (spread[i] < infinity)
        if not sound:
            return i
        previous_us = time_us[i]
    return -1


def _what_is_wrong(bars: Bars, row: int) -> str:
    """Say which rule the row breaks; only called for one that breaks a rule."""
    for name, value in bars.frame.row(row, named=True).items():
        if name != "time" and not np.isfinite(value):
            return f"{name} is {'NaN' if np.isnan(value) else 'infinite'}"
    open_, high, low, close = (float(column[row]) for column in (bars.open, bars.high, bars.low, bars.close))
    prices = tuple(zip(PRICES, (open_, high, low, close), strict=True))
    gap_us = int(bars.time_us[row] - bars.time_us[row - 1]) if row else bars.timeframe.shortest_us
    spread = bars.spread_points
    problems = (
        (gap_us <= 0, "time does not rise"),
        (gap_us < bars.timeframe.shortest_us, f"time is closer than {bars.timeframe.name} to the row before"),
        *((price <= 0.0, f"{name} {price} is not above 0") for name, price in prices),
        (low > high, f"low {low} is above high {high}"),
        (low > open_, f"low {low} is above open {open_}"),
        (low > close, f"low {low} is above close {close}"),
        (high < open_, f"high {high} is below open {open_}"),
        (high < close, f"high {high} is below close {close}"),
        (bool(bars.volume[row] < 0.0), f"volume {bars.volume[row]} is negative"),
        (spread is not None and bool(spread[row] < 0.0), "spread is negative"),
    )
    return next(message for broken, message in problems if broken)


def _refuse(source: str, row: int, moment: datetime | None, what: str) -> NoReturn:
    time = "null" if moment is None else iso_time(as_us(moment))
    raise BadBars(f"{source}: row {row + 1} (time {time}): {what}")
