"""How command line values are read, one function a kind; apart because several commands share them.

Each raises typer.BadParameter, which names the option: `Invalid value for '--spread-pips': ...`, exit status 2.
"""

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import typer

from consumer.wiring.times import DayInDoubtError, UnreadableTimeError, bar_formats, one_utc_time
from engine.errors import InputRefused, UnknownTimeframe
from engine.market.timeframes import Timeframe, timeframe
from engine.market.zones import UnknownZoneError, zone_named
from schemas.json_text import JsonTextError, strict_json

FAR_FUTURE: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Until when all stored bars are asked for."""


def at_least_zero(value: float | None) -> float | None:
    """A finite number >= 0."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value} is not a finite number of at least 0.")
    return value


def above_zero(value: float | None) -> float | None:
    """A finite number > 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a finite number above 0.")
    return value


def ratio(value: float | None) -> float | None:
    """A number from 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1.")
    return value


def fraction_above_zero(value: float | None) -> float | None:
    """A number above 0, at most 1."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value} is not a fraction above 0 and at most 1 (0.01 is 1 %).")
    return value


def utc_moment(text: str | None, option: str) -> datetime | None:
    """A date or a time in ISO 8601; without an offset it is UTC."""
    if text is None:
        return None
    try:
        moment: datetime = one_utc_time(text)[0]
    except DayInDoubtError as bad:
        first, second, year = re.split("[-./]", re.split("[T ]", bad.written)[0])
        either = f"{year}-{second:0>2}-{first:0>2} or {year}-{first:0>2}-{second:0>2}"
        what = f"{text!r}: day and month are in doubt; write {either} (year first)"
        raise typer.BadParameter(what, param_hint=f"'{option}'") from None
    except UnreadableTimeError as bad:
        raise typer.BadParameter(f"{text!r}: {bad.what}", param_hint=f"'{option}'") from None
    return moment


def zone_name(name: str) -> str:
    """A zone as `zone_named` takes it."""
    try:
        zone_named(name)
    except UnknownZoneError as error:
        raise typer.BadParameter(str(error)) from None
    return name


def format_name(name: str | None) -> str | None:
    """A format of files of bars."""
    if name is None:
        return None
    formats = bar_formats()
    if name.lower() not in formats:
        raise typer.BadParameter(f"{name!r} is no format; there are {', '.join(formats)}.")
    return name.lower()


def known_timeframe(name: str, option: str = "--timeframe") -> Timeframe:
    """One of the engine's timeframes."""
    try:
        return timeframe(name)
    except UnknownTimeframe as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None


def timeframe_list(text: str, option: str) -> tuple[str, ...]:
    """`H4,D1` as names in the order given."""
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    for name in names:
        known_timeframe(name, option)
    return names


def json_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object; NaN and infinities are no JSON, and a key given twice would lose one value in silence."""
    try:
        value = strict_json(text)
    except JsonTextError as error:
        raise typer.BadParameter(f"is not JSON: {error}", param_hint=f"'{option}'") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f'must be a JSON object such as {{"fast": 10}}, not {text!r}', param_hint=f"'{option}'"
        )
    return value


def readable_file(path: Path) -> Path:
    """A file that is there, so that a mistyped one is noticed even where a run would not need it."""
    if path.is_dir():
        raise InputRefused(f"{path}: is a directory, not a file")
    if not path.is_file():
        raise InputRefused(f"{path}: there is no such file")
    return path


def existing_place(url: str) -> str:
    """A directory that is there; object stores are asked when they are read."""
    if "://" not in url and not Path(url).expanduser().is_dir():
        raise InputRefused(f"{url}: there is no such directory")
    return url


def context_file(text: str, option: str) -> tuple[str, Path]:
    """`TIMEFRAME=FILE`."""
    name, path = _named_file(text, "TIMEFRAME=FILE", option)
    return known_timeframe(name, option).name, path


def conversion_file(text: str, option: str) -> tuple[str, Timeframe | None, Path]:
    """`SYMBOL=FILE` or `SYMBOL:TIMEFRAME=FILE`."""
    name, path = _named_file(text, "SYMBOL=FILE or SYMBOL:TIMEFRAME=FILE", option)
    symbol, colon, timeframe_name = name.partition(":")
    return symbol, known_timeframe(timeframe_name, option) if colon else None, path


def _named_file(text: str, form: str, option: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not (equals and name.strip() and file.strip()):
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint=f"'{option}'")
    return name.strip(), Path(file.strip())
