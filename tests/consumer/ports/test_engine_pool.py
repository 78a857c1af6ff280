"""What every EnginePool promises, asked of the real one and of the one in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from consumer.adapters.engine_pool.pool import EngineProcesses
from consumer.adapters.memory.engine import InMemoryEnginePool
from consumer.ports import EnginePool, EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import ChildDied, Completed, EngineOutcome, Stopped
from tests.consumer.adapters.engine_pool import behaviours as engine_behaviours
from tests.consumer.pools import Started, run, settings, until

SLOTS = 2


async def behave(task: EngineTask, on_progress: Callable[[EngineProgress], None]) -> EngineOutcome:
    """The behaviours of engine_behaviours that this suite asks for, in memory."""
    match task.specification["behaviour"]:
        case "well":
            on_progress(engine_behaviours.progress(1, 2))
            on_progress(engine_behaviours.progress(2, 2))
        case "endless":
            on_progress(engine_behaviours.progress(1))
            await asyncio.Event().wait()
        case "until_file":
            on_progress(engine_behaviours.progress(1))
            await until(Path(task.specification["until"]).exists)
        case "exit_now":
            raise RuntimeError("dead")
    return engine_behaviours.completed(task)


@pytest.fixture(params=["processes", "memory"], scope="module")
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[EnginePool]:
    if request.param == "memory":
        in_memory = InMemoryEnginePool(behave, SLOTS)
        yield in_memory
        await in_memory.close()
    else:
        async with EngineProcesses(settings(slots=SLOTS)) as processes:
            yield processes


async def test_a_run_answers_with_what_the_engine_made_of_its_task(pool: EnginePool) -> None:
    asked = EngineTask(7, 3, {"behaviour": "well", "trade_bytes": 1000})

    outcome = await pool.run(asked, lambda _: None, StopSignal())

    assert outcome == engine_behaviours.completed(asked)
    assert isinstance(outcome, Completed)
    assert outcome.artifacts == {"trades": "/runs/7/3/trades.parquet"}


async def test_progress_comes_before_the_answer_and_ends_at_the_last_bar(pool: EnginePool) -> None:
    started = Started(pool, "well")
    await started.run

    assert started.progress[-1] == engine_behaviours.progress(2, 2)
    assert [each.bars_done for each in started.progress] == sorted(each.bars_done for each in started.progress)


async def test_no_more_runs_than_slots_at_a_time_and_the_longest_waiting_one_is_next(
    pool: EnginePool, tmp_path: Path
) -> None:
    signs = [tmp_path / f"{number}" for number in range(4)]
    files = {"file": str(tmp_path / "pid")}
    runs = [Started(pool, "until_file", number, until=str(sign), **files) for number, sign in enumerate(signs)]
    await runs[0].until_it_told()
    await runs[1].until_it_told()
    assert not runs[2].progress

    signs[1].touch()
    await runs[2].until_it_told()
    assert isinstance(await runs[1].run, Completed)
    assert not runs[3].progress

    for sign in signs:
        sign.touch()
    assert all(isinstance(each, Completed) for each in await asyncio.gather(*(each.run for each in runs)))


async def test_a_stopped_run_ends_stopped_and_its_slot_serves_on(pool: EnginePool) -> None:
    started = Started(pool, "endless")
    await started.until_it_told()

    started.stop.set()
    started.stop.set()

    assert await asyncio.wait_for(started.run, 10) == Stopped()
    assert isinstance(await run(pool, "well"), Completed)
    assert started.stop.callbacks == []


async def test_a_run_told_to_stop_before_it_began_does_not_begin(pool: EnginePool) -> None:
    stop = StopSignal()
    stop.set()

    assert await pool.run(EngineTask(1, 1, {"behaviour": "endless"}), lambda _: None, stop) == Stopped()


async def test_a_run_told_to_stop_while_it_waits_leaves_the_queue_at_once(pool: EnginePool) -> None:
    busy = [Started(pool, "endless") for _ in range(SLOTS)]
    for each in busy:
        await each.until_it_told()
    waiting = Started(pool, "endless")

    waiting.stop.set()

    assert await asyncio.wait_for(waiting.run, 5) == Stopped()
    assert not waiting.progress
    assert not any(each.run.done() for each in busy)
    for each in busy:
        each.stop.set()
    await asyncio.gather(*(each.run for each in busy))


async def test_a_dead_child_fails_its_run_alone(pool: EnginePool, tmp_path: Path) -> None:
    sign = tmp_path / "go"
    beside = Started(pool, "until_file", until=str(sign), file=str(tmp_path / "pid"))
    await beside.until_it_told()

    outcome = await run(pool, "exit_now")

    assert isinstance(outcome, ChildDied)
    assert outcome.description
    sign.touch()
    assert isinstance(await beside.run, Completed)
    assert isinstance(await run(pool, "well"), Completed)


async def test_a_caller_that_goes_away_frees_its_slot(pool: EnginePool) -> None:
    for _ in range(SLOTS + 1):
        started = Started(pool, "endless")
        await started.until_it_told()
        started.run.cancel()
        await asyncio.wait([started.run])
        assert started.run.cancelled()

    assert isinstance(await asyncio.wait_for(run(pool, "well"), 30), Completed)


@pytest.mark.parametrize("kind", ["processes", "memory"])
async def test_closing_stops_runs_under_way_waiting_and_to_come(kind: str) -> None:
    pool: EnginePool
    if kind == "memory":
        pool = InMemoryEnginePool(behave, 1)
    else:
        pool = await EngineProcesses(settings(slots=1)).__aenter__()
    under_way = Started(pool, "endless")
    await under_way.until_it_told()
    waiting = Started(pool, "endless")
    await asyncio.wait([waiting.run], timeout=0)

    await asyncio.wait_for(pool.close(), 5)

    assert await under_way.run == Stopped()
    assert await waiting.run == Stopped()
    assert await run(pool, "well") == Stopped()
    await pool.close()
