"""JSON text in and out: tolerant decoding, canonical encoding, UTC instants, and how a value is quoted in a message.

Apart because Python's decoder drops repeated keys, stops at long integers and overflows the stack, and its encoder
writes NaN.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Objects and arrays inside each other; deeper text is refused, well before any recursion limit."""


class JsonTextError(ValueError):
    """The text is not JSON, or nested deeper than MAX_DEPTH; str() says which."""


@dataclass(frozen=True, slots=True)
class OversizedInteger:
    """An integer literal longer than Python converts, kept as written so that its field can be refused by name."""

    literal: str


@dataclass(frozen=True, slots=True)
class DecodedJson:
    """A JSON value and the keys that stood twice in an object of it, dotted from the top; the last of each is kept."""

    value: Any
    repeated_keys: tuple[str, ...]


def decode_json(text: str) -> DecodedJson:
    """Decode one JSON value. NaN, Infinity and numbers beyond float become floats, long integers `OversizedInteger`.

    Raises JsonTextError and nothing else.
    """
    collector = _ObjectCollector()
    try:
        try:
            value = json.loads(text, object_pairs_hook=collector.collect)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than sys.get_int_max_str_digits()
            value = json.loads(text, object_pairs_hook=collector.collect, parse_int=_parse_integer)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise JsonTextError(f"nested deeper than {MAX_DEPTH} levels") from error
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise JsonTextError(f"nested deeper than {MAX_DEPTH} levels")
    return DecodedJson(value, tuple(_repeated_keys(value)) if collector.found_repeated else ())


def strict_json(text: str) -> Any:
    """Decode one JSON value of which nothing is made up or lost: no key stands twice, every number is finite.

    Raises JsonTextError and nothing else.
    """
    decoded = decode_json(text)
    if decoded.repeated_keys:
        raise JsonTextError(f"key '{decoded.repeated_keys[0]}' is there twice")
    holders: list[Any] = [[decoded.value]]
    while holders:
        holder = holders.pop()
        for item in holder.values() if isinstance(holder, dict) else holder:
            kind = type(item)
            if kind is dict or kind is list:
                holders.append(item)
            elif kind is OversizedInteger or (kind is float and not math.isfinite(item)):
                raise JsonTextError(f"{shown(item)} is not a JSON number")
    return decoded.value


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: keys sorted, no spaces, ASCII only.

    NUL, lone surrogates, NaN and infinities come out as ASCII text, so it can be hashed and stored whatever was sent.
    """
    return _CANONICAL.encode(value)


def utc_text(instant: datetime) -> str:
    """ISO 8601 in UTC with Z; microseconds only when there are any. The instant must carry an offset."""
    if instant.tzinfo is None:
        raise ValueError("an instant without an offset has no UTC text")
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Read ISO 8601 date and time with an offset, as UTC. Raises ValueError with a message for people.

    Accepted: YYYY-MM-DD, then T or a space, HH:MM with optional seconds and fraction, then Z, +HH:MM, +HHMM or +HH. A
    fraction finer than a microsecond is refused rather than cut off.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        if _NAIVE_INSTANT.fullmatch(text):
            raise ValueError("must carry an offset, such as Z or +00:00")
        raise ValueError("must be an ISO 8601 date and time with an offset, such as 2024-01-31T00:00:00Z")
    fraction = found["fraction"] or ""
    if fraction[6:].strip("0"):
        raise ValueError("must not be finer than a microsecond")
    offset = timedelta(hours=int(found["offset_hours"] or 0), minutes=int(found["offset_minutes"] or 0))
    try:
        local = datetime.fromisoformat(f"{found['date']}T{found['minute']}:{found['second'] or '00'}+00:00")
        local = local.replace(microsecond=int(fraction[:6].ljust(6, "0")))
        instant = local + offset if found["sign"] == "-" else local - offset
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a date and time that exists") from error
    if instant in _ENDS_OF_THE_CALENDAR:
        raise ValueError("must not be the calendar's first or last moment")  # drivers take these for infinities
    return instant


def shown(value: Any, max_characters: int = 60) -> str:
    """A value as quoted in a message: printable, one line, bounded."""
    match value:
        case str():
            text = f"'{printable(value[: max_characters + 1])}'"
        case OversizedInteger():
            text = value.literal
        case dict():
            return "an object"
        case list():
            return "a list"
        case datetime() if value.tzinfo is not None:
            text = utc_text(value)
        case None | bool() | int() | float():
            text = canonical_json(value)
        case _:
            text = type(value).__name__
    return text if len(text) <= max_characters else f"{text[: max_characters - 3]}..."


def printable(text: str) -> str:
    """The text with everything unprintable (NUL, lone surrogates, line ends) written as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def why_unusable(value: Any) -> Iterator[tuple[str, str]]:
    """Every place in a JSON value that no column and no event can hold, as (dotted path, message); "" is itself.

    Refused: NaN and infinities, integers beyond 64 bits, NUL and lone surrogates in text and in keys, anything that is
    not JSON.
    """
    if _is_usable(value):
        return
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, item = pending.pop()
        message = _why_unusable_alone(item)
        if message is not None:
            yield path, message
        if isinstance(item, dict | list | tuple):
            pending.extend((_joined(path, name), member) for name, member in reversed(_members(item)))


def why_unusable_text(text: str) -> str | None:
    """Why Postgres or UTF-8 could not hold the text; None when they can."""
    if "\0" in text:
        return "must not contain NUL"
    if not text.isascii() and _SURROGATE.search(text):
        return "must not contain half of a surrogate pair"
    return None


def storable(text: str) -> str:
    """The text with what Postgres or UTF-8 could not hold (NUL, half of a surrogate pair) written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def shown_key(key: Any) -> str:
    """An object's key as part of a dotted field name: printable and bounded."""
    text = printable(key[:81]) if isinstance(key, str) else shown(key)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _RepeatedKeys(dict[str, Any]):
    """An object in which keys stood more than once; the last one counts."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.repeated: dict[str, None] = {}
        for key, _ in pairs:
            if key in seen:
                self.repeated[key] = None
            seen.add(key)


class _ObjectCollector:
    """Builds objects while decoding and notices repeated keys."""

    __slots__ = ("found_repeated",)

    def __init__(self) -> None:
        self.found_repeated = False

    def collect(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) == len(pairs):
            return built
        self.found_repeated = True
        return _RepeatedKeys(pairs)


def _is_usable(value: Any) -> bool:
    """Whether nothing is wrong: mostly so, and then no paths need to be made."""
    holders: list[Any] = [(value,)]
    while holders:
        holder = holders.pop()
        if isinstance(holder, dict):
            if _why_unusable_alone(holder) is not None:
                return False
            holder = holder.values()
        for item in holder:
            kind = type(item)
            if kind is float:
                if not math.isfinite(item):
                    return False
            elif kind is dict or kind is list or kind is tuple:
                holders.append(item)
            elif _why_unusable_alone(item) is not None:
                return False
    return True


def _why_unusable_alone(item: Any) -> str | None:
    """Why a value cannot be held, whatever its members are."""
    match item:
        case None | bool() | list() | tuple():
            return None
        case str():
            return why_unusable_text(item)
        case float():
            return None if math.isfinite(item) else f"must be a finite number, is {shown(item)}"
        case int() if -(2**63) <= item < 2**63:
            return None
        case int() | OversizedInteger():
            return "must be an integer of at most 64 bits"
        case dict():
            if all(isinstance(key, str) for key in item) and why_unusable_text("".join(item)) is None:
                return None
            return "must have names of text without NUL or lone surrogates"
        case _:
            return "must be a JSON value"


def _members(value: Any) -> list[tuple[str, Any]]:
    """Names and values directly inside an object or array; of anything else, none."""
    match value:
        case dict():
            return [(shown_key(key), member) for key, member in value.items()]
        case list() | tuple():
            return [(str(index), member) for index, member in enumerate(value)]
        case _:
            return []


def _parse_integer(literal: str) -> int | OversizedInteger:
    try:
        return int(literal)
    except ValueError:
        return OversizedInteger(literal)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [member for holder in level for _, member in _members(holder) if isinstance(member, dict | list)]
        if not level:
            return False
    return True


def _repeated_keys(value: Any) -> Iterator[str]:
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, _RepeatedKeys):
            yield from (_joined(path, shown_key(key)) for key in item.repeated)
        pending.extend((_joined(path, name), member) for name, member in reversed(_members(item)))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _encode_other(value: Any) -> Mapping[str, str] | str:
    match value:
        case OversizedInteger(literal):
            return {"integer": literal}
        case datetime():
            return utc_text(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")


_CANONICAL = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=_encode_other)
_ENDS_OF_THE_CALENDAR = frozenset(moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))  # noqa: DTZ901 - UTC
_SURROGATE = re.compile("[\ud800-\udfff]")
# [0-9], since \d takes digits of every script.
_NAIVE_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,12})?)?")
_INSTANT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<minute>(?:[01][0-9]|2[0-3]):[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,12}))?)?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<offset_hours>[01][0-9]|2[0-3])(?::?(?P<offset_minutes>[0-5][0-9]))?)"
)
