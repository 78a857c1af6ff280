"""The dispatcher: slots, claims ahead, heartbeats, cancels, drains."""

import asyncio
from collections.abc import Callable

import pytest

from consumer.active_runs import ActiveRun
from consumer.adapters.memory.tables import Weather
from consumer.dispatch import CLAIMS_AHEAD_A_SLOT, eta_seconds
from consumer.errors import StoreUnavailable
from consumer.ports import BeatAnswer, BeatResult, EngineProgress, EngineTask
from consumer.ports.outcomes import EngineOutcome
from schemas.topics import Topic
from tests.consumer.memory_worker import (
    LEASE_SECONDS,
    MemoryWorker,
    World,
    completes,
    progress,
    result_of,
    settle,
    until,
)
from tests.support.messages import ADMIT, body, cancel, requested


class Gate:
    """An engine that reports what the test says and ends when it may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.reports: list[Callable[[EngineProgress], None]] = []

    async def __call__(self, task: EngineTask, on_progress: Callable[[EngineProgress], None]) -> EngineOutcome:
        self.reports.append(on_progress)
        await self.may_end.wait()
        return result_of(task)


async def queue(worker: MemoryWorker, count: int) -> list[int]:
    batch = [requested(f"request-{number}") for number in range(count)]
    return list((await worker.journal.record_batch(batch, [], [], ADMIT)).new_runs)


def states(world: World) -> list[str]:
    return [world.tables.executions[run_id]["state"] for run_id in sorted(world.tables.executions)]


async def test_no_more_runs_are_claimed_than_there_are_slots() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate, slots=2)
    await queue(worker, 5)

    assert await worker.dispatcher.claim_once()
    assert not await worker.dispatcher.claim_once()
    await settle()

    assert states(worker.world) == ["running"] * 2 + ["queued"] * 3
    assert len(gate.reports) == 2
    await worker.crash()


async def test_the_runs_that_a_worker_holds_are_told_in_its_metrics() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate, slots=2)
    registry = worker.dispatcher.telemetry.registry
    await queue(worker, 2)

    await worker.dispatcher.claim_once()
    held = registry.get_sample_value("backtest_active_runs")
    gate.may_end.set()
    await until(lambda: not worker.dispatcher.active)

    assert held == 2
    assert registry.get_sample_value("backtest_active_runs") == 0


async def test_a_run_that_ended_makes_room_and_wakes_the_claimer() -> None:
    worker = MemoryWorker(World(), slots=1)
    await queue(worker, 2)
    await worker.dispatcher.claim_once()
    worker.dispatcher.work_arrived.clear()

    await until(lambda: not worker.dispatcher.active)

    assert worker.dispatcher.work_arrived.is_set()
    assert await worker.dispatcher.claim_once()
    await until(lambda: states(worker.world) == ["completed"] * 2)
    await until(lambda: not worker.dispatcher.tasks)


async def test_short_runs_are_claimed_a_few_ahead_of_the_slots() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate, slots=2)
    worker.dispatcher.mean_run_seconds = 0.01
    await queue(worker, 30)

    await worker.dispatcher.claim_once()

    assert states(worker.world).count("running") == 2 + 2 * CLAIMS_AHEAD_A_SLOT
    await worker.crash()


async def test_a_heartbeat_tells_progress_once_and_only_when_it_moved() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate)
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    worker.world.clock.advance(2)
    gate.reports[0](progress(40))

    await worker.dispatcher.beat_once()
    await worker.dispatcher.beat_once()
    await worker.relay.publish_once()
    await worker.relay.publish_once()

    started, told = [body(record.value) for record in worker.world.broker.records(Topic.PROGRESS)]
    assert (started["sequence"], told["sequence"], told["progress_pct"]) == (1, 2, 40)
    assert (told["bars_done"], told["bars_total"], told["eta_seconds"]) == (40, 100, 3.0)
    await worker.crash()


async def test_heartbeats_keep_a_run_from_other_workers() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker", Gate()), MemoryWorker(world, "other")
    await queue(worker, 1)
    await worker.dispatcher.claim_once()

    for _ in range(3):
        world.clock.advance(LEASE_SECONDS * 0.9)
        await worker.dispatcher.beat_once()
        await other.dispatcher.sweep()
        await other.dispatcher.claim_once()

    assert other.dispatcher.active == {}
    await worker.crash()


@pytest.mark.parametrize("by", ["event", "row", "deleted"])
async def test_a_cancel_reaches_the_engine_and_ends_the_run_cancelled(by: str) -> None:
    worker = MemoryWorker(World(), script=Gate())
    [run_id] = await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    match by:
        case "event":
            await worker.journal.record_batch([], [cancel(run_id=run_id, reason="enough")], [], ADMIT)
        case "row":
            worker.world.tables.change_run(run_id, status="cancelled")
        case "deleted":
            worker.world.tables.delete_run(run_id)

    await worker.dispatcher.look_for_cancels()
    await until(lambda: not worker.dispatcher.active)

    assert states(worker.world) == ["cancelled"]


async def test_a_worker_that_was_passed_over_stops_its_engine_and_writes_nothing() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker", Gate()), MemoryWorker(world, "other", Gate())
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    world.clock.advance(LEASE_SECONDS + 1)
    await other.dispatcher.sweep()
    await other.dispatcher.sweep()
    await other.dispatcher.claim_once()
    before = dict(world.tables.executions)

    await worker.dispatcher.beat_once()
    await until(lambda: not worker.dispatcher.active)

    assert world.tables.executions == before
    assert len(other.dispatcher.active) == 1
    await other.crash()


async def test_leases_that_ran_out_while_the_store_stood_still_are_left_to_their_owners() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker", Gate()), MemoryWorker(world, "other", Gate())
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    world.clock.advance(LEASE_SECONDS + 1)

    await other.dispatcher.sweep()
    await other.dispatcher.claim_once()
    await worker.dispatcher.beat_once()
    await other.dispatcher.sweep()
    await other.dispatcher.claim_once()

    assert other.dispatcher.active == {}
    assert [row["deaths"] for row in world.tables.executions.values()] == [0]
    await worker.crash()


async def test_a_lapsed_lease_is_taken_over_when_two_sweeps_in_a_row_saw_it() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker", Gate()), MemoryWorker(world, "other", Gate())
    [run_id] = await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await worker.crash()
    world.clock.advance(LEASE_SECONDS + 1)

    for _ in range(2):
        assert other.dispatcher.active == {}
        await other.dispatcher.sweep()
        await other.dispatcher.claim_once()

    assert list(other.dispatcher.active) == [run_id]
    await other.crash()


async def test_a_worker_that_was_late_goes_on_with_its_own_runs() -> None:
    """A lease that ran out is no reason to claim the run a second time beside oneself."""
    gate = Gate()
    worker = MemoryWorker(World(), script=gate, slots=3)
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    worker.world.clock.advance(LEASE_SECONDS + 1)

    await worker.dispatcher.sweep()
    await worker.dispatcher.sweep()
    await worker.dispatcher.claim_once()
    await worker.dispatcher.beat_once()
    gate.may_end.set()
    await until(lambda: not worker.dispatcher.active)

    assert len(gate.reports) == 1
    assert states(worker.world) == ["completed"]
    assert [row["epoch"] for row in worker.world.tables.executions.values()] == [1]


async def test_an_answer_about_an_earlier_claim_does_not_stop_a_later_one_of_the_same_run() -> None:
    worker = MemoryWorker(World(), script=Gate())
    [run_id] = await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    earlier = worker.dispatcher.active[run_id]
    later = ActiveRun(earlier.claim, 0.0)
    worker.dispatcher.active[run_id] = later

    worker.dispatcher.heed({run_id: earlier}, {run_id: BeatResult(BeatAnswer.FENCED)})

    assert (earlier.stop.is_set, later.stop.is_set) == (True, False)
    await until(lambda: not worker.dispatcher.tasks)
    assert worker.dispatcher.active == {run_id: later}, "the earlier one takes only itself off"


async def test_runs_of_a_claim_whose_answer_was_lost_go_back_to_the_queue_without_a_death() -> None:
    worker = MemoryWorker(World())
    await queue(worker, 2)
    worker.world.tables.weather = [Weather.ANSWER_LOST]
    with pytest.raises(StoreUnavailable):
        await worker.dispatcher.claim_once()
    assert states(worker.world) == ["running"] * 2

    await worker.dispatcher.claim_once()
    await until(lambda: states(worker.world) == ["completed"] * 2)

    assert {row["deaths"] for row in worker.world.tables.executions.values()} == {0}


async def test_a_drain_without_patience_gives_runs_back_at_once_and_counts_no_death() -> None:
    worker = MemoryWorker(World(), script=Gate())
    await queue(worker, 3)
    await worker.dispatcher.claim_once()
    await settle()

    await worker.dispatcher.drain(0, 5)

    assert states(worker.world) == ["queued"] * 3
    assert {row["deaths"] for row in worker.world.tables.executions.values()} == {0}
    assert not await worker.dispatcher.claim_once()
    assert states(worker.world) == ["queued"] * 3


async def test_a_patient_drain_lets_runs_finish() -> None:
    gate = Gate()
    worker = MemoryWorker(World(), script=gate)
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    draining = asyncio.create_task(worker.dispatcher.drain(30, 5))
    await settle()

    gate.may_end.set()
    await draining

    assert states(worker.world) == ["completed"]


async def test_a_claim_that_is_under_way_when_the_drain_begins_is_given_back_too() -> None:
    worker = MemoryWorker(World(), script=completes)
    await queue(worker, 2)
    claiming = asyncio.create_task(worker.dispatcher.claim_once())
    await asyncio.sleep(0)
    assert not claiming.done()

    await worker.dispatcher.drain(0, 5)
    await claiming

    assert states(worker.world) == ["queued"] * 2
    assert worker.dispatcher.active == {}


async def test_a_drain_ends_in_time_while_the_store_is_away(no_retry_pauses: None) -> None:
    worker = MemoryWorker(World(), script=Gate())
    await queue(worker, 1)
    await worker.dispatcher.claim_once()
    await settle()
    worker.world.tables.weather = [Weather.REFUSED] * 100_000

    async with asyncio.timeout(5):
        await worker.dispatcher.drain(0, 0.05)

    assert states(worker.world) == ["running"], "left to its lease"
    assert worker.dispatcher.active == {}


async def test_there_is_no_estimate_while_there_is_no_pace() -> None:
    worker = MemoryWorker(World(), script=Gate())
    [run_id] = await queue(worker, 1)
    await worker.dispatcher.claim_once()
    run = worker.dispatcher.active[run_id]

    assert eta_seconds(run, progress(0), 5.0) is None
    assert eta_seconds(run, progress(50), 0.0) is None
    assert eta_seconds(run, progress(25), 5.0) == 15.0
    await worker.crash()
