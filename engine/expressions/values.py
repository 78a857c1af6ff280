"""What stands in a document beside expressions: names and numbers, and how messages show what is neither."""

import json
import math
import sys
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from keyword import iskeyword
from typing import Any, Final

from engine.expressions.functions import COLUMNS
from engine.expressions.tokens import shown

LONGEST_NAME: Final = 100
"""Characters."""
MOST_GUESSES: Final = 20
"""Of one document: with more mistakes nobody reads what was meant by each."""
_LONGEST_GUESSED, _MOST_GUESSED_AMONG = 60, 1_000


def name_problem(name: Any) -> str | None:
    """Say why something cannot be the name of a param or an indicator; None where it can."""
    if not isinstance(name, str) or not name.isidentifier() or len(name) > LONGEST_NAME:
        return f"is no name: letters, digits and _, not beginning with a digit, at most {LONGEST_NAME}"
    if iskeyword(name):
        return "is a word of the language"
    if name in COLUMNS:
        return "is what the bars have under that name"
    return None


def finite(value: Any) -> float | None:
    """Return a number of JSON or TOML as a double; None for what is none, infinite or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain(value: float) -> int | float:
    """Return a double as JSON says it: whole where it is."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def shown_value(value: Any) -> str:
    """Return a value as messages quote it: of bounded length."""
    if isinstance(value, str):
        return shown(value)
    if value is None or isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 1e20 else "a number of so many digits"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else type(value).__name__


def cut(name: Any) -> str:
    """Return a name as a field's part of a message: of bounded length."""
    text = str(name)
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "..."


def meant(name: Any, known: Collection[str]) -> str:
    """Advise the nearest of the known names. Among short and not too many names only: looking takes its time."""
    if not isinstance(name, str) or len(name) > _LONGEST_GUESSED or len(known) > _MOST_GUESSED_AMONG:
        return ""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def size_of(document: Mapping[str, Any]) -> int:
    """Return the bytes of a document as JSON, or of as much of it as JSON can say."""
    encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
    try:
        return len(encode(dict(document)).encode("utf-8", "surrogatepass"))
    except (RecursionError, ValueError, TypeError):
        return sys.maxsize
