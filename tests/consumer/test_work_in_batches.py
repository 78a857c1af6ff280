"""Short runs: claims and deletions go several at a time, and nothing is sent twice or later for it."""

import asyncio
from contextlib import suppress

from consumer.dispatch import CLAIMS_AHEAD_A_SLOT
from consumer.outbox_relay import FORGET_AT_ONCE
from schemas.topics import Topic
from tests.consumer.memory_worker import MemoryWorker, World, settle, until
from tests.consumer.test_dispatch import Gate, queue, states
from tests.consumer.test_outbox_relay import claimed, published
from tests.support.messages import ADMIT, completed, requested

SLOTS = 2
FULL = SLOTS + SLOTS * CLAIMS_AHEAD_A_SLOT


async def test_short_runs_are_claimed_again_when_half_of_those_ahead_are_used_up() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate, slots=SLOTS)
    worker.dispatcher.mean_run_seconds = 0.01
    await queue(worker, 2 * FULL)
    await worker.dispatcher.claim_once()
    await settle()
    in_order = sorted(worker.dispatcher.active)
    used_up = FULL // 2 - SLOTS // 2

    for run_id in in_order[: used_up - 1]:
        del worker.dispatcher.active[run_id]
        assert not await worker.dispatcher.claim_once()
    del worker.dispatcher.active[in_order[used_up - 1]]
    await worker.dispatcher.claim_once()

    assert len(worker.dispatcher.active) == FULL
    assert states(worker.world).count("running") == FULL + used_up
    await worker.crash()


async def test_a_single_short_run_is_claimed_at_once() -> None:
    worker = MemoryWorker(World(), slots=SLOTS)
    worker.dispatcher.mean_run_seconds = 0.01
    await queue(worker, 1)

    await worker.dispatcher.claim_once()

    await until(lambda: states(worker.world) == ["completed"])
    await until(lambda: not worker.dispatcher.tasks)


async def test_an_event_that_was_sent_and_not_deleted_yet_is_not_sent_again_with_the_next_one() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    relaying = asyncio.create_task(worker.relay.run())
    worker.relay.add(claim.events)
    await until(lambda: bool(worker.relay.sent))
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    assert len(finished.events) == 2

    worker.relay.add(finished.events)
    await until(lambda: len(published(worker.world)) > 1)

    assert published(worker.world) == [("started", 1), ("completed", 2)]
    assert published(worker.world, Topic.COMPLETED) == [("completed", 2)]
    await ended(relaying)


async def test_what_was_sent_is_deleted_in_the_next_pause() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    relaying = asyncio.create_task(worker.relay.run())
    worker.relay.add(claim.events)
    await until(lambda: bool(worker.relay.sent))
    assert worker.world.tables.outbox

    async with asyncio.timeout(10):
        while worker.world.tables.outbox:  # noqa: ASYNC110  # the relay's own pause is what is waited for
            await asyncio.sleep(0.001)

    assert not worker.relay.sent
    await ended(relaying)


async def test_without_a_pause_what_was_sent_is_deleted_when_enough_of_it_waits() -> None:
    worker = MemoryWorker(World(), slots=FORGET_AT_ONCE)
    batch = [requested(f"request-{number}") for number in range(FORGET_AT_ONCE)]
    await worker.journal.record_batch(batch, [], [], ADMIT)
    result = await worker.queue.claim(FORGET_AT_ONCE)
    relaying = asyncio.create_task(worker.relay.run())

    worker.relay.add(event for claim in result.claims for event in claim.events)
    await until(lambda: not worker.world.tables.outbox)

    assert len(published(worker.world)) == FORGET_AT_ONCE
    await ended(relaying)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
