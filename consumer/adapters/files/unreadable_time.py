"""The one way in which reading a time fails, for every module that reads some."""

import polars as pl


class UnreadableTimeError(Exception):
    """A time that cannot be read. row_index: from 0; written: the text as it stands, "" if missing."""

    def __init__(self, row_index: int, written: str, what: str) -> None:
        self.row_index = row_index
        self.written = written
        self.what = what
        super().__init__(f"{written}: {what}" if written else what)


class DayInDoubtError(UnreadableTimeError):
    """A date whose day and month cannot be told apart. What is said is for files: options have no date order."""


def refuse_first(written: pl.Series, wrong: pl.Series, what: str) -> None:
    """Raise for the first row that is wrong, if any is."""
    if wrong.any():
        row = int(wrong.arg_true()[0])
        value = written[row]
        raise UnreadableTimeError(row, "" if value is None else str(value), what)
