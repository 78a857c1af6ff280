"""The tables that runs left, opened where they lie on this machine, else from a copy for as long as they are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import polars as pl

from consumer.adapters.files.artifacts import LEDGER, bars_name, digest_named, run_file
from consumer.adapters.files.chart_bars import ChartBars
from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.errors import ArtifactsUnavailable, FilesGone


class RunTableFiles:
    """Tables below one root, as `ArtifactFiles` wrote them. Implements `RunTables`."""

    def __init__(self, url: str) -> None:
        with _translated():
            self._files = open_file_store(url)

    @contextmanager
    def table(self, run_id: int, epoch: int, name: str) -> Iterator[pl.LazyFrame]:
        with self._opened(run_file(run_id, epoch, name)) as path, _translated():
            yield pl.scan_parquet(path)

    def has_table(self, run_id: int, epoch: int, name: str) -> bool:
        with _translated():
            return self._files.exists(run_file(run_id, epoch, name))

    def ledger(self, run_id: int, epoch: int) -> pl.DataFrame:
        with self._opened(run_file(run_id, epoch, LEDGER)) as path, _translated():
            return pl.read_ipc_stream(path)

    @contextmanager
    def bars(self, place: str) -> Iterator[ChartBars]:
        """place: only its digest counts, so that no row makes this read another file."""
        digest = digest_named(place)
        if digest is None:
            raise FilesGone(place)
        with self._opened(bars_name(digest)) as path, _translated(), path.open("rb") as file:
            yield ChartBars(file)

    @contextmanager
    def _opened(self, name: str) -> Iterator[Path]:
        with _translated():
            here = self._files.path_of(name)
            if not self._files.exists(name):
                raise FilesGone(self._files.location(name))
        if here is not None:
            yield here
            return
        with NamedTemporaryFile(prefix="backtest-", suffix=Path(name).suffix) as copy:
            with _translated():
                for part in self._files.parts(name):
                    copy.write(part)
            copy.flush()

            yield Path(copy.name)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (FileStoreError, OSError, pl.exceptions.ComputeError) as error:
        raise ArtifactsUnavailable(str(error)) from error
