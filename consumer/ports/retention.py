"""What retention asks of the tables and of the artefact store, and what it changes there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

BARS_KEPT_SECONDS: Final = 6 * 3600
"""Bars are not removed for so long after they were written; who uses older ones writes them anew."""


@dataclass(frozen=True, slots=True)
class EndedLongAgo:
    """A run that ended before the limit."""

    run_id: int
    bars: str | None
    """What its row says in data_file_path; None also where the row is gone."""


@dataclass(frozen=True, slots=True)
class EndedSearchLongAgo:
    """A search that ended before the limit."""

    optimization_id: int
    results: str | None
    """What its row says in results_file_path; None also where the row is gone."""


@dataclass(frozen=True, slots=True)
class BarsInUse:
    """Read in one snapshot."""

    named: frozenset[str]
    """Every data_file_path of a row that keeps it."""
    began: datetime | None
    """When the first of the runs and searches now at work was claimed first; None: none is at work."""


class RetentionTables(Protocol):
    """The tables, while this is the only retention command at work on them. Raises StoreUnavailable.

    The best run of a search is a run here that begins and ends with its search.
    """

    async def before(self, age: timedelta) -> datetime:
        """The moment so long ago, by the store's clock."""
        ...

    async def known(self, run_ids: Sequence[int]) -> set[int]:
        """Which of these runs this database has executed, or will."""
        ...

    async def known_searches(self, ids: Sequence[int]) -> set[int]:
        """Which of these searches this database has accepted."""
        ...

    async def ended_searches(self, ids: Sequence[int], before: datetime) -> Sequence[EndedSearchLongAgo]:
        """Those of the searches that ended before a moment."""
        ...

    async def forget_results(self, ids: Sequence[int]) -> None:
        """Set results_file_path of these searches to null."""
        ...

    async def ended(self, run_ids: Sequence[int], before: datetime) -> Sequence[EndedLongAgo]:
        """Those of the runs that ended before a moment."""
        ...

    async def count_paths(self, before: datetime, location: str) -> int:
        """How many rows `clear_paths` would change."""
        ...

    async def clear_paths(self, before: datetime, location: str) -> int:
        """Set data_file_path to null where it begins with `location` and the run ended before a moment; the count."""
        ...

    async def bars_in_use(self, before: datetime, location: str) -> BarsInUse:
        """The bars that rows name, but for what `clear_paths` takes from them, and the runs that may name more."""
        ...


class KeptFile(Protocol):
    """A file of the store. size in bytes; written_at by the store's clock, in seconds since 1970."""

    @property
    def size(self) -> int: ...

    @property
    def written_at(self) -> float: ...


class KeptFiles(Protocol):
    """What runs left in the artefact store. Raises ArtifactsUnavailable."""

    @property
    def bars_location(self) -> str:
        """What the path or URL of every file of bars begins with."""
        ...

    def run_ids(self) -> Sequence[int]:
        """The runs that have a folder here."""
        ...

    def run_files(self, run_id: int) -> Sequence[KeptFile]:
        """The files of all attempts of a run."""
        ...

    def remove_run(self, run_id: int) -> None:
        """Remove the files of all attempts of a run that has ended."""
        ...

    @property
    def searches_location(self) -> str:
        """What the path or URL of every file of a search begins with."""
        ...

    def search_ids(self) -> Sequence[int]:
        """The searches that have a folder here."""
        ...

    def search_files(self, optimization_id: int) -> Sequence[KeptFile]:
        """The files of a search: its tables, and what its steps have left for each other."""
        ...

    def remove_search(self, optimization_id: int) -> None:
        """Remove the files of a search that has ended."""
        ...

    def bars(self) -> Mapping[str, KeptFile]:
        """The files of bars, by digest."""
        ...

    def digest_named(self, path: str) -> str | None:
        """The digest of the bars that lie at a path or URL, whatever its root; None for anything else."""
        ...

    def remove_bars(self, digest: str, written_before: float) -> bool:
        """Remove the bars if they were last written before that time (seconds since 1970), and say whether they were.

        The caller vouches that no row names them, and that every run at work began BARS_KEPT_SECONDS after that time,
        or later.
        """
        ...
