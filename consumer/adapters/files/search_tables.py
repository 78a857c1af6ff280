"""The results of a search to files that a person names, written as they come: a million of them take no memory."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from consumer.adapters.files.table_output import check_table_path, write_table
from consumer.errors import ArtifactsUnavailable

_ROWS_A_PART: Final = 20_000


class SearchTable:
    """A table that comes in parts, in order. Use as a context.

    Parts wait beside the file until `finish` joins them under its name; until then a file of that name stays as it is.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputRefused for a path that no table can be written to."""
        check_table_path(path)
        self._path = path
        self._folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._parts: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, rows: pl.DataFrame) -> None:
        """Raises ArtifactsUnavailable when the place takes no more."""
        self._waiting.append(rows)
        self._rows += rows.height
        if self._rows >= _ROWS_A_PART:
            self._write_waiting()

    def finish(self) -> None:
        """Join the parts under the file's name. Raises ArtifactsUnavailable."""
        self._write_waiting()
        whole = self._folder / f"whole{self._path.suffix}"
        try:
            rows = pl.scan_parquet(self._parts)
            if whole.suffix.lower() == ".parquet":
                rows.sink_parquet(whole)
            else:
                rows.sink_csv(whole)
            whole.replace(self._path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ArtifactsUnavailable(f"{self._path} cannot be written: {error}") from error

    def write_beside(self, kind: str, table: pl.DataFrame) -> Path:
        """Write another table beside the file: results.parquet has results.KIND.parquet. Raises
        ArtifactsUnavailable."""
        path = self._path.with_name(f"{self._path.stem}.{kind}.parquet")
        write_table(table, path)
        return path

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        part = self._folder / f"{len(self._parts):06}.parquet"
        try:
            pl.concat(self._waiting).write_parquet(part)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ArtifactsUnavailable(f"{self._path} cannot be written: {error}") from error
        self._parts.append(part)
        self._waiting, self._rows = [], 0
