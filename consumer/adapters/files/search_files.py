"""What a search leaves in files: its steps' parts, and in the end two tables.

<root>/searches/<id>/parts/<shard>-<epoch>.parquet
<root>/searches/<id>/<epoch>/results.parquet, returns.parquet
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.adapters.files.store import FileStore, FileStoreError, open_file_store
from consumer.errors import ArtifactsUnavailable

if TYPE_CHECKING:
    import polars as pl  # below where it is needed: a worker's own process removes files, and needs no data frames

ROWS_A_PART = 20_000


class SearchArtifacts:
    """Implements `SearchFiles` below one root: a path, a file:// URL or an object store's URL."""

    def __init__(self, url: str) -> None:
        with _translated():
            self._files = open_file_store(url)

    def save_part(self, optimization_id: int, number: int, epoch: int, table: "pl.DataFrame") -> str:
        return self._save(f"searches/{optimization_id}/parts/{number}-{epoch}.parquet", table)

    def read_part(self, optimization_id: int, place: str) -> "pl.DataFrame":
        import polars as pl

        name = f"searches/{optimization_id}/parts/{place.rpartition('/')[2]}"
        with _translated():
            return pl.read_parquet(BytesIO(self._files.read(name)))

    def read_results(self, optimization_id: int, place: str) -> bytes:
        epoch = place.rpartition("/")[0].rpartition("/")[2]
        if not epoch.isdigit():
            raise ArtifactsUnavailable(f"the results of search {optimization_id} lie somewhere else")
        with _translated():
            return self._files.read(f"searches/{optimization_id}/{epoch}/results.parquet")

    def save_returns(self, optimization_id: int, epoch: int, table: "pl.DataFrame") -> str:
        return self._save(f"searches/{optimization_id}/{epoch}/returns.parquet", table)

    def remove_parts(self, optimization_id: int) -> None:
        """Remove what steps have left for each other, of a search that has ended. Raises ArtifactsUnavailable."""
        with _translated():
            self._files.remove_folder(f"searches/{optimization_id}/parts")

    @contextmanager
    def results(self, optimization_id: int, epoch: int) -> "Iterator[_Results]":
        with tempfile.TemporaryDirectory(prefix="backtest-search-") as folder:
            yield _Results(self._files, f"searches/{optimization_id}/{epoch}/results.parquet", Path(folder))

    def _save(self, name: str, table: "pl.DataFrame") -> str:
        buffer = BytesIO()
        table.write_parquet(buffer, compression="lz4", statistics=False)
        with _translated():
            self._files.write(name, buffer.getvalue(), durable=False)
        return self._files.location(name)


@dataclass(slots=True)
class _Results:
    """Implements `ResultsWriter`: parts wait in a folder of this machine."""

    files: FileStore
    name: str
    folder: Path
    waiting: "list[pl.DataFrame]" = field(default_factory=list)
    rows: int = 0
    parts: list[Path] = field(default_factory=list)

    def add(self, rows: "pl.DataFrame") -> None:
        self.waiting.append(rows)
        self.rows += rows.height
        if self.rows >= ROWS_A_PART:
            self._write_waiting()

    def finish(self) -> str:
        import polars as pl

        self._write_waiting()
        whole = self.folder / "whole.parquet"
        try:
            pl.scan_parquet(self.parts).sink_parquet(whole)
            content = whole.read_bytes()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ArtifactsUnavailable(f"the results of a search cannot be written: {error}") from error
        with _translated():
            self.files.write(self.name, content, durable=True)
        return self.files.location(self.name)

    def _write_waiting(self) -> None:
        if not self.waiting:
            return
        import polars as pl

        part = self.folder / f"{len(self.parts):06}.parquet"
        try:
            pl.concat(self.waiting).write_parquet(part)
        except OSError as error:
            raise ArtifactsUnavailable(f"the results of a search cannot be written: {error}") from error
        self.parts.append(part)
        self.waiting, self.rows = [], 0


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error
