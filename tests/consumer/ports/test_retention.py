"""Retention on both stores: what goes, and above all what stays."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from obstore.store import MemoryStore as ObjectsInMemory

from consumer.adapters.files.artifacts import ArtifactFiles, digest_named
from consumer.adapters.files.search_files import SearchArtifacts
from consumer.adapters.files.store import ObjectFiles
from consumer.adapters.memory.tables import ManualClock, MemoryTables
from consumer.errors import AlreadyAtWork
from consumer.ports.outcomes import Failed
from consumer.retention import Pruned, prune
from tests.consumer.queue_steps import claim_one, queue, queued_and_claimed
from tests.consumer.search_steps import best_run, change_search, found, row, searching
from tests.consumer.stores import MemoryStore, PostgresStore, Store, WorkerPorts, open_postgres_store
from tests.support.aged_files import age_files
from tests.support.messages import ADMIT, completed, requested

MONTH = timedelta(days=30)
LONG_AGO = timedelta(days=100)


def bars(number: int) -> pl.DataFrame:
    columns = {name: [float(number)] for name in ("open", "high", "low", "close", "volume")}
    return pl.DataFrame({"time": [datetime(2024, 1, 2, tzinfo=UTC)], **columns}).with_columns(
        pl.col("time").cast(pl.Datetime("us", "UTC"))
    )


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, migrated_database: str) -> AsyncIterator[Store]:
    """As everywhere, but that memory's clock says what the files' does."""
    if request.param == "memory":
        yield MemoryStore(MemoryTables(clock=ManualClock(start=datetime.now(UTC))))
    else:
        async with open_postgres_store(migrated_database) as store:
            yield store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def artifacts(root: Path) -> ArtifactFiles:
    return ArtifactFiles(str(root))


async def finished(worker: WorkerPorts, artifacts: ArtifactFiles, name: str, number: int) -> int:
    """A run that completed over bars `number`; its id."""
    claim = await queued_and_claimed(worker, name)
    saved = artifacts.save_run(claim.run_id, claim.epoch, {"trades": bars(0)})
    path = artifacts.save_bars(bars(number))
    assert await worker.queue.finish(claim, completed(claim, data_file_path=path, artifacts=saved))
    return claim.run_id


async def age(store: Store, root: Path, *run_ids: int) -> None:
    """These runs ended long ago, and every file was written then."""
    for run_id in run_ids:
        await store.change_execution(run_id, finished_at=datetime.now(UTC) - LONG_AGO)
    age_files(root, LONG_AGO.total_seconds())


async def prune_all(store: Store, artifacts: ArtifactFiles, *, dry_run: bool = False) -> Pruned:
    async with store.retention() as tables:
        return await prune(tables, artifacts, MONTH, dry_run=dry_run)


def is_there(path: str | None) -> bool:
    return path is not None and Path(path).is_file()


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


async def path_of(store: Store, run_id: int) -> str | None:
    row = await store.run(run_id)
    assert row is not None
    path: str | None = row["data_file_path"]
    return path


async def test_old_artefacts_go_and_what_the_database_says_of_the_run_stays(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    run_id = await finished(worker, artifacts, "a", 1)
    await age(store, root, run_id)
    before = await store.run(run_id)

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.runs, pruned.bars, pruned.foreign_runs) == (1, 1, 1, 0)
    assert pruned.size > 0
    assert files_in(root) == set()
    assert before is not None
    assert await store.run(run_id) == {**before, "data_file_path": None}
    assert await store.trades(run_id) == 2
    again = await worker.journal.record_batch([requested("a")], [], [], ADMIT)
    assert again.new_runs == ()


async def test_bars_stay_as_long_as_one_row_names_them(store: Store, artifacts: ArtifactFiles, root: Path) -> None:
    worker = await store.worker()
    old, young = [await finished(worker, artifacts, name, 1) for name in "ab"]
    await age(store, root, old)
    await store.change_execution(young, finished_at=datetime.now(UTC))

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.runs, pruned.bars) == (1, 1, 0)
    path = await path_of(store, young)
    assert is_there(path)
    assert await path_of(store, old) is None
    assert any(name.startswith(f"runs/{young}/") for name in files_in(root))


async def test_a_row_of_another_service_keeps_bars_under_whatever_name_of_the_root(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    run_id = await finished(worker, artifacts, "a", 1)
    path = await path_of(store, run_id)
    await age(store, root, run_id)
    await store.add_run(status="completed", data_file_path=f"s3://bucket/bars/{Path(str(path)).name}")

    assert (await prune_all(store, artifacts)).bars == 0
    assert is_there(path)


@pytest.mark.parametrize("began", ["long ago", "now"])
async def test_a_run_at_work_keeps_the_bars_that_it_may_be_about_to_name(
    store: Store, artifacts: ArtifactFiles, root: Path, began: str
) -> None:
    worker = await store.worker()
    old = await finished(worker, artifacts, "a", 1)
    claim = await queued_and_claimed(worker, "b")
    if began == "long ago":  # and Postgres was away ever since its bars were saved, say
        await store.change_execution(claim.run_id, started_at=datetime.now(UTC) - LONG_AGO - timedelta(1))
        path = artifacts.save_bars(bars(2))
        await age(store, root, old)
    else:
        await age(store, root, old)
        path = artifacts.save_bars(bars(2))

    await prune_all(store, artifacts)

    assert is_there(path)
    assert await worker.queue.finish(claim, completed(claim, data_file_path=path))


async def test_old_bars_that_a_run_uses_again_are_written_anew_and_stay(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    old = await finished(worker, artifacts, "a", 1)
    await age(store, root, old)
    await queue(worker, "b")
    claim = await claim_one(worker)
    path = artifacts.save_bars(bars(1))

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.bars) == (1, 0)
    assert is_there(path)
    assert await worker.queue.finish(claim, completed(claim, data_file_path=path))


async def test_runs_that_have_not_ended_long_ago_keep_everything(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    await finished(worker, artifacts, "young", 1)
    running = await queued_and_claimed(worker, "running")
    artifacts.save_run(running.run_id, running.epoch, {"trades": bars(0)})
    [queued] = await queue(worker, "queued")
    artifacts.save_run(queued, 1, {"trades": bars(0)})
    await age(store, root)
    before = files_in(root)

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.runs, pruned.bars, pruned.size) == (0, 0, 0, 0)
    assert files_in(root) == before


async def test_failed_runs_and_those_whose_row_is_gone_leave_nothing_behind(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    deleted = await finished(worker, artifacts, "deleted", 1)
    await store.delete_run(deleted)
    claim = await queued_and_claimed(worker, "failed")
    artifacts.save_run(claim.run_id, claim.epoch, {"trades": bars(0)})
    assert await worker.queue.finish(claim, Failed("crash_loop", "it died"))
    await age(store, root, deleted, claim.run_id)

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.runs, pruned.bars) == (0, 2, 1)
    assert files_in(root) == set()


async def test_a_dry_run_counts_the_same_and_touches_nothing(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    runs = [await finished(worker, artifacts, name, number) for number, name in enumerate("abc")]
    await age(store, root, *runs)
    files, rows = files_in(root), [await store.run(run_id) for run_id in runs]

    told = await prune_all(store, artifacts, dry_run=True)

    assert (files_in(root), [await store.run(run_id) for run_id in runs]) == (files, rows)
    done = await prune_all(store, artifacts)
    assert (told.rows, told.runs, told.bars, told.size) == (done.rows, done.runs, done.bars, done.size) == (
        3, 3, 3, told.size,
    )  # fmt: skip
    assert (await prune_all(store, artifacts)).runs == 0


async def test_beside_another_databases_runs_only_own_runs_go(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    worker = await store.worker()
    run_id = await finished(worker, artifacts, "a", 1)
    artifacts.save_run(4711, 1, {"trades": bars(0)})
    await age(store, root, run_id)

    pruned = await prune_all(store, artifacts)

    assert (pruned.rows, pruned.runs, pruned.bars, pruned.foreign_runs) == (1, 1, 0, 1)
    assert any(name.startswith("runs/4711/") for name in files_in(root))


async def test_another_root_than_the_workers_loses_nothing(
    store: Store, artifacts: ArtifactFiles, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    worker = await store.worker()
    run_id = await finished(worker, artifacts, "a", 1)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    other = ArtifactFiles(str(elsewhere))
    other.save_run(run_id, 1, {"trades": bars(0)})
    other.save_bars(bars(1))
    await age(store, root, run_id)
    await age(store, elsewhere, run_id)
    path, before = await path_of(store, run_id), files_in(elsewhere)

    pruned = await prune_all(store, other)

    assert (pruned.rows, pruned.runs, pruned.bars, pruned.foreign_runs) == (0, 0, 0, 1)
    assert (await path_of(store, run_id), files_in(elsewhere)) == (path, before)


async def searched(store: Store, root: Path) -> tuple[int, int]:
    """A search that completed with a best run, both with their files; its number, and the run's."""
    worker = await searching(store)
    claim = await worker.gathering()
    number, run_id = claim.facts.optimization_id, await worker.keeper.best_run_id(claim)
    assert run_id is not None
    files, runs = SearchArtifacts(str(root)), ArtifactFiles(str(root))
    runs.save_run(run_id, claim.epoch, {"trades": bars(0)})
    path = runs.save_bars(bars(7))
    results = files.save_returns(number, 1, bars(0))
    files.save_part(number, 2, 1, bars(0))
    ran = best_run(run_id, claim)
    best = replace(ran, outcome=replace(ran.outcome, data_file_path=path))
    outcome = found(best_run=best)
    await worker.keeper.end(claim, replace(outcome, columns={**outcome.columns, "results_file_path": results}))
    return number, run_id


async def test_a_search_that_ended_long_ago_goes_with_its_best_run_and_what_steps_left(
    store: Store, artifacts: ArtifactFiles, root: Path
) -> None:
    number, run_id = await searched(store, root)
    age_files(root, LONG_AGO.total_seconds())
    young = await prune_all(store, artifacts)
    assert (young.runs, young.searches, young.bars, young.foreign_runs, young.foreign_searches) == (0, 0, 0, 0, 0)
    await change_search(store, number, finished_at=datetime.now(UTC) - LONG_AGO)

    told = await prune_all(store, artifacts, dry_run=True)
    pruned = await prune_all(store, artifacts)

    assert replace(told, before=pruned.before) == pruned
    assert (pruned.rows, pruned.runs, pruned.searches, pruned.bars) == (1, 1, 1, 1)
    assert (pruned.foreign_runs, pruned.foreign_searches) == (0, 0)
    assert files_in(root) == set()
    assert await path_of(store, run_id) is None
    shown = await row(store, number)
    assert shown is not None
    assert (shown["status"], shown["results_file_path"]) == ("completed", None)


async def test_a_search_at_work_or_unknown_keeps_its_files(store: Store, artifacts: ArtifactFiles, root: Path) -> None:
    worker, files = await searching(store), SearchArtifacts(str(root))
    claim = await worker.surveyed()
    for number in (claim.facts.optimization_id, 4711):
        files.save_part(number, 2, 1, bars(0))
    age_files(root, LONG_AGO.total_seconds())
    kept_files = files_in(root)

    pruned = await prune_all(store, artifacts)

    assert (pruned.searches, pruned.foreign_searches) == (0, 1)
    assert files_in(root) == kept_files


async def test_two_retention_commands_do_not_work_at_the_same_time(postgres_store: PostgresStore) -> None:
    async with postgres_store.retention():
        with pytest.raises(AlreadyAtWork, match="another"):
            async with postgres_store.retention():
                pass


async def test_an_object_store_is_pruned_like_a_directory(store: Store) -> None:
    worker = await store.worker()
    artifacts, files = ArtifactFiles("memory://"), ObjectFiles(ObjectsInMemory(), "memory://bucket")
    artifacts._files = files
    runs = [await finished(worker, artifacts, name, number) for name, number in (("a", 1), ("b", 2))]
    await store.change_execution(runs[1], finished_at=datetime.now(UTC) + 2 * MONTH)

    async with store.retention() as tables:
        # What was written just now cannot be made to look old there: so the limit lies in the future.
        pruned = await prune(tables, artifacts, -MONTH, dry_run=False)

    assert (pruned.rows, pruned.runs, pruned.bars) == (1, 1, 1)
    assert (files.folders("runs"), list(artifacts.bars())) == (
        [str(runs[1])],
        [digest_named(str(await path_of(store, runs[1])))],
    )
