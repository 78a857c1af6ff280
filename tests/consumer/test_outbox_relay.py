"""The relay: order within a run, both topics, cuts, and servers that come and go."""

import asyncio

import pytest

from consumer.adapters.memory.broker import Trouble
from consumer.adapters.memory.tables import Weather
from consumer.ports import Claim, EventKind, OutgoingEvent, Record
from consumer.ports.outcomes import Failed
from schemas.topics import Topic
from tests.consumer.memory_worker import MemoryWorker, World, progress, until
from tests.support.messages import ADMIT, body, completed, event_writer, raw_record, requested


async def claimed(worker: MemoryWorker, name: str = "a") -> Claim:
    """A run of this worker whose started event is not given to the relay yet."""
    await worker.journal.record_batch([requested(name)], [], [], ADMIT)
    [claim] = (await worker.queue.claim(1)).claims
    return claim


def progress_of(claim: Claim, sequence: int, percent: int) -> OutgoingEvent:
    return event_writer().progress(claim.facts, sequence, claim.attempt, progress(percent), None)


def published(world: World, topic: Topic = Topic.PROGRESS) -> list[tuple[str, int]]:
    events = [body(record.value) for record in world.broker.records(topic)]
    return [(event["type"].removeprefix("backtest."), event["sequence"]) for event in events]


async def publish_all(worker: MemoryWorker) -> None:
    while any(worker.relay.waiting.values()):
        assert await worker.relay.publish_once()


async def test_the_events_of_a_run_go_out_one_after_the_other_by_sequence() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None

    worker.relay.add(reversed(finished.events))
    await worker.relay.publish_once()
    assert published(worker.world) == [("started", 1)]
    await worker.relay.publish_once()

    assert published(worker.world) == [("started", 1), ("completed", 2)]
    assert worker.world.tables.outbox == {}


async def test_the_terminal_event_is_the_same_bytes_on_both_topics() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, Failed("no_data", "none"))
    assert finished is not None
    worker.relay.add(finished.events)

    await publish_all(worker)

    [on_completed] = worker.world.broker.records(Topic.COMPLETED)
    on_progress = worker.world.broker.records(Topic.PROGRESS)[-1]
    assert (on_completed.key, on_completed.value) == (on_progress.key, on_progress.value)
    assert on_completed.key == str(claim.run_id).encode()


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_terminal_event_that_one_topic_did_not_acknowledge_is_sent_to_both_again(lost: int) -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    worker.relay.add(finished.events)
    await worker.relay.publish_once()
    worker.world.broker.trouble = [Trouble.NONE] * lost + [Trouble.LOST]

    assert not await worker.relay.publish_once()
    assert await worker.relay.publish_once()

    assert published(worker.world, Topic.COMPLETED)[-1] == ("completed", 2)
    assert published(worker.world)[-1] == ("completed", 2)
    assert worker.relay.waiting == {}


async def test_nothing_of_a_run_goes_out_before_its_unacknowledged_predecessor_but_other_runs_do() -> None:
    worker = MemoryWorker(World())
    stuck, free = await claimed(worker, "a"), await claimed(worker, "b")
    for claim in (stuck, free):
        finished = await worker.queue.finish(claim, completed(claim))
        assert finished is not None
        worker.relay.add(finished.events)
    worker.world.broker.trouble = [Trouble.LOST]

    await worker.relay.publish_once()

    assert [body(each.value)["run_id"] for each in worker.world.broker.records(Topic.PROGRESS)] == [free.run_id]
    await publish_all(worker)
    assert published(worker.world, Topic.COMPLETED) == [("completed", 2)] * 2


async def test_a_broker_that_is_away_loses_nothing_and_gets_all_when_it_is_back() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    worker.relay.add(claim.events)
    worker.world.broker.away = True

    assert not await worker.relay.publish_once()
    assert len(worker.world.tables.outbox) == 1
    worker.world.broker.away = False
    assert await worker.relay.publish_once()

    assert published(worker.world) == [("started", 1)]


async def test_superseded_progress_is_not_sent() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    worker.relay.add([*claim.events, progress_of(claim, 2, 10), progress_of(claim, 3, 20)])
    worker.relay.add([progress_of(claim, 2, 10)])

    await publish_all(worker)

    assert published(worker.world) == [("started", 1), ("progress", 3)]


async def test_progress_that_comes_after_the_end_is_not_sent() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    terminal = finished.events[-1]
    worker.relay.add([*claim.events, terminal])

    worker.relay.add([progress_of(claim, terminal.sequence - 1, 50)])
    await publish_all(worker)

    assert [kind for kind, _ in published(worker.world)] == ["started", "completed"]


async def test_an_event_that_is_added_twice_is_sent_once() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)

    worker.relay.add([*claim.events, *claim.events])
    worker.relay.add(claim.events)
    await publish_all(worker)

    assert published(worker.world) == [("started", 1)]


async def test_a_dead_letter_that_fits_nowhere_goes_as_its_beginning_and_says_so() -> None:
    worker = MemoryWorker(World())
    record = Record(str(Topic.REQUESTED), 0, 7, b"k" * 100, b"v" * 9_000_000, (("own", b"h"),))
    letter = event_writer().dead_letter(record, "too_large", "too large")  # type: ignore[arg-type]  # a StrEnum's value
    worker.relay.add((await worker.journal.record_batch([], [], [letter], ADMIT)).events)

    assert await worker.relay.publish_once()
    assert await worker.relay.publish_once()

    [sent] = worker.world.broker.records(Topic.DEAD_LETTER)
    assert (sent.value, sent.headers[-1]) == (b"v" * 65_536, ("dlq-truncated", b"true"))
    assert worker.world.tables.outbox == {}


async def test_no_failure_text_makes_an_event_too_large_for_the_broker() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, Failed("strategy_error", "\U0001f600" * 1_000_000))
    assert finished is not None
    worker.relay.add(finished.events)

    await publish_all(worker)

    assert published(worker.world, Topic.COMPLETED) == [("failed", 2)]
    assert len(worker.world.tables.runs[claim.run_id]["error_message"]) > 1_000_000, "the row has all of it"


async def test_what_was_sent_while_the_store_was_away_is_forgotten_when_it_is_back_and_not_sent_again() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    worker.relay.add(claim.events)
    worker.world.tables.weather = [Weather.REFUSED]

    await worker.relay.publish_once()
    assert len(worker.world.tables.outbox) == 1
    await worker.relay.keep()

    assert worker.world.tables.outbox == {}
    assert published(worker.world) == [("started", 1)]


async def test_a_cancelled_delete_is_made_up_for() -> None:
    """The relay's task is cancelled at a drain, and the drain goes on where it was."""
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    worker.relay.add(claim.events)
    publishing = asyncio.create_task(worker.relay.publish_once())
    await until(lambda: bool(worker.world.broker.records(Topic.PROGRESS)))
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)

    await worker.relay.drain(deadline=10.0)

    assert worker.world.tables.outbox == {}


async def test_a_drain_publishes_what_waits_and_leaves_the_rest_to_others() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker"), MemoryWorker(world, "other")
    first, second = await claimed(worker, "a"), await claimed(worker, "b")
    worker.relay.add(first.events)
    await worker.relay.drain(deadline=10.0)
    assert len(published(world)) == 1
    worker.relay.add(second.events)
    world.broker.away = True

    await worker.relay.drain(deadline=10.0)

    world.broker.away = False
    await other.relay.keep()
    await publish_all(other)
    assert published(world) == [("started", 1)] * 2


async def test_events_of_a_worker_that_is_gone_are_adopted_by_another() -> None:
    world = World()
    gone, other = MemoryWorker(world, "gone"), MemoryWorker(world, "other")
    await claimed(gone)
    await other.relay.keep()
    assert other.relay.waiting == {}

    world.clock.advance(20)
    await other.relay.keep()
    await publish_all(other)

    assert published(world) == [("started", 1)]


async def test_an_event_that_cannot_be_sent_as_it_is_stays_and_holds_up_nobody_else() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    huge = OutgoingEvent("huge", EventKind.REJECTED, None, 1, b"k", b"x" * 2_000_000, row_id=99)
    worker.relay.add([huge, *claim.events])

    assert await worker.relay.publish_once()
    assert not await worker.relay.publish_once()

    assert published(worker.world) == [("started", 1)]
    assert worker.relay.waiting == {("row", 99): [huge]}


async def test_a_keyless_tombstone_is_dead_lettered_as_it_came() -> None:
    world = World()
    worker = MemoryWorker(world)
    world.produce(raw_record(None, key=None))

    await worker.read()
    await publish_all(worker)

    [sent] = world.broker.records(Topic.DEAD_LETTER)
    assert (sent.key, sent.value) == (None, None)
