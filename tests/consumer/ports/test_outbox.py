"""What Outbox promises, asked of the real one and of the one in memory."""

import asyncio

from consumer.ports import Beat, Claim, EventKind, OutgoingEvent
from tests.consumer.queue_steps import beat, claim_one, queued_and_claimed
from tests.consumer.stores import LEASE_SECONDS, Store, WorkerPorts
from tests.support.messages import ADMIT, cancel, completed, event_writer, raw_record, requested


async def dead_letters(worker: WorkerPorts, count: int) -> tuple[OutgoingEvent, ...]:
    """Store that many events that belong to no run."""
    writer = event_writer()
    letters = [writer.dead_letter(raw_record(b"?"), "undecodable", "no JSON") for _ in range(count)]  # type: ignore[arg-type]  # a StrEnum's value
    return (await worker.journal.record_batch([], [], letters, ADMIT)).events


PLENTY = 1_000_000_000


def sequences(events: object) -> list[int]:
    assert isinstance(events, list | tuple)
    return [event.sequence for event in events]


async def test_an_acknowledged_event_is_forgotten(store: Store) -> None:
    worker = await store.worker()
    first, second = await dead_letters(worker, 2)

    await worker.outbox.delete([first])
    await store.lapse_events()

    assert [event.event_id for event in await worker.outbox.adopt(10, PLENTY)] == [second.event_id]


async def test_deleting_progress_that_was_replaced_meanwhile_leaves_the_newer_one(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    sent = (await beat(worker, claim, 2, 10)).event
    assert sent is not None
    await beat(worker, claim, 3, 20)

    await worker.outbox.delete([sent])

    assert [(kind, sequence) for kind, _, sequence, _ in await store.unsent()] == [("started", 1), ("progress", 3)]


async def test_an_event_comes_back_as_it_was_stored(store: Store) -> None:
    worker = await store.worker()
    record = raw_record(b"\x00\xff", key=None)
    odd = (("a", b"\x00\xff"), ("a", None), ("\x00ü", b""))
    letter = event_writer().dead_letter(
        type(record)(record.topic, 0, 1, None, None, odd),
        "undecodable",  # type: ignore[arg-type]  # a StrEnum's value
        "no value",
    )
    await worker.journal.record_batch([], [], [letter], ADMIT)
    claim = await queued_and_claimed(worker)
    progress = (await beat(worker, claim, 2, 10)).event
    await store.lapse_events()

    adopted = await worker.outbox.adopt(10, PLENTY)

    by_kind = {event.kind: event for event in adopted}
    assert (by_kind[EventKind.DEAD_LETTER].key, by_kind[EventKind.DEAD_LETTER].value) == (None, None)
    assert by_kind[EventKind.DEAD_LETTER].headers == letter.headers
    assert by_kind[EventKind.STARTED] == claim.events[0]
    assert by_kind[EventKind.PROGRESS] == progress


async def test_only_lapsed_events_are_adopted_and_then_they_are_leased(store: Store) -> None:
    dead, alive, third = [await store.worker(name) for name in ("dead", "alive", "third")]
    await dead_letters(dead, 3)
    await queued_and_claimed(dead)
    assert list(await alive.outbox.adopt(10, PLENTY)) == []

    await store.lapse_events()

    assert len(await alive.outbox.adopt(10, PLENTY)) == 4
    assert len(await third.outbox.adopt(10, PLENTY)) == 0
    assert {owner for *_, owner in await store.unsent()} == {"alive"}


async def test_adopting_brings_all_events_of_a_run_sequence_rising_even_beyond_the_limit(store: Store) -> None:
    dead, alive = await store.worker("dead"), await store.worker("alive")
    claim = await queued_and_claimed(dead)
    await beat(dead, claim, 2, 10)
    await store.lapse_events()

    assert sequences(await alive.outbox.adopt(1, PLENTY)) == [1, 2]


async def test_of_a_run_with_one_lapsed_event_all_are_adopted(store: Store) -> None:
    dead, alive = await store.worker("dead"), await store.worker("alive")
    claim = await queued_and_claimed(dead)
    await store.lapse_events()
    await beat(dead, claim, 2, 10)

    assert sequences(await alive.outbox.adopt(10, PLENTY)) == [1, 2]


async def test_renewed_events_are_not_adopted(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    events = await dead_letters(worker, 2)
    await store.lapse_events()

    await worker.outbox.renew(events)

    assert list(await other.outbox.adopt(10, PLENTY)) == []


async def test_events_that_somebody_adopted_cannot_be_renewed_or_released_by_their_old_owner(store: Store) -> None:
    old, new, third = [await store.worker(name) for name in ("old", "new", "third")]
    events = await dead_letters(old, 1)
    await store.lapse_events()
    await new.outbox.adopt(10, PLENTY)

    await old.outbox.renew(events)
    await old.outbox.release(events)

    assert [owner for *_, owner in await store.unsent()] == ["new"]
    assert list(await third.outbox.adopt(10, PLENTY)) == []


async def test_released_events_are_adopted_at_once(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    events = await dead_letters(worker, 2)

    await worker.outbox.release(events)

    assert len(await other.outbox.adopt(10, PLENTY)) == 2


async def test_whoever_writes_an_event_takes_over_the_unsent_ones_of_the_run(store: Store) -> None:
    dead, alive = await store.worker("dead"), await store.worker("alive")
    claim = await queued_and_claimed(dead)
    await beat(dead, claim, 2, 10)
    await store.lapse()

    newer = await claim_one(alive, expired=True)
    finished = await alive.queue.finish(newer, completed(newer))

    assert sequences(newer.events) == [1, 2, 3]
    assert finished is not None
    assert sequences(finished.events) == [1, 3, 4], "progress is dropped by the end"
    assert {owner for *_, owner in await store.unsent()} == {"alive"}


async def test_concurrent_adoptions_share_the_events_and_split_no_run(store: Store) -> None:
    dead = await store.worker("dead")
    others = [await store.worker(f"other {number}") for number in range(4)]
    names = [f"request-{number}" for number in range(30)]
    await dead.journal.record_batch([requested(name) for name in names], [], [], ADMIT)
    claims = (await dead.queue.claim(30)).claims
    for claim in claims:
        await beat(dead, claim, 2, 10)
    await store.lapse_events()

    adopted = await asyncio.gather(*(other.outbox.adopt(20, PLENTY) for other in others))
    for _ in range(3):
        adopted.append(await others[0].outbox.adopt(50, PLENTY))

    for share in adopted:
        runs = {event.run_id for event in share}
        assert sorted(sequences(list(share))) == [1] * len(runs) + [2] * len(runs)
    assert {event.run_id for share in adopted for event in share} == {claim.run_id for claim in claims}


async def test_everything_at_once_on_the_same_rows_ends_in_no_deadlock(store: Store) -> None:
    """Two workers beat, finish, sweep, adopt, renew, delete and record cancels of the same runs, in opposite orders."""
    one, other = await store.worker("one"), await store.worker("other")
    names = [f"request-{number}" for number in range(40)]
    await one.journal.record_batch([requested(name) for name in names], [], [], ADMIT)
    claims = (await one.queue.claim(40)).claims
    events = [event for claim in claims for event in claim.events]

    async def cancel_all(order: list[Claim]) -> None:
        await other.journal.record_batch([], [cancel(run_id=claim.run_id) for claim in order], [], ADMIT)

    async with asyncio.timeout(20):
        for turn in range(4):
            order = list(claims if turn % 2 else claims[::-1])
            mixed = events if turn % 2 else events[::-1]
            await store.lapse_events()
            await asyncio.gather(
                one.queue.beat([Beat(claim) for claim in order]),
                one.outbox.renew(mixed),
                other.outbox.adopt(500, PLENTY),
                one.outbox.adopt(500, PLENTY),
                cancel_all(order),
                other.queue.sweep(),
                *(one.queue.finish(claim, completed(claim)) for claim in order[turn * 10 : turn * 10 + 10]),
                one.outbox.delete(mixed[:10]),
            )
    assert LEASE_SECONDS > 20, "nothing of this was a lapsed lease"
