"""What the steps of a search leave in the artefact store for those that come after them."""

from contextlib import AbstractContextManager
from typing import Protocol

import polars as pl


class ResultsWriter(Protocol):
    """The results file of a search, part by part: a million combinations never lie in memory at once."""

    def add(self, rows: pl.DataFrame) -> None:
        """Parts come in the order in which they are to stand."""
        ...

    def finish(self) -> str:
        """Path or URL of the whole."""
        ...


class SearchResults(Protocol):
    """What ended searches left. Raises ArtifactsUnavailable, also for what is not there (any more)."""

    def read_results(self, optimization_id: int, place: str) -> bytes:
        """The Parquet file of every combination. place: results_file_path of the search's row, of which only the last
        parts count: whoever wrote something else there has no other file read.
        """
        ...


class SearchFiles(Protocol):
    """Raises ArtifactsUnavailable. Names hold search, shard and epoch: who is fenced writes over nobody's files."""

    def save_part(self, optimization_id: int, number: int, epoch: int, table: pl.DataFrame) -> str:
        """Write what a step found, and return its path or URL; writing again replaces."""
        ...

    def read_part(self, optimization_id: int, place: str) -> pl.DataFrame:
        """Read what `save_part` wrote, by the place it returned."""
        ...

    def save_returns(self, optimization_id: int, epoch: int, table: pl.DataFrame) -> str: ...

    def results(self, optimization_id: int, epoch: int) -> AbstractContextManager[ResultsWriter]: ...
