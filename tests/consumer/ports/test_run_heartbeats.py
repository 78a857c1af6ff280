"""What RunQueue promises of heartbeats, and of asking for cancels."""

import asyncio

import pytest

from consumer.ports import BeatAnswer, BeatResult, EventKind
from tests.consumer.queue_steps import FAILED, beat, beat_of, claim_one, queue, queued_and_claimed, status, told
from tests.consumer.stores import Store
from tests.support.messages import ADMIT, cancel, completed


async def test_a_heartbeat_renews_a_lease_that_lapsed_with_nobody_claiming(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    claim = await queued_and_claimed(worker)
    await store.lapse()

    assert (await beat(worker, claim)).answer is BeatAnswer.ALIVE
    assert (await other.queue.claim(5, lapsed=await other.queue.lapsed())).claims == ()


async def test_a_heartbeat_under_a_lower_epoch_is_fenced_and_writes_nothing(store: Store) -> None:
    old, new = await store.worker("old"), await store.worker("new")
    stale = await queued_and_claimed(old)
    await store.lapse()
    claim = await claim_one(new, expired=True)
    before = (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent())

    result = await beat(old, stale, 99, 90)

    assert (result.answer, result.event) == (BeatAnswer.FENCED, None)
    assert (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent()) == before


async def test_a_heartbeat_of_a_run_that_went_back_to_the_queue_is_fenced_and_writes_nothing(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.give_back(claim, died=False)
    before = (await store.execution(claim.run_id), await store.unsent())

    result = await beat(worker, claim, 2, 50)

    assert result.answer is BeatAnswer.FENCED
    assert (await store.execution(claim.run_id), await store.unsent()) == before


async def test_a_heartbeat_of_an_ended_run_is_fenced_and_leaves_no_progress_behind(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, completed(claim))

    assert (await beat(worker, claim, 7, 50)).answer is BeatAnswer.FENCED
    assert [kind for kind, *_ in await store.unsent()] == ["started", "terminal"]
    assert await status(store, claim.run_id) == ("completed", 100)


async def test_unsent_progress_is_replaced_so_that_a_run_has_one_progress_row(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    first = await beat(worker, claim, 2, 10)
    second = await beat(worker, claim, 3, 20)

    assert first.event is not None
    assert second.event is not None
    assert (second.event.row_id, second.event.sequence) == (first.event.row_id, 3)
    assert [(kind, sequence) for kind, _, sequence, _ in await store.unsent()] == [("started", 1), ("progress", 3)]
    assert (await store.execution(claim.run_id))["sequence"] == 3
    assert await status(store, claim.run_id) == ("running", 20)


async def test_progress_never_falls_within_an_attempt(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    await beat(worker, claim, 2, 60)
    await beat(worker, claim, 3, 30)

    assert await status(store, claim.run_id) == ("running", 60)


async def test_a_heartbeat_does_not_wait_for_a_row_that_a_client_holds(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    async with store.holding(claim.run_id), asyncio.timeout(5):
        result = await beat(worker, claim, 2, 40)

    assert (result.answer, result.event is not None) == (BeatAnswer.ALIVE, True)
    finished = await worker.queue.finish(claim, FAILED)
    assert finished is not None
    assert told(finished.events[-1])["progress_pct"] == 40, "not below what the progress event said"


@pytest.mark.parametrize("how", ["row", "deleted"])
async def test_a_run_that_is_cancelled_has_at_the_end_the_progress_that_its_events_told(store: Store, how: str) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await (store.change_run(claim.run_id, status="cancelled") if how == "row" else store.delete_run(claim.run_id))
    await beat(worker, claim, 2, 60)
    await worker.queue.give_back(claim, died=True)

    [event] = [each for each in (await worker.queue.sweep()).events if each.kind is EventKind.TERMINAL]

    assert (told(event)["progress_pct"], told(event)["attempt"]) == (60, 1)
    assert how == "deleted" or await status(store, claim.run_id) == ("cancelled", 60)


async def test_one_statement_beats_for_all_runs_and_answers_each(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, *"abc")
    alive, fenced, cancelled = (await worker.queue.claim(3)).claims
    await store.lapse(fenced.run_id)
    await claim_one(other, expired=True)
    await worker.journal.record_batch([], [cancel(run_id=cancelled.run_id, reason="why not")], [], ADMIT)

    answers = await worker.queue.beat([beat_of(each, 5, 10) for each in (cancelled, fenced, alive)])

    assert {run_id: answer.answer for run_id, answer in answers.items()} == {
        alive.run_id: BeatAnswer.ALIVE,
        fenced.run_id: BeatAnswer.FENCED,
        cancelled.run_id: BeatAnswer.CANCEL,
    }
    assert answers[cancelled.run_id].reason == "why not"


async def test_no_heartbeats_ask_nothing(store: Store) -> None:
    worker = await store.worker()

    assert await worker.queue.beat([]) == {}
    assert await worker.queue.cancels_wanted([]) == {}


async def test_a_running_run_learns_every_way_of_being_cancelled(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, *"abcdefg")
    claims = (await worker.queue.claim(7)).claims
    by_event, by_request, by_row, deleted, raced, fenced, left = claims
    await worker.journal.record_batch(
        [], [cancel(run_id=by_event.run_id, reason="enough"), cancel(request_id="b")], [], ADMIT
    )
    await store.change_run(by_row.run_id, status="cancelled")
    await store.delete_run(deleted.run_id)
    await store.keep_cancel(None, raced.facts.request_id, None)
    await store.lapse(fenced.run_id)
    await claim_one(other, expired=True)

    answers = await worker.queue.cancels_wanted(claims)

    wanted = {run_id: each.reason for run_id, each in answers.items() if each.answer is BeatAnswer.CANCEL}
    assert wanted == {
        by_event.run_id: "enough",
        by_request.run_id: "requested",
        by_row.run_id: "row",
        deleted.run_id: "run_deleted",
        raced.run_id: "requested",
    }
    assert answers[fenced.run_id].answer is BeatAnswer.FENCED
    assert answers.get(left.run_id, BeatResult(BeatAnswer.ALIVE)).answer is BeatAnswer.ALIVE


async def test_asking_for_cancels_writes_nothing_and_waits_for_nobody(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    before = await store.execution(claim.run_id)

    async with store.holding(claim.run_id), asyncio.timeout(5):
        await worker.queue.cancels_wanted([claim])

    assert await store.execution(claim.run_id) == before
