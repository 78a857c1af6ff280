"""Dates and times of day as people and programs write them, to clock times and offsets.

The year first (2024-01-02, 2024.01.02, 2024/01/02, 20240102) or last (02.01.2024, 1/2/2024), then maybe a time of day
(03:04, 03:04:05.678, 3:04 PM, after 20240102 also 030405) and an offset (Z, +02:00, +0200, GMT+0200, UTC). Where the
year is last, day and month are told apart by a day above 12 somewhere in the column, else by `date_order`, else not at
all: the column is refused.
"""

import re
from typing import Literal

import polars as pl

from consumer.adapters.files.unreadable_time import DayInDoubtError, refuse_first

DateOrder = Literal["dmy", "mdy", "ymd"]

_OFFSET = r"(?: ?(?:GMT|UTC)?[+-]\d{2}(?::?\d{2})?| ?(?:[Zz]|GMT|UTC))"
_COLONS = r"\d{1,2}:\d{2}(?::[0-5]\d(?:\.\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
_WELL_FORMED = (
    rf"^(?:(?:\d{{4}}(?:-\d{{1,2}}-\d{{1,2}}|\.\d{{1,2}}\.\d{{1,2}}|/\d{{1,2}}/\d{{1,2}})"
    rf"|\d{{1,2}}(?:-\d{{1,2}}-|\.\d{{1,2}}\.|/\d{{1,2}}/)\d{{4}})"
    rf"(?:[T ](?:{_COLONS}{_OFFSET}?|\d{{1,2}}[- ][AaPp][Mm]))?"
    rf"|\d{{8}}(?:[T ](?:{_COLONS}|\d{{6}}|\d{{4}}){_OFFSET}?)?)$"
)
_TRAILING_OFFSET = rf"[T ]\d{{1,2}}:?\d{{2}}.*?({_OFFSET})$"
_BELOW_MICROSECONDS = r":\d{2}\.\d{6}\d*[1-9]"
_DAY_AND_MONTH = r"^(\d{1,2})[-./](\d{1,2})[-./]"
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%3f", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p")
_EXPECTED = (
    "time is not ISO 8601, nor another form that is known; expected e.g. 2024-01-02T03:04:05Z, 2024.01.02 03:04,"
    " 31/01/2024 03:04 or seconds since 1970"
)
_DAY_FIRST = {"dmy": True, "mdy": False}


def read_written(text: pl.Series, date_order: DateOrder | None) -> tuple[pl.Series, pl.Series | None, pl.Series | None]:
    """Return clock times (naive Datetime[us]), how far they are ahead of UTC in microseconds (null where nothing is
    written; None: nowhere), and which rows are a date alone (None: none).

    text: String without nulls or blanks around. Raises UnreadableTimeError for the first row at fault.
    """
    refuse_first(text, ~text.str.contains(_WELL_FORMED), _EXPECTED)
    if text.str.contains(".", literal=True).any():
        refuse_first(text, text.str.contains(_BELOW_MICROSECONDS), "time is finer than a microsecond")
    clock, east_us = _without_offsets(text)
    local = _parsed(_with_plain_halves_of_day(clock), _day_first(text, date_order))
    refuse_first(text, local.is_null(), "there is no such date or time of day" + _as_read(text, date_order))
    is_bare_date = clock.str.len_bytes() <= len("2024-01-02")
    return local, east_us, is_bare_date if is_bare_date.any() else None


def _without_offsets(text: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Split off the offsets: text without them, and what they say in microseconds."""
    if text.str.ends_with("Z").all():
        return text.str.strip_suffix("Z"), pl.repeat(0, text.len(), dtype=pl.Int64, eager=True)
    offset = text.str.extract(_TRAILING_OFFSET)
    if offset.null_count() == text.len():
        return text, None
    # A date's own end, as in 2024-01-02, reads like an offset: only rows with a time of day have one.
    clock = text.str.replace(rf"{_OFFSET}$", "").zip_with(offset.is_not_null(), text)
    return clock, _offset_us(text, offset)


def _day_first(text: pl.Series, date_order: DateOrder | None) -> bool | None:
    """Return whether the day stands before the month in dates that end with their year; None where there are none."""
    year_last = text.str.contains(_DAY_AND_MONTH)
    if not year_last.any():
        return None
    if date_order == "ymd":
        refuse_first(text, year_last, "the year does not stand first, as --date-order ymd says")
    if date_order is not None:
        return _DAY_FIRST[date_order]
    first, second = (text.str.extract(_DAY_AND_MONTH, group).cast(pl.Int32) for group in (1, 2))
    if (first > 12).any():
        return True
    if (second > 12).any():
        return False
    row = int(year_last.arg_true()[0])
    raise DayInDoubtError(
        row,
        text[row],
        "day and month are in doubt, for no day in the file is above 12; say which stands first:"
        " --date-order dmy or --date-order mdy",
    )


def _as_read(text: pl.Series, date_order: DateOrder | None) -> str:
    """Say how day and month were told apart, for a message about a date that then does not exist."""
    day_first = _day_first(text, date_order)
    if day_first is None:
        return ""
    order = "dmy" if day_first else "mdy"
    return f" (read as {order}, as {'--date-order says' if date_order else 'other rows of the file ask for'})"


def _parsed(clock: pl.Series, day_first: bool | None) -> pl.Series:
    """Text to naive Datetime[us], null where no format fits; those of the first row are tried first."""
    if clock.len() == 0:
        return clock.cast(pl.Datetime("us"))
    first = clock.head(1)
    formats = _formats(day_first)
    fitting = [each for each in formats if first.str.to_datetime(each, time_unit="us", strict=False).null_count() == 0]
    result: pl.Series | None = None
    for each in dict.fromkeys([*fitting, *formats]):
        parsed = clock.str.to_datetime(each, time_unit="us", strict=False)
        result = parsed if result is None else result.zip_with(result.is_not_null(), parsed)
        if result.null_count() == 0:
            break
    assert result is not None
    return result


def _formats(day_first: bool | None) -> list[str]:
    separated = ["%Y-%m-%d", "%Y.%m.%d", "%Y/%m/%d"]
    if day_first is not None:
        separated += [each.join(["%d", "%m", "%Y"] if day_first else ["%m", "%d", "%Y"]) for each in "-./"]
    dates = [*separated, "%Y%m%d"]
    times = [each + clock for clock in _CLOCKS for each in "T "]
    compact = [f"%Y%m%d{each}{clock}" for clock in ("%H%M%S", "%H%M") for each in "T "]
    return [*(date + time for time in times for date in dates), *compact, *dates]


def _with_plain_halves_of_day(clock: pl.Series) -> pl.Series:
    """Write `3:04pm` and `03-PM` as `3:04 PM`, the one way that is parsed."""
    halves = r"(?i)[ -]?([ap])\.?m\.?$"
    if not clock.str.contains(halves).any():
        return clock
    marked = clock.str.replace(halves, " ${1}m").str.replace(r"(?i)([T ]\d{1,2}) ([ap]m)$", "${1}:00 ${2}")
    return marked.zip_with(clock.str.contains(halves), clock).str.to_uppercase()


def _offset_us(text: pl.Series, offset: pl.Series) -> pl.Series:
    minutes = {each: _offset_minutes(each) for each in offset.drop_nulls().unique().to_list()}
    wrong = [each for each, value in minutes.items() if value is None]
    refuse_first(text, offset.is_in(wrong).fill_null(value=False), "the offset is not a time of day")
    by_text = {each: value * 60_000_000 for each, value in minutes.items() if value is not None}
    return offset.replace_strict(by_text, return_dtype=pl.Int64)


def _offset_minutes(offset: str) -> int | None:
    """Minutes east of UTC; None when it is no offset that exists (beyond 15 hours, or 60 minutes and more)."""
    written = re.search(r"([+-])(\d{2}):?(\d{2})?$", offset)
    if written is None:
        return 0
    hours, minutes = int(written[2]), int(written[3] or 0)
    if hours > 15 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if written[1] == "-" else 1)
