"""What a run leaves behind in files: its tables under the run's epoch, and its bars once for all runs that share them.

    <root>/runs/<run_id>/<epoch>/trades.parquet, equity.parquet, ledger.arrows
    <root>/bars/<digest>.csv
    <root>/llm/<key>.json

A run's epoch has its own folder, so a fenced worker never writes over the winner's files. Tables are Parquet, whose
footer comes last: a torn one does not open. The ledger is a stream of Arrow, which costs a small run next to nothing,
and it is read seldom (`backtest report --ledger` makes it CSV or Parquet). The CSV has no such mark and outlives power
cuts and runs, so it is synced to disk before it gets its name.

Bars that no row names any more can be removed (`backtest runs prune`) while runs that may name them again are at work,
and neither knows of the other. So bars count as kept for some hours after they were written: who uses older ones writes
them anew, and none that young are removed. Whoever removes a file puts a notice beside it first and then looks at its
age; whoever saves one looks for the notice after it has been written, and whether it is still there after that. Of the
two, one sees the other.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import polars as pl

from consumer.adapters.files.short_parquet import MOST_ROWS, parquet_of
from consumer.adapters.files.store import FileStoreError, StoredFile, open_file_store
from consumer.errors import ArtifactsUnavailable
from consumer.ports.retention import BARS_KEPT_SECONDS
from engine.numeric.columns import Columns, as_frame, columns_of, height_of
from engine.numeric.csv_rows import csv_rows

LEDGER = "ledger"
BAR_COLUMNS = ("time", "open", "high", "low", "close", "volume")
"""Of the files that are written of bars."""
_HEADER = f"{','.join(BAR_COLUMNS)}\n".encode()
_BARS_PATH = re.compile(r"(?:^|/)bars/([0-9a-f]{64})\.csv$")
NOTICE_SECONDS = 600
"""A notice of removal that is older stands for nothing: who put it has given up long ago (REMOVAL_SECONDS), or died."""
REMOVAL_SECONDS = 60
"""Who has not removed a file so long after its notice gives up."""


class ArtifactFiles:
    """Artefacts below one root: a path, a file:// URL or an object store's URL. Implements `KeptFiles`, `RunFiles`."""

    def __init__(self, url: str) -> None:
        with _translated():
            self._files = open_file_store(url)

    def save_run(self, run_id: int, epoch: int, tables: Mapping[str, pl.DataFrame | Columns]) -> dict[str, str]:
        """Write the tables of one attempt and return name -> path or URL. Writing again replaces. Raises
        ArtifactsUnavailable; what was written until then stays, under whole files only."""
        files = {_file_of(name): _encoded(name, table) for name, table in tables.items()}
        with _translated():
            self._files.write_folder(_folder(run_id, epoch), files)
        return {name: self._files.location(run_file(run_id, epoch, name)) for name in tables}

    def read_ledger(self, run_id: int, epoch: int) -> pl.DataFrame:
        """The ledger of an attempt. Raises ArtifactsUnavailable."""
        with _translated():
            return pl.read_ipc_stream(BytesIO(self._files.read(run_file(run_id, epoch, LEDGER))))

    def read_equity(self, run_id: int, epoch: int) -> pl.DataFrame:
        """The equity of an attempt at every bar. Raises ArtifactsUnavailable."""
        with _translated():
            return pl.read_parquet(BytesIO(self._files.read(run_file(run_id, epoch, "equity"))))

    def save_bars(
        self, bars: pl.DataFrame, digest: str | None = None, as_csv: Callable[[], bytes | None] = lambda: None
    ) -> str:
        """Write bars as CSV under the digest of their values, unless they are there, and return the path or URL.

        bars: columns of BAR_COLUMNS (time Datetime us UTC, the others Float64), cut to start <= time < end
        already. digest: their `bars_digest`, where it is known. as_csv: their rows, where somebody has them rendered.
        Idempotent, also among processes. Raises
        ArtifactsUnavailable, also while the same bars are being removed: then they can be saved in a moment.
        """
        digest = digest or bars_digest(bars)
        name = bars_name(digest)
        with _translated():
            written_at = self._files.written_at(name)
            if written_at is None or written_at < time.time() - BARS_KEPT_SECONDS:
                rows = as_csv()
                self._files.write(name, _HEADER + (_csv(bars) if rows is None else rows), durable=True)
            if self._is_being_removed(digest) or not self._files.exists(name):
                raise ArtifactsUnavailable(f"{self._files.location(name)}: is being removed just now")
        return self._files.location(name)

    def remove_bars(self, digest: str, written_before: float) -> bool:
        """Remove the bars if they were last written before that time (seconds since 1970), and say whether they were.

        The caller vouches that no row names them, and that every run at work began BARS_KEPT_SECONDS after that time,
        or later. Raises ArtifactsUnavailable.
        """
        name, notice, began = bars_name(digest), _notice_name(digest), time.monotonic()
        with _translated():
            self._files.write(notice, b"", durable=False)
            try:
                written_at = self._files.written_at(name)
                is_old = written_at is not None and written_at < written_before
                if is_old and time.monotonic() - began < REMOVAL_SECONDS:
                    self._files.remove(name)
                    return True
                return False
            finally:
                self._files.remove(notice)

    def save_messages(self, key: str, document: bytes) -> str:
        """Keep what was asked of a language model, once a key. Raises ArtifactsUnavailable."""
        name = messages_name(key)
        with _translated():
            if not self._files.exists(name):
                self._files.write(name, document, durable=False)
        return self._files.location(name)

    def read_messages(self, key: str) -> bytes:
        """What `save_messages` kept. Raises ArtifactsUnavailable."""
        with _translated():
            return self._files.read(messages_name(key))

    def run_ids(self) -> list[int]:
        """The runs that have a folder here. Raises ArtifactsUnavailable, as all below."""
        with _translated():
            return [int(name) for name in self._files.folders("runs") if name.isdecimal()]

    def run_files(self, run_id: int) -> list[StoredFile]:
        """The files of all attempts of a run."""
        with _translated():
            epochs = self._files.folders(f"runs/{run_id}")
            return [file for epoch in epochs for file in self._files.files(f"runs/{run_id}/{epoch}")]

    def remove_run(self, run_id: int) -> None:
        """Remove the files of all attempts of a run that has ended."""
        with _translated():
            self._files.remove_folder(f"runs/{run_id}")

    @property
    def searches_location(self) -> str:
        """What the path or URL of every file of a search begins with."""
        return self._files.location("searches") + "/"

    def search_ids(self) -> list[int]:
        """The searches that have a folder here."""
        with _translated():
            return [int(name) for name in self._files.folders("searches") if name.isdecimal()]

    def search_files(self, optimization_id: int) -> list[StoredFile]:
        """The files of a search: its tables, and what its steps have left for each other."""
        folder = f"searches/{optimization_id}"
        with _translated():
            return [file for name in self._files.folders(folder) for file in self._files.files(f"{folder}/{name}")]

    def remove_search(self, optimization_id: int) -> None:
        """Remove the files of a search that has ended."""
        with _translated():
            self._files.remove_folder(f"searches/{optimization_id}")

    def bars(self) -> dict[str, StoredFile]:
        """The files of bars, by digest."""
        with _translated():
            return {digest: file for file in self._files.files("bars") if (digest := digest_named(file.name))}

    def digest_named(self, path: str) -> str | None:
        """The digest of the bars that lie at a path or URL, whatever its root; None for anything else."""
        return digest_named(path)

    @property
    def bars_location(self) -> str:
        """What the path or URL of every file of bars begins with."""
        return self._files.location("bars") + "/"

    def _is_being_removed(self, digest: str) -> bool:
        noticed_at = self._files.written_at(_notice_name(digest))
        return noticed_at is not None and noticed_at > time.time() - NOTICE_SECONDS


def run_file(run_id: int, epoch: int, table: str) -> str:
    """Where a table of a run's attempt lies below the root."""
    return f"{_folder(run_id, epoch)}/{_file_of(table)}"


def _folder(run_id: int, epoch: int) -> str:
    return f"runs/{run_id}/{epoch}"


def _file_of(table: str) -> str:
    return f"{table}.{'arrows' if table == LEDGER else 'parquet'}"


def messages_name(key: str) -> str:
    """Where what was asked under a key lies below the root."""
    return f"llm/{key}.json"


def bars_name(digest: str) -> str:
    """Where the bars of a digest lie below the root."""
    return f"bars/{digest}.csv"


def digest_named(path: str) -> str | None:
    """The digest of the bars that lie at a path or URL, whatever its root; None for anything else."""
    found = _BARS_PATH.search(path)
    return found[1] if found else None


def _notice_name(digest: str) -> str:
    return f"bars/{digest}.removing"


def bars_digest(table: pl.DataFrame) -> str:
    """SHA-256 over the values of BAR_COLUMNS: times as int64 microseconds, then each column as float64."""
    digest = hashlib.sha256(f"bars 1 {table.height}".encode())
    digest.update(table["time"].to_numpy().view(np.int64).astype("<i8", copy=False).data)
    for name in BAR_COLUMNS[1:]:
        digest.update(table[name].to_numpy().astype("<f8", copy=False).data)
    return digest.hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error


def _csv(bars: pl.DataFrame) -> bytes:
    # A query of polars takes longer than the rendering.
    return csv_rows(pl.DataFrame([bars[name] for name in BAR_COLUMNS]), "iso")


def _encoded(name: str, table: pl.DataFrame | Columns) -> bytes:
    buffer = BytesIO()
    if name == LEDGER:
        as_frame(table).write_ipc_stream(buffer)
        return buffer.getvalue()
    columns = columns_of(table) if isinstance(table, pl.DataFrame) else table
    if columns and height_of(columns) <= MOST_ROWS:
        return parquet_of(columns)
    # lz4 costs half the CPU of zstd; a small run spends more on writing than on simulating.
    as_frame(table).write_parquet(buffer, compression="lz4", statistics=False)
    return buffer.getvalue()
