"""Times as files write them, to UTC; apart because bars and signals read them alike.

Accepted: dates and times of day as `written_times` has them, with an offset or without; numbers that count seconds,
milliseconds, microseconds or nanoseconds since 1970 UTC, told apart by their size; columns that hold dates already.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from consumer.adapters.files.local_times import localised
from consumer.adapters.files.unreadable_time import UnreadableTimeError, refuse_first
from consumer.adapters.files.written_times import DateOrder, read_written

UTC_MICROSECONDS = pl.Datetime("us", "UTC")

Kind = Literal["offset", "local", "mixed", "s", "ms", "us", "ns", "epoch"]
"""What times are: written with an offset, without one, some with; numbers of one unit, or of several ("epoch")."""

_EPOCH_TEXT = r"^\d{9,20}(?:\.0+)?$"
_LEAST_COMPACT_DATE, _LAST_COMPACT_DATE = 1000_01_01, 9999_12_31
"""Written as a number, 20240102: below every count since 1970."""
_FIRST_MOMENT_US, _LAST_MOMENT_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_EPOCH_UNITS: tuple[tuple[Literal["s", "ms", "us", "ns"], int, int, int], ...] = (
    ("s", 10**8, 10**10, 1_000_000),
    ("ms", 10**11, 10**13, 1_000),
    ("us", 10**14, 10**16, 1),
    ("ns", 10**17, 2**63 - 1, 0),
)


@dataclass(frozen=True, slots=True)
class TimeRules:
    """How times are to be understood. timezone: of those without an offset. date_order: of dates that do not begin
    with their year, None: told from the file. may_fall: newest first is turned round where it is so throughout."""

    timezone: str = "UTC"
    date_order: DateOrder | None = None
    may_fall: bool = False


@dataclass(frozen=True, slots=True)
class ReadTimes:
    """utc: Datetime[us, UTC], without nulls, in the file's order. newest_first: they fall throughout, and may."""

    utc: pl.Series
    kind: Kind
    newest_first: bool = False


def read_times(column: pl.Series, rules: TimeRules) -> ReadTimes:
    """Read a column of String, numbers, Date or Datetime of any unit and zone.

    Raises UnreadableTimeError for the first row that is missing, unreadable, of a day in doubt, or a local time that
    does not exist or exists twice and cannot be told apart by the order of the rows (see `localised`).
    """
    times = _read(column, rules)
    _refuse_beyond_calendar(times.utc)
    return times


def utc_times(column: pl.Series, timezone: str) -> pl.Series:
    """The same as Datetime[us, UTC] alone, nothing turned round. timezone: of times without an offset."""
    return read_times(column, TimeRules(timezone)).utc


def one_utc_time(text: str, timezone: str = "UTC") -> pl.Series:
    """The same for one value, as a series of length 1."""
    return utc_times(pl.Series("time", [text]), timezone)


def _read(column: pl.Series, rules: TimeRules) -> ReadTimes:
    refuse_first(column, column.is_null(), "time is missing")
    if column.dtype.is_(pl.Categorical) or isinstance(column.dtype, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        text = column.str.strip_chars(" \t")
        if text.len() and text.head(1).str.contains(_EPOCH_TEXT)[0]:
            return _from_numbers(_whole_numbers(text), text, rules)
        return _from_parts(*read_written(text, rules.date_order), text, rules)
    if column.dtype == pl.Date:
        midnight = column.cast(pl.Datetime("us"))
        _refuse_beyond_calendar(midnight)
        return _from_parts(midnight, None, pl.repeat(value=True, n=column.len(), eager=True), column, rules)
    if isinstance(column.dtype, pl.Datetime):
        return _from_datetimes(column, column.dtype, rules)
    if column.dtype.is_integer():
        if column.len() and _LEAST_COMPACT_DATE <= column[0] <= _LAST_COMPACT_DATE:
            return _from_parts(*read_written(column.cast(pl.String), None), column, rules)
        return _from_numbers(column, column, rules)
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        refuse_first(column, whole.is_null() | (whole.cast(column.dtype) != column), "time is not a whole number")
        return _from_numbers(whole, column, rules)
    raise UnreadableTimeError(
        0, str(column[0]) if column.len() else "", f"time is {column.dtype}, wanted a date-time, text or whole numbers"
    )


def _from_datetimes(column: pl.Series, dtype: pl.Datetime, rules: TimeRules) -> ReadTimes:
    if dtype.time_unit != "ns":  # those end in 2262
        _refuse_beyond_calendar(column, in_milliseconds=dtype.time_unit == "ms")
    microseconds = column.dt.cast_time_unit("us")
    if dtype.time_unit == "ns":
        inexact = microseconds.dt.cast_time_unit("ns") != column
        refuse_first(column, inexact, "time is finer than a microsecond")
    if dtype.time_zone is not None:
        utc = microseconds.dt.convert_time_zone("UTC")
        return ReadTimes(utc, "offset", rules.may_fall and _falls(utc))
    return _from_parts(microseconds, None, None, column, rules)


def _whole_numbers(text: pl.Series) -> pl.Series:
    refuse_first(text, ~text.str.contains(_EPOCH_TEXT), "time is not a whole number since 1970, as those before it are")
    digits = text if not text.str.contains(".", literal=True).any() else text.str.replace(r"\.0+$", "")
    numbers = digits.cast(pl.Int64, strict=False)
    refuse_first(text, numbers.is_null(), "time is beyond every date")
    return numbers


def _from_numbers(numbers: pl.Series, written: pl.Series, rules: TimeRules) -> ReadTimes:
    """Counts since 1970, each by its size: an exchange's file may change its unit in the middle."""
    refuse_first(written, numbers < 0, "time is below 0")
    signed = numbers.cast(pl.Int64, strict=False)
    refuse_first(written, signed.is_null(), "time is beyond every date")
    utc_us = np.zeros(numbers.len(), np.int64)
    values = signed.to_numpy()
    fitting: list[Literal["s", "ms", "us", "ns"]] = []
    known = np.zeros(numbers.len(), np.bool_)
    for unit, least, most, microseconds in _EPOCH_UNITS:
        rows = (values >= least) & (values <= most)
        if not rows.any():
            continue
        fitting.append(unit)
        known |= rows
        if unit == "ns":
            refuse_first(written, pl.Series(rows & (values % 1000 != 0)), "time is finer than a microsecond")
            utc_us[rows] = values[rows] // 1000
        else:
            utc_us[rows] = values[rows] * microseconds
    refuse_first(
        written,
        pl.Series(~known),
        "time is a number that no unit fits: seconds since 1970 are 1e8 to 1e10, milliseconds 1e11 to 1e13,"
        " microseconds 1e14 to 1e16, nanoseconds 1e17 to 1e19",
    )
    utc = pl.Series(written.name, utc_us).cast(UTC_MICROSECONDS)
    return ReadTimes(utc, fitting[0] if len(fitting) == 1 else "epoch", rules.may_fall and _falls(utc))


def _from_parts(
    local: pl.Series, east_us: pl.Series | None, is_bare_date: pl.Series | None, written: pl.Series, rules: TimeRules
) -> ReadTimes:
    """Local clock times with, row by row, the microseconds by which they are ahead of UTC, null where none is said."""
    if east_us is not None and east_us.null_count() == 0:
        utc = (local.to_physical() - east_us).cast(UTC_MICROSECONDS)
        return ReadTimes(utc, "offset", rules.may_fall and _falls(utc))
    kind: Kind = "local" if east_us is None else "mixed"
    # Of hours that come twice the order of the rows decides; so newest first is tried the other way round.
    clock_us = local.to_physical()
    if rules.may_fall and local.len() > 1 and clock_us[0] > clock_us[-1]:
        east_turned, bare_turned = (None if each is None else each.reverse() for each in (east_us, is_bare_date))
        try:
            turned = _utc(local.reverse(), east_turned, bare_turned, written.reverse(), rules.timezone)
        except UnreadableTimeError as bad:
            raise UnreadableTimeError(local.len() - 1 - bad.row_index, bad.written, bad.what) from None
        utc = turned.reverse()
        if _falls(utc):
            return ReadTimes(utc, kind, newest_first=True)
    return ReadTimes(_utc(local, east_us, is_bare_date, written, rules.timezone), kind)


def _utc(
    local: pl.Series, east_us: pl.Series | None, is_bare_date: pl.Series | None, written: pl.Series, timezone: str
) -> pl.Series:
    if east_us is None:
        return localised(local, written, timezone, is_bare_date)
    exact = (local.to_physical() - east_us.fill_null(0)).cast(UTC_MICROSECONDS)
    naive_rows = east_us.is_null().arg_true()
    bare = None if is_bare_date is None else is_bare_date.gather(naive_rows)
    try:
        naive = localised(local.gather(naive_rows), written.gather(naive_rows), timezone, bare)
    except UnreadableTimeError as bad:
        raise UnreadableTimeError(int(naive_rows[bad.row_index]), bad.written, bad.what) from None
    return exact.scatter(naive_rows.to_numpy(), naive)


def _falls(utc: pl.Series) -> bool:
    """Whether times fall strictly, from the first to the last."""
    moments = utc.to_physical()
    if utc.len() < 2 or moments[0] <= moments[-1]:
        return False
    return bool((np.diff(moments.to_numpy()) < 0).all())


def _refuse_beyond_calendar(times: pl.Series, *, in_milliseconds: bool = False) -> None:
    """Refuse what no calendar here can show, so that nothing after has to expect it."""
    moments = times.to_physical()
    divisor = 1000 if in_milliseconds else 1
    beyond = (moments < _FIRST_MOMENT_US // divisor) | (moments > _LAST_MOMENT_US // divisor)
    if beyond.any():
        raise UnreadableTimeError(int(beyond.arg_true()[0]), "", "time is beyond the years 1 to 9999")
