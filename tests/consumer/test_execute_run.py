"""One run to its end: each answer of the engine, and a store that is away or refuses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consumer.active_runs import ActiveRun
from consumer.adapters.memory.queue import MemoryQueue
from consumer.adapters.memory.tables import Weather
from consumer.execute_run import MAX_MESSAGE_CHARACTERS, decide, execute_run
from consumer.ports import Claim, EngineProgress, EngineTask, FinishResult
from consumer.ports.outcomes import (
    Cancelled,
    ChildDied,
    Completed,
    EngineOutcome,
    Failed,
    Returned,
    RunOutcome,
    Stopped,
    Superseded,
    TerminalOutcome,
)
from tests.consumer.memory_worker import LEASE_SECONDS, MAX_ATTEMPTS, MemoryWorker, World, result_of, settle
from tests.support.messages import ADMIT, requested


def answering(outcome: EngineOutcome | Exception | None) -> Any:
    """An engine that answers with this; None: its result."""

    async def script(task: EngineTask, on_progress: Callable[[EngineProgress], None]) -> EngineOutcome:
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or result_of(task)

    return script


async def claimed(worker: MemoryWorker) -> ActiveRun:
    await worker.journal.record_batch([requested("a")], [], [], ADMIT)
    [claim] = (await worker.queue.claim(1)).claims
    return ActiveRun(claim, 0.0)


async def execute(worker: MemoryWorker, run: ActiveRun) -> RunOutcome:
    return await execute_run(run, worker.dispatcher.ports)


def execution(worker: MemoryWorker) -> dict[str, Any]:
    [row] = worker.world.tables.executions.values()
    return row


async def test_a_result_completes_the_run_and_its_event_goes_to_the_relay() -> None:
    worker = MemoryWorker(World(), script=answering(None))
    run = await claimed(worker)

    outcome = await execute(worker, run)

    assert isinstance(outcome, Completed)
    assert execution(worker)["state"] == "completed"
    assert [event.sequence for event in worker.relay.waiting["run", run.claim.run_id]] == [1, 2]


async def test_a_failure_fails_the_run_with_its_code() -> None:
    worker = MemoryWorker(World(), script=answering(Failed("no_data", "none")))
    run = await claimed(worker)

    assert await execute(worker, run) == Failed("no_data", "none")
    assert worker.world.tables.runs[run.claim.run_id]["error_message"] == "no_data: none"


async def test_a_message_longer_than_a_record_is_cut_so_that_the_terminal_event_fits() -> None:
    worker = MemoryWorker(World(), script=answering(Failed("strategy_error", "x" * 2_000_000)))
    outcome = await execute(worker, await claimed(worker))
    assert isinstance(outcome, Failed)
    assert len(outcome.message) == MAX_MESSAGE_CHARACTERS + len("...")


async def test_a_child_that_dies_gives_the_run_back_with_a_death_until_it_is_one_too_many() -> None:
    worker = MemoryWorker(World(), script=answering(RuntimeError("killed")))
    run = await claimed(worker)

    for death in range(1, MAX_ATTEMPTS):
        assert isinstance(await execute(worker, run), Returned)
        assert (execution(worker)["state"], execution(worker)["deaths"]) == ("queued", death)
        [claim] = (await worker.queue.claim(1)).claims
        run = ActiveRun(claim, 0.0)
    last = await execute(worker, run)

    assert isinstance(last, Failed)
    assert last.code == "crash_loop"
    assert execution(worker)["state"] == "failed"


async def test_a_defect_of_the_pool_fails_the_run_and_not_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)

    async def fail(*_: object) -> EngineOutcome:
        raise OSError("no more processes")

    monkeypatch.setattr(worker.engine, "run", fail)

    outcome = await execute(worker, run)

    assert isinstance(outcome, Failed)
    assert outcome.code == "internal_error"


async def test_a_cancelled_run_ends_cancelled_with_its_reason() -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)
    run.cancel("enough")

    assert await execute(worker, run) == Cancelled("enough")


async def test_a_fenced_run_writes_nothing() -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)
    before = execution(worker)
    run.fence()

    assert await execute(worker, run) == Superseded()
    assert execution(worker) == before


async def test_a_drained_run_goes_back_and_no_death_is_counted() -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)
    run.drain()

    assert isinstance(await execute(worker, run), Returned)
    assert (execution(worker)["state"], execution(worker)["deaths"]) == ("queued", 0)


async def test_a_result_that_comes_after_another_worker_took_the_run_is_dropped() -> None:
    world = World()
    worker, other = MemoryWorker(world, "worker"), MemoryWorker(world, "other")
    run = await claimed(worker)
    world.clock.advance(LEASE_SECONDS + 1)
    await other.queue.claim(1, lapsed=await other.queue.lapsed())

    assert await execute(worker, run) == Superseded()
    assert execution(worker)["state"] == "running"


async def test_a_store_that_is_away_or_loses_answers_delays_the_end_and_doubles_nothing(no_retry_pauses: None) -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)
    worker.world.tables.weather = [Weather.REFUSED, Weather.REFUSED, Weather.ANSWER_LOST, Weather.REFUSED]

    outcome = await execute(worker, run)

    assert isinstance(outcome, Completed)
    assert len(worker.world.tables.trades[run.claim.run_id]) == 2
    assert len(worker.relay.waiting["run", run.claim.run_id]) == 2


class PickyQueue(MemoryQueue):
    """A store that refuses results, as Postgres refuses a figure that does not fit its column."""

    __slots__ = ()

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        if isinstance(outcome, Completed):
            raise OverflowError("integer out of range")
        return await MemoryQueue.finish(self, claim, outcome)


async def test_a_result_that_the_store_refuses_fails_the_run_in_place_of_repeating_for_ever() -> None:
    worker = MemoryWorker(World())
    run = await claimed(worker)
    queue = PickyQueue(worker.world.tables, worker.queue.writer, "worker", LEASE_SECONDS, MAX_ATTEMPTS)
    worker.dispatcher.ports = type(worker.dispatcher.ports)(
        queue, worker.engine, worker.relay, worker.world.clock, MAX_ATTEMPTS
    )

    outcome = await execute(worker, run)
    await settle()

    assert isinstance(outcome, Failed)
    assert (outcome.code, "integer out of range" in outcome.message) == ("internal_error", True)
    assert execution(worker)["state"] == "failed"


@pytest.mark.parametrize("answer", [Stopped(), ChildDied("killed when it was told to stop")])
@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("cancel", Cancelled("enough")),
        ("fence", Superseded()),
        ("drain", Returned("drain")),
        ("cancel and fence", Superseded()),
        ("drain and cancel", Returned("drain")),
    ],
)
async def test_an_engine_that_was_told_to_stop_ends_as_the_reason_says(
    answer: EngineOutcome, stop: str, expected: RunOutcome
) -> None:
    run = await claimed(MemoryWorker(World()))
    for each in stop.split(" and "):
        match each:
            case "cancel":
                run.cancel("enough")
            case "fence":
                run.fence()
            case "drain":
                run.drain()

    assert decide(answer, run, MAX_ATTEMPTS) == expected
