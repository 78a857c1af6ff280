"""Dates that other services may have put into a run's row and that Python cannot hold: infinities, years before 1 and
beyond 9999. Reading one as it is would raise inside the driver.
"""

from typing import Final

# The first and the last moment of Python's calendar are what the driver writes as -infinity and infinity.
_READABLE: Final = (
    "CASE WHEN {column} > '0001-01-01 00:00+00' AND {column} < '9999-12-31 23:59:59.999999+00' THEN {column} END"
)


def readable_dates(columns: str) -> str:
    """A list of columns for SELECT in which start_date and end_date read as NULL where Python has no such date."""
    return ", ".join(_readable(column.strip()) for column in columns.split(","))


def _readable(column: str) -> str:
    name = column.rpartition(".")[2]
    return f"{_READABLE.format(column=column)} AS {name}" if name in {"start_date", "end_date"} else column
