"""What RunQueue promises of claims and of runs that go back, asked of the real one and of the one in memory."""

import asyncio
from datetime import UTC, datetime

from consumer.ports import BeatAnswer, Claim, EventKind
from tests.consumer.queue_steps import beat, claim_one, queue, queued_and_claimed, status, told
from tests.consumer.stores import MAX_ATTEMPTS, Store, WorkerPorts
from tests.support.messages import completed


async def test_a_claim_shows_in_the_row_and_brings_its_started_event(store: Store) -> None:
    worker = await store.worker()
    [run_id] = await queue(worker, "a")

    claim = await claim_one(worker)

    assert (claim.run_id, claim.epoch, claim.attempt, claim.deaths, claim.sequence) == (run_id, 1, 1, 0, 1)
    assert claim.specification["symbol"] == "EURUSD"
    [event] = claim.events
    assert (event.kind, event.sequence, event.row_id > 0) == (EventKind.STARTED, 1, True)
    assert (told(event)["type"], told(event)["attempt"]) == ("backtest.started", 1)
    assert await status(store, run_id) == ("running", 0)
    assert await store.unsent() == [("started", run_id, 1, "worker")]


async def test_claims_take_no_more_than_asked_for_and_nothing_twice(store: Store) -> None:
    worker = await store.worker()
    runs = await queue(worker, *"abcde")

    first = await worker.queue.claim(3, lapsed=await worker.queue.lapsed())
    second = await worker.queue.claim(3, lapsed=await worker.queue.lapsed())
    none = await worker.queue.claim(0, lapsed=await worker.queue.lapsed())

    assert [claim.run_id for claim in (*first.claims, *second.claims)] == runs
    assert none.claims == ()


async def test_no_run_is_claimed_by_two_of_many_concurrent_workers(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(6)]
    runs = await queue(workers[0], *(f"request-{number}" for number in range(120)))

    async def claim_until_empty(worker: WorkerPorts) -> list[Claim]:
        claims: list[Claim] = []
        while found := (await worker.queue.claim(5, lapsed=await worker.queue.lapsed())).claims:
            claims += found
        return claims

    taken = await asyncio.gather(*(claim_until_empty(worker) for worker in workers))

    assert sorted(claim.run_id for claims in taken for claim in claims) == runs
    assert all(claim.epoch == 1 for claims in taken for claim in claims)


async def test_a_claim_never_waits_for_a_row_that_a_client_holds(store: Store) -> None:
    worker = await store.worker()
    held, free = await queue(worker, "a", "b")

    async with store.holding(held), asyncio.timeout(5):
        meanwhile = (await worker.queue.claim(5, lapsed=await worker.queue.lapsed())).claims
    afterwards = (await worker.queue.claim(5, lapsed=await worker.queue.lapsed())).claims

    assert [claim.run_id for claim in meanwhile] == [free]
    assert [claim.run_id for claim in afterwards] == [held]


async def test_a_lapsed_lease_is_claimed_first_and_counts_as_a_death(store: Store) -> None:
    dead, alive = await store.worker("dead"), await store.worker("alive")
    first = await queued_and_claimed(dead, "a")
    await queue(alive, "b")
    await store.lapse()

    claim = await claim_one(alive, expired=True)

    assert (claim.run_id, claim.epoch, claim.attempt, claim.deaths) == (first.run_id, 2, 2, 1)
    assert [(event.kind, event.sequence) for event in claim.events] == [
        (EventKind.STARTED, 1),
        (EventKind.STARTED, 2),
    ], "the dead worker's unsent events come along, lower ones first"
    assert {owner for _, _, _, owner in await store.unsent()} == {"alive"}


async def test_lapsed_leases_are_left_alone_unless_they_are_asked_for(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queued_and_claimed(worker)
    await store.lapse()

    assert (await other.queue.claim(5)).claims == ()


async def test_a_live_lease_is_not_claimed(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queued_and_claimed(worker)

    assert (await other.queue.claim(5, lapsed=await other.queue.lapsed())).claims == ()


async def test_a_lapsed_lease_that_was_renewed_or_taken_meanwhile_is_passed_over(store: Store) -> None:
    worker, other, third = [await store.worker(name) for name in ("worker", "other", "third")]
    renewed, taken = await queued_and_claimed(worker, "a"), await queued_and_claimed(worker, "b")
    await store.lapse()
    seen = await other.queue.lapsed()
    assert {(lease.run_id, lease.epoch) for lease in seen} == {(renewed.run_id, 1), (taken.run_id, 1)}

    await beat(worker, renewed)
    # Lapsed again, but another lease than the one that was seen.
    await store.change_execution(renewed.run_id, lease_until=datetime(2000, 1, 1, tzinfo=UTC))
    await third.queue.claim(5, lapsed=[lease for lease in seen if lease.run_id == taken.run_id])

    assert (await other.queue.claim(5, lapsed=seen)).claims == ()
    assert (await beat(worker, renewed)).answer is BeatAnswer.ALIVE


async def test_a_run_whose_worker_is_gone_too_often_fails_with_crash_loop(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    for _ in range(MAX_ATTEMPTS - 1):
        await store.lapse()
        claim = await claim_one(worker, expired=True)
    await store.lapse()

    result = await worker.queue.claim(5, lapsed=await worker.queue.lapsed())

    assert result.claims == ()
    assert [(ended.run_id, ended.outcome) for ended in result.ended] == [(claim.run_id, "failed")]
    assert told(result.events[-1])["error"]["code"] == "crash_loop"
    run = await store.run(claim.run_id)
    assert run is not None
    assert (run["status"], run["error_message"][:11]) == ("failed", "crash_loop:")
    assert await worker.queue.finish(claim, completed(claim)) is None, "its last worker is fenced"


async def test_a_new_attempt_starts_again_from_no_progress(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await beat(worker, claim, 2, 40)
    await store.lapse()

    await claim_one(worker, expired=True)

    assert await status(store, claim.run_id) == ("running", 0)


async def test_runs_that_are_cancelled_or_gone_are_not_claimed(store: Store) -> None:
    worker = await store.worker()
    by_row, deleted, left = await queue(worker, "a", "b", "c")
    await store.change_run(by_row, status="cancelled")
    await store.delete_run(deleted)

    assert (await claim_one(worker, expired=True)).run_id == left
    assert (await worker.queue.claim(5)).claims == ()


async def test_a_run_given_back_stands_at_its_old_place_and_no_death_is_counted(store: Store) -> None:
    worker = await store.worker()
    first, second = await queue(worker, "a", "b")
    claim = await claim_one(worker)

    assert await worker.queue.give_back(claim, died=False)

    assert await status(store, first) == ("pending", 0)
    again, other = (await worker.queue.claim(2)).claims
    assert [(each.run_id, each.epoch, each.attempt, each.deaths) for each in (again, other)] == [
        (first, 2, 2, 0),
        (second, 1, 1, 0),
    ]


async def test_a_death_of_the_child_is_counted_when_its_run_is_given_back(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    await worker.queue.give_back(claim, died=True)

    assert (await claim_one(worker)).deaths == 1


async def test_only_the_owner_can_give_a_run_back(store: Store) -> None:
    old, new = await store.worker("old"), await store.worker("new")
    stale = await queued_and_claimed(old)
    await store.lapse()
    claim = await claim_one(new, expired=True)

    assert not await old.queue.give_back(stale, died=True)
    assert (await store.execution(claim.run_id))["state"] == "running"
    assert await new.queue.give_back(claim, died=False)
    assert not await new.queue.give_back(claim, died=False)


async def test_runs_that_a_worker_owns_without_knowing_go_back_to_the_queue(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, "a", "b", "c")
    known, lost = (await worker.queue.claim(2)).claims
    foreign = await claim_one(other)

    assert await worker.queue.forget_unknown([known.run_id]) == 1

    states = [(await store.execution(claim.run_id))["state"] for claim in (known, lost, foreign)]
    assert states == ["running", "queued", "running"]
    again = await claim_one(other)
    assert (again.run_id, again.deaths) == (lost.run_id, 0)
