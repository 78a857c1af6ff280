"""Engine processes under strategies that go wrong: the worker, the other runs and the machine do not notice."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from consumer.adapters.engine_pool.pool import EngineProcesses
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import ChildDied, Completed, EngineOutcome, Failed, Stopped
from schemas.problems import FieldProblem
from tests.consumer.pools import (
    Started,
    is_running,
    open_descriptors,
    pid_in,
    run,
    settings,
    task,
    title,
    until,
)

STOPPED_WITHIN_SECONDS = 0.9
"""A cancel has one second from its acknowledgement; learning of it takes some of that."""


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[EngineProcesses]:
    async with EngineProcesses(settings(memory_mb=500)) as processes:
        yield processes


class Output:
    """What children print."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, data: bytes) -> None:
        self.text += data


# --- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["chunks", "endless", "swallow", "hold_the_gil"])
async def test_a_stop_ends_all_cpu_use_within_a_second_whatever_the_strategy_does(
    pool: EngineProcesses, behaviour: str
) -> None:
    started = Started(pool, behaviour, run_id=4711)
    await started.until_it_told()
    pid = next(each for each in pool.child_pids if title(each) == "backtest-engine run=4711")

    begin = time.monotonic()
    started.stop.set()
    outcome = await started.run

    assert outcome == Stopped()
    assert time.monotonic() - begin < STOPPED_WITHIN_SECONDS
    assert not is_running(pid) or title(pid) == "backtest-engine idle"


async def test_the_best_run_of_a_search_bears_the_title_of_the_search(pool: EngineProcesses) -> None:
    stop, told = StopSignal(), asyncio.Event()
    wanted = replace(task("chunks", 4711), optimization_id=31)
    running = asyncio.ensure_future(pool.run(wanted, lambda _: told.set(), stop))
    await asyncio.wait_for(told.wait(), 20)
    assert "backtest-engine opt=31" in [title(each) for each in pool.child_pids]
    stop.set()
    assert await running == Stopped()


@pytest.mark.parametrize("behaviour", ["detach_process", "detach_fork"])
async def test_a_stop_ends_what_the_strategy_started_however_it_hides(
    pool: EngineProcesses, behaviour: str, tmp_path: Path
) -> None:
    started = Started(pool, behaviour, file=str(tmp_path / "pid"))
    hidden = await pid_in(tmp_path / "pid")
    await started.until_it_told()
    assert is_running(hidden)

    begin = time.monotonic()
    started.stop.set()
    assert await started.run == Stopped()

    assert time.monotonic() - begin < STOPPED_WITHIN_SECONDS
    assert not is_running(hidden)


async def test_a_child_that_stops_by_itself_is_not_replaced(pool: EngineProcesses) -> None:
    await run(pool, "well")
    await until(lambda: len(pool.child_pids) == 2)
    before = set(pool.child_pids)
    started = Started(pool, "chunks")
    await started.until_it_told()

    started.stop.set()
    await started.run

    assert isinstance(await run(pool, "well"), Completed)
    assert set(pool.child_pids) == before


async def test_a_stop_of_a_finished_run_does_not_reach_the_next_one(pool: EngineProcesses, tmp_path: Path) -> None:
    first = Started(pool, "well")
    await first.run
    first.stop.set()

    assert isinstance(await run(pool, "well"), Completed)


# --- limits -------------------------------------------------------------------------------------------------------


async def test_a_run_over_its_deadline_fails_alone(tmp_path: Path) -> None:
    async with EngineProcesses(settings(run_timeout_seconds=0.5)) as pool:
        late = Started(pool, "swallow")
        outcome = await late.run
        after = await run(pool, "well")

    assert outcome == Failed("timeout", "the run took longer than RUN_TIMEOUT_SECONDS, 0.5 s")
    assert isinstance(after, Completed)


async def test_time_in_which_the_worker_stood_still_does_not_count_against_the_deadline(tmp_path: Path) -> None:
    async with EngineProcesses(settings(slots=1, run_timeout_seconds=30)) as pool:
        started = Started(pool, "until_file", until=str(tmp_path / "go"), file=str(tmp_path / "pid"))
        await started.until_it_told()

        for child in pool._busy:
            child.watch(tick_seconds=3600.0)

        (tmp_path / "go").touch()
        assert isinstance(await started.run, Completed)


async def test_a_run_over_its_memory_fails_alone(pool: EngineProcesses, tmp_path: Path) -> None:
    beside = Started(pool, "until_file", until=str(tmp_path / "go"), file=str(tmp_path / "pid"))
    await beside.until_it_told()

    outcome = await run(pool, "grow")

    assert outcome == Failed("out_of_memory", "the run needed more than ENGINE_MEMORY_MB, 500 MB")
    (tmp_path / "go").touch()
    assert isinstance(await beside.run, Completed)


@pytest.mark.parametrize("behaviour", ["ask_too_much", "abort_for_memory"])
async def test_memory_refused_by_the_limit_is_out_of_memory_too(pool: EngineProcesses, behaviour: str) -> None:
    outcome = await run(pool, behaviour)

    assert isinstance(outcome, Failed)
    assert outcome.code == "out_of_memory"


# --- what the child answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("raise_no_data", Failed("no_data", "no EURUSD H1 bars")),
        (
            "raise_invalid_params",
            Failed(
                "invalid_params",
                "strategy 'mine': fast: too large",
                (FieldProblem("strategy_params.fast", "invalid_params", "too large"),),
            ),
        ),
        ("exit_politely", Failed("strategy_error", "SystemExit: enough")),
        # Postgres takes neither NUL nor half a surrogate pair: the run would never get its terminal row.
        (
            "raise_defect",
            Failed("internal_error", "a defect of this program: RuntimeError: nul \\x00 and surrogate \\ud800"),
        ),
    ],
)
async def test_an_error_in_the_child_fails_the_run_with_its_code(
    pool: EngineProcesses, behaviour: str, outcome: EngineOutcome
) -> None:
    assert await run(pool, behaviour) == outcome


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("exit_now", "exited with status 3"),
        ("fault", "SIGSEGV"),
        ("write_garbage", "broke the protocol"),
    ],
)
async def test_a_death_says_how_and_leaves_the_pool_working(pool: EngineProcesses, behaviour: str, said: str) -> None:
    outcome = await run(pool, behaviour)

    assert isinstance(outcome, ChildDied)
    assert said in outcome.description
    assert isinstance(await run(pool, "well"), Completed)


async def test_a_child_killed_from_outside_is_a_death(pool: EngineProcesses, tmp_path: Path) -> None:
    started = Started(pool, "tell_pid_and_spin", file=str(tmp_path / "pid"))

    os.kill(await pid_in(tmp_path / "pid"), signal.SIGKILL)

    assert await started.run == ChildDied("engine child killed by SIGKILL")


async def test_a_death_ends_what_the_strategy_started(pool: EngineProcesses, tmp_path: Path) -> None:
    outcome = await run(pool, "die_beside_fork", file=str(tmp_path / "pid"))

    assert isinstance(outcome, ChildDied)
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_a_death_ends_what_is_only_just_starting(pool: EngineProcesses, tmp_path: Path) -> None:
    for run_id in (501, 502, 503):
        assert isinstance(await run(pool, "die_while_forking", run_id, file=str(tmp_path / "pid")), ChildDied)

        # A fork inherits the title of the child.
        running = [each for each in psutil.pids() if is_running(each) and f"run={run_id}" in title(each)]
        assert running == []


async def test_a_large_result_does_not_hold_up_the_loop(pool: EngineProcesses) -> None:
    await run(pool, "well")
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        last = time.monotonic()
        while True:
            await asyncio.sleep(0)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    measuring = asyncio.ensure_future(measure())
    outcome = await run(pool, "well", trade_bytes=20_000_000)
    measuring.cancel()

    assert isinstance(outcome, Completed)
    assert len(outcome.trades_csv) == 20_000_000
    assert longest < 0.1


async def test_what_a_strategy_prints_comes_out_and_does_not_disturb_the_answer() -> None:
    output = Output()
    async with EngineProcesses(settings(slots=1), output.write) as pool:
        assert isinstance(await run(pool, "print_much"), Completed)
        await until(lambda: b"and of its libraries" in output.text)

    assert b"a strategy's words" in output.text


async def test_an_error_of_the_callers_own_callback_reaches_the_caller(pool: EngineProcesses) -> None:
    def broken(_: EngineProgress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await pool.run(EngineTask(1, 1, {"behaviour": "endless"}), broken, StopSignal())

    assert isinstance(await run(pool, "well"), Completed)


# --- children -----------------------------------------------------------------------------------------------------


async def test_a_child_that_dies_idle_is_replaced_before_anybody_notices(pool: EngineProcesses) -> None:
    await run(pool, "well")
    await until(lambda: len(pool.child_pids) == 2)
    before = set(pool.child_pids)

    for pid in before:
        os.kill(pid, signal.SIGKILL)

    await until(lambda: len(pool.child_pids) == 2 and not before & set(pool.child_pids))
    assert isinstance(await run(pool, "well"), Completed)


@pytest.mark.parametrize("behaviour", ["leave_process", "leave_thread"])
async def test_a_child_in_which_a_strategy_left_something_running_is_replaced(behaviour: str, tmp_path: Path) -> None:
    async with EngineProcesses(settings(slots=1)) as pool:
        assert isinstance(await run(pool, "well"), Completed)
        before = pool.child_pids
        assert isinstance(await run(pool, behaviour, file=str(tmp_path / "pid")), Completed)

        await until(lambda: not is_running(before[0]))
        await until(lambda: not is_running(int((tmp_path / "pid").read_text())))
        assert isinstance(await run(pool, "well"), Completed)


async def test_a_child_that_keeps_half_its_memory_is_replaced_after_its_answer(tmp_path: Path) -> None:
    async with EngineProcesses(settings(slots=1, memory_mb=1000)) as pool:
        assert isinstance(await run(pool, "well"), Completed)
        before = pool.child_pids
        assert isinstance(await run(pool, "keep_memory", file=str(tmp_path / "pid"), keep_mb=600), Completed)

        await until(lambda: not is_running(before[0]))
        assert isinstance(await run(pool, "well"), Completed)


async def test_a_clean_child_serves_run_after_run(pool: EngineProcesses, tmp_path: Path) -> None:
    await run(pool, "well")
    await until(lambda: len(pool.child_pids) == 2)
    before = set(pool.child_pids)

    for run_id in range(50):
        assert isinstance(await run(pool, "well", run_id), Completed)

    assert set(pool.child_pids) == before


async def test_a_run_goes_to_the_child_that_holds_its_bars(tmp_path: Path) -> None:
    async with EngineProcesses(settings()) as pool:

        async def serve(name: str, symbol: str) -> int:
            file = tmp_path / name
            assert isinstance(await run(pool, "tell_pid", file=str(file), symbol=symbol), Completed)
            return await pid_in(file)

        pairs = (("EURUSD", "GBPUSD"), ("GBPUSD", "EURUSD"))
        await asyncio.gather(
            *(
                run(pool, "wait_for_peer", file=str(tmp_path / mine), peer=str(tmp_path / other), symbol=mine)
                for mine, other in pairs
            )
        )
        euro, pound = await pid_in(tmp_path / "EURUSD"), await pid_in(tmp_path / "GBPUSD")

        assert euro != pound
        assert await serve("a", "EURUSD") == euro
        assert await serve("b", "GBPUSD") == pound
        assert await serve("c", "EURUSD") == euro


async def test_children_are_titled_by_what_they_do_and_leave_the_terminals_signals_to_the_worker(
    pool: EngineProcesses,
) -> None:
    await run(pool, "well")
    started = Started(pool, "endless", run_id=99)
    await started.until_it_told()
    await until(lambda: sorted(map(title, pool.child_pids)) == ["backtest-engine idle", "backtest-engine run=99"])
    before = set(pool.child_pids)

    for pid in before:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)

    assert all(os.getpgid(pid) == pid for pid in before)
    # The last test of the signals' effect: a child that took one would be gone before it could serve this.
    assert isinstance(await run(pool, "well"), Completed)
    assert set(pool.child_pids) == before
    started.stop.set()
    assert await started.run == Stopped()


async def test_a_strategy_sees_none_of_the_workers_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKTEST_DATABASE_URL", "postgresql+asyncpg://user:secret@host/database")
    for name in ("BACKTEST_LLM_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "SOME_PROVIDER_API_KEY"):
        monkeypatch.setenv(name, "a secret key")
    async with EngineProcesses(settings(slots=1)) as pool:
        assert isinstance(await run(pool, "tell_environment", file=str(tmp_path / "environment")), Completed)

    seen = (tmp_path / "environment").read_text()
    assert "secret" not in seen
    assert "POLARS_MAX_THREADS=1" in seen


async def test_runs_go_back_and_none_is_claimed_when_no_child_can_be_started() -> None:
    output = Output()
    broken = settings(program="tests.consumer.missing:open_program", slots=1)
    async with EngineProcesses(broken, output.write) as pool:
        outcome = await asyncio.wait_for(run(pool, "well"), 30)

        assert outcome == Stopped()
        assert not pool.is_ready


async def test_a_pool_is_ready_once_a_child_is_up() -> None:
    async with EngineProcesses(settings(slots=1)) as pool:
        assert not pool.is_ready
        await run(pool, "well")
        assert pool.is_ready


async def test_a_closed_pool_leaves_nothing_behind() -> None:
    before = open_descriptors()
    async with EngineProcesses(settings()) as pool:
        started = [Started(pool, "swallow") for _ in range(3)]
        await started[0].until_it_told()
        pids = pool.child_pids

    assert [await each.run for each in started] == [Stopped()] * 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    await until(lambda: open_descriptors() <= before)


async def test_a_pool_closes_while_its_children_are_still_starting() -> None:
    pool = await EngineProcesses(settings()).__aenter__()
    await until(lambda: len(pool.child_pids) == 2)
    pids = pool.child_pids

    await asyncio.wait_for(pool.close(), 5)

    assert not any(psutil.pid_exists(pid) for pid in pids)


# --- code that changed --------------------------------------------------------------------------------------------


async def test_a_run_whose_strategy_was_edited_goes_to_a_fresh_child_whatever_the_others_have_imported(
    tmp_path: Path,
) -> None:
    async with EngineProcesses(settings(slots=2)) as processes:
        outcome = await run(processes, "outdated", file=str(tmp_path / "pids"), processes=2)

        assert isinstance(outcome, Completed)
        outdated = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert len(set(outdated)) == 2
        await until(lambda: not any(map(is_running, outdated)))


async def test_a_strategy_that_changes_each_time_it_is_imported_fails_its_run(tmp_path: Path) -> None:
    async with EngineProcesses(settings(slots=1)) as processes:
        outcome = await run(processes, "outdated", file=str(tmp_path / "pids"), processes=1000)

    assert outcome == Failed("strategy_error", "the strategy's code changes each time it is imported")
