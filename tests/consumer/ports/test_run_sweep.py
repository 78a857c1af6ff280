"""What RunQueue promises of runs that end without a slot."""

import asyncio

from consumer.adapters.postgres import lock_keys
from consumer.ports import BeatAnswer, EventKind
from tests.consumer.queue_steps import beat, queue, queued_and_claimed, told
from tests.consumer.stores import PostgresStore, Store
from tests.support.messages import ADMIT, completed, requested


async def test_a_sweep_ends_queued_runs_that_are_cancelled_in_any_way_without_a_slot(store: Store) -> None:
    worker = await store.worker()
    by_row, deleted, raced_by_request, left = await queue(worker, *"abde")
    raced_by_run = await store.add_run()
    await worker.journal.record_batch([requested("c", run_id=raced_by_run)], [], [], ADMIT)
    await store.change_run(by_row, status="cancelled")
    await store.delete_run(deleted)
    await store.keep_cancel(raced_by_run, None, "enough")
    await store.keep_cancel(None, "d", None)

    result = await worker.queue.sweep()

    assert {told(event)["run_id"]: told(event)["reason"] for event in result.events} == {
        by_row: "row",
        deleted: "run_deleted",
        raced_by_run: "enough",
        raced_by_request: "requested",
    }
    assert sorted(ended.run_id for ended in result.ended) == sorted([by_row, deleted, raced_by_run, raced_by_request])
    assert {ended.outcome for ended in result.ended} == {"cancelled"}
    assert (await store.execution(left))["state"] == "queued"
    assert (await worker.queue.sweep()).ended == ()


async def test_a_sweep_ends_a_cancelled_run_whose_worker_is_gone_and_fences_it(store: Store) -> None:
    gone, alive = await store.worker("gone"), await store.worker("alive")
    claim = await queued_and_claimed(gone)
    await store.change_run(claim.run_id, status="cancelled")
    assert (await alive.queue.sweep()).ended == (), "its worker will hear of it"
    await store.lapse()

    result = await alive.queue.sweep()

    assert [(event.kind, event.sequence) for event in result.events] == [
        (EventKind.STARTED, 1),
        (EventKind.TERMINAL, 2),
    ]
    assert (await beat(gone, claim)).answer is BeatAnswer.FENCED
    assert await gone.queue.finish(claim, completed(claim)) is None


async def test_concurrent_sweeps_end_each_run_once(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(4)]
    runs = await queue(workers[0], *(f"request-{number}" for number in range(40)))
    for run_id in runs:
        await store.change_run(run_id, status="cancelled")

    results = await asyncio.gather(*(worker.queue.sweep() for worker in workers))
    results.append(await workers[0].queue.sweep())

    assert sorted(ended.run_id for result in results for ended in result.ended) == runs
    assert [kind for kind, *_ in await store.unsent()] == ["terminal"] * 40


async def test_a_sweep_leaves_rows_that_a_client_holds_to_the_next_one(store: Store) -> None:
    worker = await store.worker()
    [run_id] = await queue(worker, "a")
    await store.change_run(run_id, status="cancelled")

    async with store.holding(run_id), asyncio.timeout(5):
        assert (await worker.queue.sweep()).ended == ()
    assert [ended.run_id for ended in (await worker.queue.sweep()).ended] == [run_id]


async def test_a_sweep_goes_on_while_a_migration_is_at_work(postgres_store: PostgresStore) -> None:
    worker = await postgres_store.worker()
    [run_id] = await queue(worker, "a")
    await postgres_store.change_run(run_id, status="cancelled")
    async with postgres_store.outside.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_keys.MIGRATION)

        result = await worker.queue.sweep()

    assert [ended.run_id for ended in result.ended] == [run_id]
