"""Engine processes when it is the worker that dies or stands still."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.consumer.pools import is_running, pid_in, title, until

GONE_WITHIN_SECONDS = 2.0
"""Engine children end within that time of their worker's death, however it died."""

StartWorker = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start_worker() -> AsyncIterator[StartWorker]:
    """Starts workers, and leaves none behind."""
    workers: list[asyncio.subprocess.Process] = []

    async def start(*tasks: dict[str, Any]) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "tests.consumer.adapters.engine_pool.worker", *map(json.dumps, tasks)]
        workers.append(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.returncode is None:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            await worker.communicate()


async def next_line(worker: asyncio.subprocess.Process) -> str:
    assert worker.stdout is not None
    return (await asyncio.wait_for(worker.stdout.readline(), 30)).decode().strip()


async def children_of(worker: asyncio.subprocess.Process, count: int) -> list[int]:
    return [int((await next_line(worker)).removeprefix("pid ")) for _ in range(count)]


async def test_children_and_what_they_started_end_with_a_killed_worker(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    tasks = [
        {"behaviour": "hold_the_gil"},
        {"behaviour": "swallow"},
        {"behaviour": "detach_fork", "file": str(tmp_path / "pid")},
    ]
    worker = await start_worker(*tasks)
    pids = [*await children_of(worker, 3), await pid_in(tmp_path / "pid")]
    assert all(map(is_running, pids))

    worker.kill()
    begin = time.monotonic()
    await worker.wait()
    await until(lambda: not any(map(is_running, pids)), GONE_WITHIN_SECONDS)

    assert time.monotonic() - begin < GONE_WITHIN_SECONDS
    await until(lambda: not marked_processes())


async def test_a_worker_that_stood_still_finds_the_result_of_the_run_that_went_on(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    files = {"file": str(tmp_path / "pid"), "until": str(tmp_path / "go")}
    worker = await start_worker({"behaviour": "until_file", **files})
    (child,) = await children_of(worker, 1)

    worker.send_signal(signal.SIGSTOP)
    await until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    # The run goes on and ends; its answer lies in the connection until somebody reads it.
    (tmp_path / "go").touch()
    await until(lambda: title(child) == "backtest-engine idle")
    worker.send_signal(signal.SIGCONT)

    assert await next_line(worker) == "Completed"
    assert await asyncio.wait_for(worker.wait(), 20) == 0


def marked_processes() -> list[int]:
    """Guardians of workers that are no more."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        line = process.info["cmdline"] or []
        if any(part.endswith("engine_guardian.py") for part in line) and process.info["ppid"] != os.getpid():
            found.append(process.pid)
    return found
