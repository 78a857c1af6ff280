"""Retention: which files of runs that ended long ago may go. The one place where what a run left behind is removed.

The order is what makes it safe to stop anywhere: rows stop naming their bars, the folders of the runs go, and bars that
no row names any more go last. Rows, trades, events and the memory of requests stay, so a replay starts nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.ports.retention import BARS_KEPT_SECONDS, BarsInUse, EndedLongAgo, KeptFiles, RetentionTables

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
    bars: int
    """Files of bars that went."""
    size: int
    """Bytes in all."""
    foreign_runs: int
    """Folders left alone: of runs that this database does not know, or whose row names bars below another root."""


async def prune(tables: RetentionTables, files: KeptFiles, age: timedelta, *, dry_run: bool) -> Pruned:
    """Remove the files of runs that ended longer ago than that, and bars that no row names any more.

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
    runs, runs_size = _prune_runs(files, removable, before, dry_run=dry_run)
    bars, bars_size = 0, 0
    if not foreign:
        in_use = await tables.bars_in_use(before, location)
        bars, bars_size = _prune_bars(files, in_use, before, dry_run=dry_run)
    return Pruned(before, rows, runs, bars, runs_size + bars_size, len(foreign))


def _is_elsewhere(run: EndedLongAgo, location: str) -> bool:
    return run.bars is not None and not run.bars.startswith(location)


def _prune_runs(files: KeptFiles, run_ids: Collection[int], before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Count and bytes. A folder with a younger file than its run's end allows is another database's."""
    count, size = 0, 0
    for run_id in run_ids:
        found = files.run_files(run_id)
        if any(file.written_at > before.timestamp() + CLOCKS_SECONDS for file in found):
            continue
        count, size = count + 1, size + sum(file.size for file in found)
        if not dry_run:
            files.remove_run(run_id)
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
