"""A run's trades to a file that a person names: CSV or Parquet, by its extension."""

from io import BytesIO
from pathlib import Path

import polars as pl

from consumer.adapters.artifact_files import iso_text
from consumer.adapters.file_store import FileStoreError, LocalFiles
from consumer.errors import ArtifactsUnavailable
from engine.errors import InputRefused

_SUFFIXES = (".csv", ".parquet")


def check_trade_path(path: Path) -> None:
    """Refuse a path that `write_trades` could not write to, before a run is spent on it."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputRefused(f"{path}: trades are written as {' or '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputRefused(f"{path}: there is no directory {path.parent}")


def write_trades(trades: pl.DataFrame, path: Path) -> None:
    """Write trades whole or not at all. CSV: a header also without rows, times ISO 8601 with Z, NULL empty, floats as
    their shortest text that reads back as the same double. Raises ArtifactsUnavailable when the place takes no more."""
    buffer = BytesIO()
    if path.suffix.lower() == ".parquet":
        trades.write_parquet(buffer)
    else:
        times = [name for name, dtype in trades.schema.items() if isinstance(dtype, pl.Datetime)]
        trades.with_columns(iso_text(name).alias(name) for name in times).write_csv(buffer)
    try:
        LocalFiles(path.parent).write(path.name, buffer.getvalue(), durable=False)
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error
