"""Builders for tests of engine pools, and waiting for what happens in other processes."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from consumer.adapters.engine_pool.pool import EngineProcessSettings
from consumer.ports import EnginePool, EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import EngineOutcome
from tests.consumer.adapters.engine_pool import behaviours as engine_behaviours


def settings(**changes: Any) -> EngineProcessSettings:
    """Two children that behave as their tasks say."""
    defaults: dict[str, Any] = {
        "slots": 2,
        "market_data_url": "/nowhere",
        "artifacts_url": "/nowhere",
        "memory_mb": 2048,
        "program": engine_behaviours.PROGRAM,
    }
    return EngineProcessSettings(**{**defaults, **changes})


def task(behaviour: str, run_id: int = 1, **specification: Any) -> EngineTask:
    return EngineTask(run_id, 1, {"behaviour": behaviour, **specification})


async def run(pool: EnginePool, behaviour: str, run_id: int = 1, **specification: Any) -> EngineOutcome:
    """Run one task to its end."""
    return await pool.run(task(behaviour, run_id, **specification), lambda _: None, StopSignal())


class Started:
    """A run under way, with what it told so far."""

    def __init__(self, pool: EnginePool, behaviour: str, run_id: int = 1, **specification: Any) -> None:
        self.progress: list[EngineProgress] = []
        self.stop = StopSignal()
        wanted = task(behaviour, run_id, **specification)
        self.run = asyncio.ensure_future(pool.run(wanted, self.progress.append, self.stop))

    async def until_it_told(self, count: int = 1) -> None:
        await until(lambda: len(self.progress) >= count)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.005)


async def pid_in(file: Path) -> int:
    """The process id that somebody writes there."""
    found = ""

    def is_written() -> bool:
        nonlocal found
        found = file.read_text() if file.exists() else ""
        return found != ""

    await until(is_written)
    return int(found)


def is_running(pid: int) -> bool:
    """Whether the process exists and can use CPU."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title(pid: int) -> str:
    """How `ps` shows the process; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\x00").decode()
    except OSError:
        return ""


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counted, not walked
