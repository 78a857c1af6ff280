"""The relay: order within a run, both topics, cuts, and servers that come and go."""

import asyncio

import pytest

from consumer.adapters.memory.broker import MemoryBroker, Trouble
from consumer.adapters.memory.tables import Weather
from consumer.ports import Beat, Claim, EventKind, OutgoingEvent, Record
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


@pytest.mark.parametrize("lost", [Topic.PROGRESS, Topic.COMPLETED])
async def test_what_one_topic_acknowledged_goes_to_the_other_alone(lost: Topic) -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    worker.relay.add(finished.events)
    await worker.relay.publish_once()
    worker.world.broker.trouble = [Trouble.NONE] * (lost is Topic.COMPLETED) + [Trouble.LOST]

    await worker.relay.publish_once()
    assert worker.relay.waiting
    await worker.relay.publish_once()

    assert published(worker.world, Topic.COMPLETED) == [("completed", 2)]
    assert published(worker.world) == [("started", 1), ("completed", 2)]
    assert (worker.relay.waiting, worker.world.tables.outbox) == ({}, {})


async def test_an_event_that_one_topic_refuses_floods_no_other_topic_and_comes_when_it_may() -> None:
    """It stood 78 times on the other one within 20 s."""
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    worker.relay.add(finished.events)
    await worker.relay.publish_once()
    worker.world.broker.limits[Topic.PROGRESS] = 10

    for _ in range(600):
        await worker.relay.publish_once()
        worker.world.clock.advance(0.25)
    assert published(worker.world, Topic.COMPLETED) == [("completed", 2)]
    assert published(worker.world) == [("started", 1)]
    assert worker.relay.complaints() == [
        f"backtest.progress refuses 1 events (too_large), the first {finished.events[-1].event_id}"
    ]
    del worker.world.broker.limits[Topic.PROGRESS]
    worker.world.clock.advance(60)
    await worker.relay.publish_once()

    assert published(worker.world) == [("started", 1), ("completed", 2)]
    assert published(worker.world, Topic.COMPLETED) == [("completed", 2)]
    assert worker.relay.complaints() == []


async def test_any_number_of_refused_events_is_passed_by_and_comes_at_once_when_the_topic_is_mended() -> None:
    worker = MemoryWorker(World())
    world = worker.world
    world.broker.limits[Topic.COMPLETED] = 10
    refused = [OutgoingEvent(f"e{n}", EventKind.REJECTED, None, 1, b"k", b"{}" * 10, row_id=n) for n in range(1, 1501)]
    worker.relay.add(refused)
    while any(lane.ready for lane in worker.relay.lanes.values()):
        await worker.relay.publish_once()
    letter = event_writer().dead_letter(raw_record(b"?"), "undecodable", "no JSON")  # type: ignore[arg-type]  # a StrEnum's value

    worker.relay.add((await worker.journal.record_batch([], [], [letter], ADMIT)).events)
    assert await worker.relay.publish_once()
    assert len(world.broker.records(Topic.DEAD_LETTER)) == 1

    del world.broker.limits[Topic.COMPLETED]
    world.clock.advance(60)
    await publish_all(worker)
    assert len(world.broker.records(Topic.COMPLETED)) == 1500


async def test_a_topic_that_is_gone_delays_no_event_of_another_one() -> None:
    worker = MemoryWorker(World())
    claim = await claimed(worker)
    worker.world.broker.absent.add(Topic.DEAD_LETTER)
    letter = event_writer().dead_letter(raw_record(b"?"), "undecodable", "no JSON")  # type: ignore[arg-type]  # a StrEnum's value
    worker.relay.add((await worker.journal.record_batch([], [], [letter], ADMIT)).events)
    worker.relay.add(claim.events)

    assert await worker.relay.publish_once()

    assert published(worker.world) == [("started", 1)]
    assert worker.relay.complaints() == ["backtest.requested.dlq does not exist: 1 events wait for 0 s"]
    worker.world.broker.absent.clear()
    await publish_all(worker)
    assert worker.relay.complaints() == []


async def test_records_that_do_not_fit_into_memory_wait_in_the_store() -> None:
    world = World()
    worker = MemoryWorker(world)
    world.broker.away = True
    records = [Record(str(Topic.REQUESTED), 0, offset, b"k", b"v" * 4_000_000) for offset in range(30)]
    writer = event_writer()
    letters = [writer.dead_letter(record, "too_large", "too large") for record in records]  # type: ignore[arg-type]  # a StrEnum's value

    for letter in letters:
        worker.relay.add((await worker.journal.record_batch([], [], [letter], ADMIT)).events)
    assert worker.relay.waiting_bytes < 40_000_000
    world.broker.away = False
    for _ in range(30):
        await worker.relay.keep()
        assert worker.relay.waiting_bytes < 60_000_000
        world.clock.advance(0.001)
        await worker.relay.publish_once()

    assert sorted(record.value or b"" for record in world.broker.records(Topic.DEAD_LETTER)) == [
        record.value for record in records
    ]
    assert world.tables.outbox == {}


async def test_a_worker_without_a_broker_claims_nothing_and_lets_others_send_its_events() -> None:
    """30 of 60 terminal events were missing while another worker could have sent them."""
    lonely, healthy = World(), World()
    healthy.clock, healthy.tables = lonely.clock, lonely.tables
    lonely.broker = MemoryBroker(away=True)
    cut_off, other = MemoryWorker(lonely, "cut off"), MemoryWorker(healthy, "other")
    claim = await claimed(cut_off)
    cut_off.relay.add(claim.events)

    for _ in range(5):
        await cut_off.relay.publish_once()
        await cut_off.relay.keep()
        lonely.clock.advance(5)
    finished = await cut_off.queue.finish(claim, completed(claim))
    assert finished is not None
    cut_off.relay.add(finished.events)
    await cut_off.journal.record_batch([requested("b")], [], [], ADMIT)
    assert not await cut_off.dispatcher.claim_once()
    assert "no answer from Kafka" in cut_off.relay.complaints()[-1]
    await cut_off.relay.keep()
    lonely.clock.advance(0.001)
    await other.relay.keep()
    await publish_all(other)

    assert published(healthy) == [("started", 1), ("completed", 2)]
    assert published(healthy, Topic.COMPLETED) == [("completed", 2)]
    lonely.broker.away = False
    await cut_off.relay.keep()
    await cut_off.dispatcher.claim_once()
    assert len(cut_off.dispatcher.active) == 1, "the broker is back"
    await cut_off.crash()


async def test_progress_after_an_outage_never_overtakes_what_another_worker_was_to_send() -> None:
    lonely, healthy = World(), World()
    healthy.clock, healthy.tables = lonely.clock, lonely.tables
    lonely.broker = MemoryBroker(away=True)
    cut_off, other = MemoryWorker(lonely, "cut off"), MemoryWorker(healthy, "other")
    claim = await claimed(cut_off)
    cut_off.relay.add(claim.events)
    for _ in range(5):
        await cut_off.relay.publish_once()
        await cut_off.relay.keep()
        lonely.clock.advance(5)
    await other.relay.keep()
    assert other.relay.waiting, "it has the started event, and has not sent it yet"

    lonely.broker = cut_off.relay.publisher.broker = healthy.broker  # type: ignore[attr-defined]  # of the memory twin
    event = (await cut_off.queue.beat([Beat(claim, 10, progress_of(claim, 2, 10))]))[claim.run_id].event
    assert event is not None
    cut_off.relay.add([event])
    await cut_off.relay.publish_once()
    assert published(healthy) == []
    lonely.clock.advance(20)
    await cut_off.relay.keep()
    await publish_all(cut_off)

    assert published(healthy) == [("started", 1), ("progress", 2)]


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
