"""A run's trades or ledger to a file that a person names: CSV or Parquet, by its extension; and its picture."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import polars as pl

from consumer.adapters.files.store import FileStoreError, LocalFiles
from consumer.errors import ArtifactsUnavailable
from engine.errors import InputRefused
from engine.numeric.csv_rows import iso_text

_SUFFIXES = (".csv", ".parquet")


def check_table_path(path: Path, spare: Iterable[Path | None] = ()) -> None:
    """Refuse a path that `write_table` could not write to, or that is one of the files to spare, before a run is spent
    on it.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputRefused(f"{path}: tables are written as {' or '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputRefused(f"{path}: there is no directory {path.parent}")
    if path.exists() and any(each is not None and each.exists() and path.samefile(each) for each in spare):
        raise InputRefused(f"{path}: is read by this run and would be written over")


def check_picture_path(path: Path) -> None:
    """Refuse a path that `write_picture` could not write to, before anything is spent on it."""
    if path.suffix.lower() != ".png":
        raise InputRefused(f"{path}: pictures are written as .png")
    if not path.parent.is_dir():
        raise InputRefused(f"{path}: there is no directory {path.parent}")


def write_picture(content: bytes, path: Path) -> None:
    """Write it whole or not at all. Raises ArtifactsUnavailable."""
    _write(content, path)


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table whole or not at all. CSV: a header also without rows, times ISO 8601 with Z, NULL empty, floats as
    their shortest text that reads back as the same double. Raises ArtifactsUnavailable when the place takes no more."""
    buffer = BytesIO()
    if path.suffix.lower() == ".parquet":
        table.write_parquet(buffer)
    else:
        times = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.Datetime)]
        table.with_columns(iso_text(name).alias(name) for name in times).write_csv(buffer)
    _write(buffer.getvalue(), path)


def _write(content: bytes, path: Path) -> None:
    try:
        LocalFiles(path.parent).write(path.name, content, durable=False)
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error
