"""Lines of fields to columns of text; apart because only here anything is known of encodings, separators and quotes."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from engine.errors import InputRefused

_BLANK_LINES = re.compile(rb"\n(?:[ ]*\r?\n)+")
_SEPARATORS = "\t;,"
"""The likeliest first where a line has as many of two: a decimal comma is none."""
_LINES_LOOKED_AT = 8
_CHARACTERS_LOOKED_AT = 10_000


@dataclass(frozen=True)
class TextTable:
    """A file of lines. content: UTF-8 without blank lines. encoding: what it was written in."""

    source: str
    content: bytes
    separator: str
    encoding: str
    packed_with: tuple[str, ...]

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The first few lines, as written; of endless ones the beginning."""
        end = 0
        for _ in range(_LINES_LOOKED_AT):
            found = self.content.find(b"\n", end)
            end = len(self.content) if found < 0 else found + 1
        return tuple(line[:_CHARACTERS_LOOKED_AT] for line in self.content[:end].decode().splitlines())

    @cached_property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Their fields."""
        return tuple(tuple(row) for row in csv.reader(self.lines, delimiter=self.separator))

    @property
    def first_line(self) -> str:
        return self.lines[0].strip()

    @cached_property
    def may_hold_decimal_commas(self) -> bool:
        """Whether a field can have a comma in it."""
        return self.separator != "," or b'"' in self.content

    def rows(self, names: Sequence[str], *, skipped_lines: int, refused: type[InputRefused]) -> pl.DataFrame:
        """Return the rows behind the skipped lines under these names, all String, nulls where empty.

        A name that is there twice gets its place behind it. Raises `refused` for a row of more fields than names.
        """
        unique = [name if name not in names[:at] else f"{name} {at + 1}" for at, name in enumerate(names)]
        try:
            return pl.read_csv(
                self.content,
                has_header=False,
                separator=self.separator,
                skip_lines=skipped_lines,
                schema=dict.fromkeys(unique, pl.String),
            )
        except pl.exceptions.NoDataError:
            return pl.DataFrame(schema=dict.fromkeys(unique, pl.String))
        except pl.exceptions.PolarsError as error:
            self._refuse_ragged(len(unique), skipped_lines, refused)
            line = str(error).strip().partition("\n")[0].strip()
            raise refused(f"{self.source}: is not a CSV file that can be read: {line}") from error

    def _refuse_ragged(self, wanted: int, skipped_lines: int, refused: type[InputRefused]) -> None:
        """Name the first row with more fields than the header; polars names none."""
        separator = self.separator.encode()
        for index, row in enumerate(self.content.splitlines()[skipped_lines:]):
            found = row.count(separator) + 1
            if found > wanted and b'"' not in row:
                time = row.split(separator)[0].decode()
                have = "the header has" if skipped_lines else "those before it have"
                raise refused(f"{self.source}: row {index + 1} (time {time}): has {found} fields, {have} {wanted}")


def text_table(content: bytes, source: str, refused: type[InputRefused], packed_with: tuple[str, ...]) -> TextTable:
    """Open a text. Raises `refused` when it is none, or empty."""
    encoding = _encoding(content)
    content = _as_utf8(content, encoding, source, refused)
    if not content:
        raise refused(f"{source}: the file is empty")
    table = TextTable(source, content, ",", encoding.removesuffix("-sig").upper(), packed_with)
    return TextTable(source, content, _separator(table.lines), table.encoding, packed_with)


def _encoding(content: bytes) -> str:
    """MetaTrader writes UTF-16 with a byte order mark; spreadsheets write UTF-8 with one."""
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" and len(content) > 1 else "utf-8-sig"


def _as_utf8(content: bytes, encoding: str, source: str, refused: type[InputRefused]) -> bytes:
    if encoding != "utf-8-sig" or not content.isascii():
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise refused(f"{source}: is not text in UTF-8 or UTF-16: byte {error.start}") from None
    if b"\0" in content:
        raise refused(f"{source}: is not a text file (it holds a NUL character)")
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    return _BLANK_LINES.sub(b"\n", content.lstrip(b"\r\n "))


def _separator(lines: Sequence[str]) -> str:
    """The one that the first line uses most, or the second where the first has none."""
    for line in lines[:2]:
        most = max(_SEPARATORS, key=line.count)
        if most in line:
            return most
    return ","
