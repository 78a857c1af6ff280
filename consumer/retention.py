"""Retention: which files of runs and searches that ended long ago may go. The one place where what they left behind is
removed.

The order is what makes it safe to stop anywhere: rows stop naming their files, the folders of runs and searches go, and
bars that no row names any more go last. Rows, trades, events and the memory of requests stay, so a replay starts
nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.ports.retention import (
    BARS_KEPT_SECONDS,
    BarsInUse,
    EndedLongAgo,
    KeptFile,
    KeptFiles,
    RetentionTables,
)

CLOCKS_SECONDS = 3600
"""How far the clocks of database, workers and artefact store may be apart."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go."""

    before: datetime
    """Runs that ended before this moment."""
    rows: int
    """Rows that name no bars any more."""
    runs: int
    """Runs whose folder went."""
    searches: int
    """Searches whose folder went."""
    bars: int
    """Files of bars that went."""
    size: int
    """Bytes in all."""
    foreign_runs: int
    """Folders left alone: of runs that this database does not know, or whose row names bars below another root."""
    foreign_searches: int
    """Folders left alone, alike."""


async def prune(tables: RetentionTables, files: KeptFiles, age: timedelta, *, dry_run: bool) -> Pruned:
    """Remove the files of runs and searches that ended longer ago than that, and bars that no row names any more.

    With foreign runs below the root no bars are removed: another database may name them.
    """
    before, location = await tables.before(age), files.bars_location
    present = files.run_ids()
    foreign = set(present) - await tables.known(present)
    ended = await tables.ended(present, before)
    foreign |= {run.run_id for run in ended if _is_elsewhere(run, location)}
    removable = [run.run_id for run in ended if run.run_id not in foreign]
    count = tables.count_paths if dry_run else tables.clear_paths
    rows = await count(before, location)
    runs, runs_size = _prune_folders(files.run_files, files.remove_run, removable, before, dry_run=dry_run)
    searches, searches_size, foreign_searches = await _prune_searches(tables, files, before, dry_run=dry_run)
    bars, bars_size = 0, 0
    if not foreign:
        in_use = await tables.bars_in_use(before, location)
        bars, bars_size = _prune_bars(files, in_use, before, dry_run=dry_run)
    size = runs_size + searches_size + bars_size
    return Pruned(before, rows, runs, searches, bars, size, len(foreign), foreign_searches)


def _is_elsewhere(run: EndedLongAgo, location: str) -> bool:
    return run.bars is not None and not run.bars.startswith(location)


async def _prune_searches(
    tables: RetentionTables, files: KeptFiles, before: datetime, *, dry_run: bool
) -> tuple[int, int, int]:
    """Count and bytes, and how many folders are foreign."""
    present, location = files.search_ids(), files.searches_location
    foreign = set(present) - await tables.known_searches(present)
    ended = await tables.ended_searches(present, before)
    foreign |= {each.optimization_id for each in ended if not (each.results or location).startswith(location)}
    removable = [each.optimization_id for each in ended if each.optimization_id not in foreign]
    if not dry_run:
        await tables.forget_results(removable)
    count, size = _prune_folders(files.search_files, files.remove_search, removable, before, dry_run=dry_run)
    return count, size, len(foreign)


def _prune_folders(
    files_of: Callable[[int], Sequence[KeptFile]],
    remove: Callable[[int], None],
    numbers: Collection[int],
    before: datetime,
    *,
    dry_run: bool,
) -> tuple[int, int]:
    """Count and bytes. A folder with a younger file than its run's end allows is another database's."""
    count, size = 0, 0
    for number in numbers:
        found = files_of(number)
        if any(file.written_at > before.timestamp() + CLOCKS_SECONDS for file in found):
            continue
        count, size = count + 1, size + sum(file.size for file in found)
        if not dry_run:
            remove(number)
    return count, size


def _prune_bars(files: KeptFiles, in_use: BarsInUse, before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Count and bytes. Whatever root a row writes its path with, bars of that digest stay."""
    named = {files.digest_named(path) for path in in_use.named}
    began = min(before, in_use.began or before)
    written_before = began.timestamp() - BARS_KEPT_SECONDS - CLOCKS_SECONDS
    count, size = 0, 0
    for digest, file in files.bars().items():
        if digest in named or file.written_at >= written_before:
            continue
        if dry_run or files.remove_bars(digest, written_before):
            count, size = count + 1, size + file.size
    return count, size
