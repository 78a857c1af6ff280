"""A table as use cases return it: its columns, its rows in parts, and what is said of it as a whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """columns: of each part, in order. parts: may be gone through once, while what they are read from is open. said: of
    the whole, JSON values by name.
    """

    columns: tuple[str, ...]
    parts: Iterator[pl.DataFrame]
    said: Mapping[str, Any] = field(default_factory=dict)


def one_part(frame: pl.DataFrame, **said: Any) -> Table:
    return Table(tuple(frame.columns), iter([frame]), said)
