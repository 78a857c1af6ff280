"""The compiled part of `csv_rows`: numbers, moments and texts of many rows into one buffer."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.compiled import compiled

FLOAT, INTEGER, TIME, TEXT = range(4)
"""Kinds of columns."""

_POWERS: Final = 10.0 ** np.arange(16)
_WHOLE_POWERS: Final = np.uint64(10) ** np.arange(20, dtype=np.uint64)
_TEN: Final = np.uint64(10)
_COMMA, _LINE, _MINUS, _PLUS, _POINT, _ZERO, _COLON, _SPACE, _T, _Z = (np.uint8(ord(each)) for each in ",\n-+.0: TZ")
_EXACT: Final = 1e15
"""Decimals of up to 15 digits and doubles stand for each other one to one."""
_SMALLEST: Final = 1e-5
"""Below it polars writes powers of ten."""
_DAY_US: Final = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, from 1970 on."""


@compiled
def render(
    kinds: NDArray[np.int64],
    floats: NDArray[np.float64],
    integers: NDArray[np.int64],
    texts: NDArray[np.uint8],
    begins: NDArray[np.int64],
    as_sql: bool,
    first: int,
    end: int,
    out: NDArray[np.uint8],
) -> int:
    """Fill `out`, which is large enough, with some rows, and return how far; -1 where a value is not rendered here."""
    at = 0
    hints = np.zeros(floats.shape[0], np.int64)
    for row in range(first, end):
        a_float, an_integer = 0, 0
        for kind in kinds:
            if kind == FLOAT:
                at, hints[a_float] = _put_float(floats[a_float, row], hints[a_float], out, at)
                a_float += 1
            else:
                value = integers[an_integer, row]
                an_integer += 1
                if kind == TEXT:
                    for place in range(begins[value], begins[value + 1]):
                        out[at] = texts[place]
                        at += 1
                elif kind == TIME:
                    at = _put_time(value, as_sql, out, at)
                else:
                    if value < 0:
                        out[at] = _MINUS
                        at += 1
                    at = _put_whole(np.uint64(abs(value)), out, at)
            if at < 0:
                return -1
            out[at] = _COMMA
            at += 1
        out[at - 1] = _LINE
    return at


@compiled
def _put_float(value: float, hint: int, out: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Write the shortest decimal that reads back as the value, nothing for NaN. hint: decimals of the one before.

    Returns where the text ends, -1 for a value that has too many digits, and how many decimals it has.
    """
    if np.isnan(value):
        return at, hint
    size = abs(value)
    if (size == 0.0 and np.signbit(value)) or (size != 0.0 and not _SMALLEST <= size < _EXACT):
        return -1, hint
    decimals = _decimals_of(size, hint)
    if decimals < 0:
        return -1, hint
    if value < 0.0:
        out[at] = _MINUS
        at += 1
    scale = _WHOLE_POWERS[decimals]
    digits = np.uint64(np.rint(size * _POWERS[decimals]))
    whole = digits // scale
    at = _put_whole(whole, out, at)
    out[at] = _POINT
    shown = max(decimals, 1)
    _put_digits(digits - whole * scale, shown, out, at + 1)
    at += 1 + shown
    while out[at - 1] == _ZERO and out[at - 2] != _POINT:
        at -= 1
    return at, decimals


@compiled
def _decimals_of(size: float, hint: int) -> int:
    """Return with how many decimals, as many as the hint or else as few as can be, a number reads back; -1: too many.

    A whole number below 1e15 over a power of ten is rounded once, as whoever reads the decimal rounds; and no two
    decimals of up to 15 digits are the same double. So one that gives the number back is the shortest, but for zeros.
    """
    whole = np.rint(size * _POWERS[hint])
    if whole < _EXACT and whole / _POWERS[hint] == size:
        return hint
    for decimals in range(_POWERS.size):
        whole = np.rint(size * _POWERS[decimals])
        if whole >= _EXACT:
            return -1
        if whole / _POWERS[decimals] == size:
            return decimals
    return -1


@compiled
def _put_whole(value: np.uint64, out: NDArray[np.uint8], at: int) -> int:
    length = 1
    while length < _WHOLE_POWERS.size and value >= _WHOLE_POWERS[length]:
        length += 1
    _put_digits(value, length, out, at)
    return at + length


@compiled
def _put_digits(value: np.uint64, length: int, out: NDArray[np.uint8], at: int) -> None:
    """Write a number with leading zeros."""
    for place in range(at + length - 1, at - 1, -1):
        rest = value // _TEN
        out[place] = _ZERO + np.uint8(value - rest * _TEN)
        value = rest


@compiled
def _put_time(time_us: int, as_sql: bool, out: NDArray[np.uint8], at: int) -> int:
    """Write a moment, microseconds since 1970 UTC; -1 outside the years 1 to 9999."""
    days = time_us // _DAY_US
    if not _FIRST_DAY <= days <= _LAST_DAY:
        return -1
    # Years that begin in March, so that the leap day is a year's last; 400 of them have always as many days.
    of_era = days + 719_468
    era, day = of_era // 146_097, of_era % 146_097
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += era * 400 + (month >= 10)
    micros = np.uint64(time_us - days * _DAY_US)
    seconds = micros // np.uint64(1_000_000)
    minutes = seconds // np.uint64(60)
    hours = minutes // np.uint64(60)
    micros -= seconds * np.uint64(1_000_000)
    _put_digits(np.uint64(year), 4, out, at)
    _put_digits(np.uint64(month - 9 if month >= 10 else month + 3), 2, out, at + 5)
    _put_digits(np.uint64(day + 1), 2, out, at + 8)
    _put_digits(hours, 2, out, at + 11)
    _put_digits(minutes - hours * np.uint64(60), 2, out, at + 14)
    _put_digits(seconds - minutes * np.uint64(60), 2, out, at + 17)
    out[at + 4] = out[at + 7] = _MINUS
    out[at + 10] = _SPACE if as_sql else _T
    out[at + 13] = out[at + 16] = _COLON
    at += 19
    if as_sql or micros:
        out[at] = _POINT
        _put_digits(micros, 6, out, at + 1)
        at += 7
    if not as_sql:
        out[at] = _Z
        return at + 1
    out[at], out[at + 1], out[at + 2] = _PLUS, _ZERO, _ZERO
    return at + 3
