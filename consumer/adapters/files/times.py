"""Times as files write them, to UTC; apart because bars and signals read them alike.

Accepted: ISO 8601 (`2024-01-02T03:04:05Z`, `2024-01-02 03:04+02:00`, fractions to the microsecond, a bare date as
its midnight) and MetaTrader's dots (`2024.01.02 03:04:05`). A number is refused: whether it counts seconds or
milliseconds would be a guess.
"""

from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

_DATE = r"\d{4}(?:-\d{2}-\d{2}|\.\d{2}\.\d{2})"
_CLOCK = r"[T ]\d{2}:\d{2}(?::[0-5]\d(?:\.\d{1,6}0*)?)?"
_OFFSET = r"(?:[Zz]|[+-]\d{2}:?\d{2})"
_WELL_FORMED = rf"^{_DATE}(?:{_CLOCK}{_OFFSET}?)?$"
_TRAILING_OFFSET = rf":\d{{2}}(?:\.\d+)?({_OFFSET})$"
_FORMATS = tuple(
    date + clock
    for clock in ("T%H:%M:%S", " %H:%M:%S", "T%H:%M", " %H:%M", "T%H:%M:%S%.f", " %H:%M:%S%.f", "")
    for date in ("%Y-%m-%d", "%Y.%m.%d")
)
_LONGEST_FOLD_MICROSECONDS = 3 * 3_600_000_000
_EARLIEST, _LATEST = "earliest", "latest"


class UnreadableTimeError(Exception):
    """A time that cannot be read. row_index: from 0; written: the text as it stands, "" if missing."""

    def __init__(self, row_index: int, written: str, what: str) -> None:
        self.row_index = row_index
        self.written = written
        self.what = what
        super().__init__(f"{written}: {what}" if written else what)


def utc_times(column: pl.Series, timezone: str) -> pl.Series:
    """Return the column as Datetime[us, UTC], without nulls.

    column: String, Date or Datetime of any unit and zone. timezone: IANA name for times without an offset.
    Raises UnreadableTimeError for the first row that is missing, unreadable, or a local time that does not exist or
    exists twice. A local time that exists twice is accepted where order decides: times rise, so of a run of such rows
    with one step back, those before it are the first pass of the clock and those after it the second.
    """
    _refuse_first(column, column.is_null(), "time is missing")
    if column.dtype == pl.String:
        return _from_text(column.str.strip_chars(" \t"), timezone)
    if column.dtype == pl.Date:
        return _localised(column.cast(pl.Datetime("us")), column, timezone)
    if isinstance(column.dtype, pl.Datetime):
        microseconds = column.dt.cast_time_unit("us")
        if column.dtype.time_unit == "ns":
            inexact = microseconds.dt.cast_time_unit("ns") != column
            _refuse_first(column, inexact, "time is finer than a microsecond")
        if column.dtype.time_zone is not None:
            return microseconds.dt.convert_time_zone("UTC")
        return _localised(microseconds, column, timezone)
    raise UnreadableTimeError(
        0, str(column[0]) if column.len() else "", f"time is {column.dtype}, wanted a date-time or ISO 8601 text"
    )


def one_utc_time(text: str, timezone: str = "UTC") -> pl.Series:
    """The same for one value, as a series of length 1."""
    return utc_times(pl.Series("time", [text]), timezone)


def _from_text(text: pl.Series, timezone: str) -> pl.Series:
    unreadable = "time is not ISO 8601, e.g. 2024-01-02T03:04:05Z"
    _refuse_first(text, ~text.str.contains(_WELL_FORMED), unreadable)
    offset = text.str.extract(_TRAILING_OFFSET)
    clock = text if offset.null_count() == text.len() else text.str.replace(rf"(:\d{{2}}(?:\.\d+)?){_OFFSET}$", "$1")
    local = _parsed(clock)
    _refuse_first(text, local.is_null(), "there is no such date or time of day")
    if offset.null_count() == text.len():
        return _localised(local, text, timezone)
    shift_microseconds = _offset_microseconds(text, offset)
    shifted = (local.to_physical() - shift_microseconds.fill_null(0)).cast(pl.Datetime("us"))
    exact = shifted.dt.replace_time_zone("UTC")
    if offset.null_count() == 0:
        return exact
    naive_rows = offset.is_null().arg_true()
    try:
        naive = _localised(local.gather(naive_rows), text.gather(naive_rows), timezone)
    except UnreadableTimeError as bad:
        raise UnreadableTimeError(int(naive_rows[bad.row_index]), bad.written, bad.what) from None
    return exact.scatter(naive_rows.to_numpy(), naive)


def _parsed(clock: pl.Series) -> pl.Series:
    """Text to naive Datetime[us], null where no format fits; the format of the first row is tried first."""
    if clock.len() == 0:
        return clock.cast(pl.Datetime("us"))
    first = clock.head(1)
    fitting = [each for each in _FORMATS if first.str.to_datetime(each, time_unit="us", strict=False).null_count() == 0]
    result: pl.Series | None = None
    for each in dict.fromkeys([*fitting, *_FORMATS]):
        parsed = clock.str.to_datetime(each, time_unit="us", strict=False)
        result = parsed if result is None else result.zip_with(result.is_not_null(), parsed)
        if result.null_count() == 0:
            break
    assert result is not None
    return result


def _offset_microseconds(text: pl.Series, offset: pl.Series) -> pl.Series:
    minutes = {each: _offset_minutes(each) for each in offset.drop_nulls().unique().to_list()}
    wrong = [each for each, value in minutes.items() if value is None]
    _refuse_first(text, offset.is_in(wrong).fill_null(value=False), "the offset is not a time of day")
    by_text = {each: value * 60_000_000 for each, value in minutes.items() if value is not None}
    return offset.replace_strict(by_text, return_dtype=pl.Int64)


def _offset_minutes(offset: str) -> int | None:
    """Minutes east of UTC; None when it is no offset that exists (beyond 15 hours, or 60 minutes and more)."""
    if offset in {"Z", "z"}:
        return 0
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if hours > 15 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def _localised(local: pl.Series, written: pl.Series, timezone: str) -> pl.Series:
    """Naive local times to UTC; no time is guessed."""
    if timezone == "UTC":
        return local.dt.replace_time_zone("UTC")
    ZoneInfo(timezone)
    zoned = local.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    if zoned.null_count() == 0:
        return zoned.dt.convert_time_zone("UTC")
    twice = (
        local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null").is_not_null() & zoned.is_null()
    )
    _refuse_first(
        written, zoned.is_null() & ~twice, f"there is no such time in {timezone}: the clock went forward over it"
    )
    passes = _passes_of_the_clock(local, twice.to_numpy())
    undecided = pl.Series(passes == "")
    _refuse_first(
        written, undecided, f"the clock in {timezone} showed this time twice; write the times with their offset"
    )
    ambiguous = pl.Series("ambiguous", passes, dtype=pl.String)
    frame = pl.DataFrame({"local": local, "ambiguous": ambiguous})
    return frame.select(
        pl.col("local").dt.replace_time_zone(timezone, ambiguous=pl.col("ambiguous")).dt.convert_time_zone("UTC")
    ).to_series()


def _passes_of_the_clock(local: pl.Series, twice: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Say of each row which pass it is; "" where its group of ambiguous neighbours has not exactly one step back."""
    passes = np.full(local.len(), _EARLIEST, dtype="<U8")
    microseconds = local.to_physical().to_numpy()
    rows = np.flatnonzero(twice)
    apart = (np.diff(rows) != 1) | (np.abs(np.diff(microseconds[rows])) > _LONGEST_FOLD_MICROSECONDS)
    for group in np.split(rows, np.flatnonzero(apart) + 1):
        steps_back = np.flatnonzero(np.diff(microseconds[group]) <= 0)
        if steps_back.size == 1:
            passes[group[steps_back[0] + 1 :]] = _LATEST
        else:
            passes[group] = ""
    return passes


def _refuse_first(written: pl.Series, wrong: pl.Series, what: str) -> None:
    if wrong.any():
        row = int(wrong.arg_true()[0])
        value = written[row]
        raise UnreadableTimeError(row, "" if value is None else str(value), what)
