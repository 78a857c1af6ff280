"""A text cut into numbers, names, texts and signs, each with its column; what is none of them is refused here."""

import keyword
import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_LONGEST_SHOWN: Final = 40
"""Characters of a text in a message."""


class ExpressionError(Exception):
    """The text is no expression. column: of what is wrong, in characters from 1."""

    def __init__(self, column: int, message: str) -> None:
        self.column = column
        super().__init__(f"column {column}: {message}")


class Token(NamedTuple):
    """kind: number, name, text, operator or end."""

    kind: str
    text: str
    column: int


_DIGITS: Final = "[0-9](?:_?[0-9])*"
_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t\r\n\f]+)
    | (?P<number> 0[xX](?:_?[0-9a-fA-F])+ | 0[oO](?:_?[0-7])+ | 0[bB](?:_?[01])+
                | (?:{_DIGITS}\.?(?:{_DIGITS})? | \.{_DIGITS})(?:[eE][+-]?{_DIGITS})?)
    | (?P<name>[^\W\d]\w*)
    | (?P<text>"[^"\\\r\n]*"|'[^'\\\r\n]*')
    | (?P<foreign>\*\*|//|<<|>>|->|:=|<>)
    | (?P<operator><=|>=|==|!=|[-+*/%<>()\[\],])
    | (?P<stranger>.)""",
    re.VERBOSE | re.DOTALL,
)
_STRANGERS: Final = {
    ".": "an attribute is not part of an expression",
    "=": "'=' is not part of an expression: compare with '==', and name no arguments",
    '"': "a text ends where it began, on its line and without a backslash",
    "'": "a text ends where it began, on its line and without a backslash",
}
_WORDS: Final = frozenset({"and", "or", "not"})


def tokens(text: str) -> Iterator[Token]:
    """Yield what the text is made of, an end last."""
    for match in _TOKEN.finditer(text):
        kind, found, column = str(match.lastgroup), match.group(), match.start() + 1
        if kind == "space":
            continue
        if kind == "stranger":
            why = _STRANGERS.get(found)
            near = (
                f"{shown(found)} is not part of an expression"
                if why is None
                else f"{why}, near {shown(text[column - 1 :])}"
            )
            raise ExpressionError(column, near)
        if kind == "foreign" or (kind == "name" and keyword.iskeyword(found) and found not in _WORDS):
            raise ExpressionError(column, f"{found!r} is not part of an expression")
        if kind == "name" and not found.isidentifier():
            raise ExpressionError(column, f"{shown(found)} is no name")
        if kind == "number" and re.match(r"[\w.]", text[match.end() : match.end() + 1]):
            raise ExpressionError(column, f"a number ends before {shown(text[match.end() :])}")
        yield Token("operator" if found in _WORDS else kind, found, column)
    yield Token("end", "", len(text) + 1)


def number_of(token: Token) -> float:
    """Return a number's value. Raises ExpressionError where Python has no such number, or a double none so large."""
    text = token.text
    is_whole = text[:2].lower() in ("0x", "0o", "0b") or text.replace("_", "").isdigit()
    try:
        value = float(int(text, 0) if is_whole else float(text))
    except OverflowError:
        value = math.inf
    except ValueError:  # a zero before other digits, as in Python, or more digits than it reads
        if text.startswith("0"):
            raise ExpressionError(token.column, f"{shown(text)} is no number") from None
        value = math.inf
    if not math.isfinite(value):
        raise ExpressionError(token.column, f"{shown(text)} is too large")
    return value


def shown(text: str) -> str:
    """Return a text as messages quote it."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "...")
