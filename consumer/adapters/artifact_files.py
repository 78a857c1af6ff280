"""What a run leaves behind in files: its tables under the run's epoch, and its bars once for all runs that share them.

    <root>/runs/<run_id>/<epoch>/<table>.parquet
    <root>/bars/<digest>.csv

A run's epoch has its own folder, so a fenced worker never writes over the winner's files. Tables are Parquet, whose
footer comes last: a torn one does not open. The CSV has no such mark and outlives power cuts and runs, so it is
synced to disk before it gets its name.
"""

import hashlib
from collections.abc import Mapping
from io import BytesIO

import polars as pl

from consumer.adapters.file_store import FileStoreError, open_file_store
from consumer.errors import ArtifactsUnavailable

BAR_COLUMNS = ("time", "open", "high", "low", "close", "volume")


class ArtifactFiles:
    """Writes artefacts below one root: a path, a file:// URL or an object store's URL."""

    def __init__(self, url: str) -> None:
        try:
            self._files = open_file_store(url)
        except FileStoreError as error:
            raise ArtifactsUnavailable(str(error)) from error

    def save_run(self, run_id: int, epoch: int, tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
        """Write the tables of one attempt and return name -> path or URL. Writing again replaces. Raises
        ArtifactsUnavailable; what was written until then stays, under whole files only."""
        return {
            name: self._write(f"runs/{run_id}/{epoch}/{name}.parquet", _parquet(table))
            for name, table in tables.items()
        }

    def save_bars(self, bars: pl.DataFrame) -> str:
        """Write bars as CSV under the digest of their values, unless they are there, and return the path or URL.

        bars: columns of BAR_COLUMNS (time Datetime us UTC, the others Float64), cut to start <= time < end
        already. Idempotent, also among processes. Raises ArtifactsUnavailable.
        """
        table = bars.select(BAR_COLUMNS)
        name = f"bars/{bars_digest(table)}.csv"
        try:
            if not self._files.exists(name):
                self._files.write(name, _csv(table), durable=True)
        except FileStoreError as error:
            raise ArtifactsUnavailable(str(error)) from error
        return self._files.location(name)

    def _write(self, name: str, content: bytes) -> str:
        try:
            self._files.write(name, content, durable=False)
        except FileStoreError as error:
            raise ArtifactsUnavailable(str(error)) from error
        return self._files.location(name)


def bars_digest(table: pl.DataFrame) -> str:
    """SHA-256 over the values: times as int64 microseconds, then each column as float64."""
    digest = hashlib.sha256(f"bars 1 {table.height}".encode())
    digest.update(table["time"].to_physical().to_numpy().astype("<i8", copy=False).tobytes())
    for name in BAR_COLUMNS[1:]:
        digest.update(table[name].to_numpy().astype("<f8", copy=False).tobytes())
    return digest.hexdigest()


def _csv(table: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    table.with_columns(iso_text("time")).write_csv(buffer)
    return buffer.getvalue()


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    # lz4 costs half the CPU of zstd; a small run spends more on writing than on simulating.
    table.write_parquet(buffer, compression="lz4", statistics=False)
    return buffer.getvalue()


def iso_text(column: str) -> pl.Expr:
    """A UTC time column as ISO 8601 with Z; microseconds only where there are any."""
    time = pl.col(column)
    whole = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pl.when(time.dt.microsecond() == 0).then(whole).otherwise(time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
