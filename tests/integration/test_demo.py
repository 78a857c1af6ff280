"""The demo as a person runs it: a process of its own, watched from outside."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import polars as pl
import psutil
import pytest

from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


async def test_the_demo_shows_every_outcome_and_leaves_its_files(tmp_path: Path) -> None:
    async with demo(tmp_path) as process:
        output, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    text = output.decode()
    for line in (
        "close_price",
        "intra_candle",
        "next_open",
        "completed",
        "cancelled",
        "invalid_request",
        "how to go on",
    ):
        assert line in text
    rows = [line.split() for line in text.splitlines() if " demo " in line]
    assert sorted(word for row in rows for word in row if word in {"completed", "cancelled"}) == [
        "cancelled",
        *["completed"] * 4,
    ]
    (trades,) = [line.strip() for line in text.splitlines() if line.endswith("trades.parquet")]
    assert pl.read_parquet(trades).height > 0
    assert b"cancelled: the demo asked for it" in log


@pytest.mark.parametrize("moment", ["migrating the database", "emitting", "to cancel: started"])
async def test_ctrl_c_stops_the_demo_with_all_it_started(tmp_path: Path, moment: str) -> None:
    async with demo(tmp_path) as process:
        told = await read_until(process, moment)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, log = await process.communicate()
    assert process.returncode == 0, told + log.decode()
    assert "stopped; nothing is left running" in log.decode()
    assert started
    assert [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


async def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    async with demo(tmp_path) as process:
        await read_until(process, "to cancel: started")
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await process.communicate()

    async def are_gone() -> bool:
        return not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started)

    assert started
    await eventually(are_gone, "servers, worker and engine processes end")


async def test_the_demo_keeps_its_page_open_on_a_terminal_until_a_key(tmp_path: Path) -> None:
    ours, terminal = os.openpty()
    draining = asyncio.create_task(asyncio.to_thread(_drained, ours))
    async with demo(tmp_path, terminal=terminal) as process:
        os.close(terminal)
        told = await read_until(process, "any key or Ctrl-C ends it all")
        address = told.split("the page, with these runs: ")[1].split()[0]
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            runs = (await client.get("/v1/backtest")).json()["items"]
            assert (await client.get("/runs")).status_code in {200, 503}  # 503: it was not built
        os.write(ours, b"x")
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    assert "completed" in {run["status"] for run in runs}
    await draining
    os.close(ours)


def _drained(descriptor: int) -> None:
    """Take what the terminal shows, so that it never is full; at its end reading fails."""
    with suppress(OSError):
        while os.read(descriptor, 65_536):
            pass


@asynccontextmanager
async def demo(directory: Path, terminal: int | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "demo", "--directory", str(directory)),
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE if terminal is None else terminal,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """Lines of standard error up to the one that holds the text."""
    assert process.stderr is not None
    told = ""
    async with asyncio.timeout(120):
        while text not in told:
            line = await process.stderr.readline()
            assert line, told
            told += line.decode()
    return told
