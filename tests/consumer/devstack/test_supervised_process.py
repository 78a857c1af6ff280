"""A server under its supervisor, with a small program in a server's place."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess
from tests.support.waiting import eventually

PROGRAM = "import os, signal, sys; print(os.environ.get('SECRET'), flush=True); signal.pause()"


def command(place: Path, **environment: str) -> ServerCommand:
    return ServerCommand(
        arguments=(sys.executable, "-c", PROGRAM),
        working_directory=str(place),
        environment={"PATH": os.environ["PATH"], **environment},
        log_path=str(place / "log"),
        stop_signal=signal.SIGTERM,
        grace_seconds=5.0,
    )


async def told(place: Path) -> str:
    async def probe() -> str:
        return await asyncio.to_thread((place / "log").read_text)

    return await eventually(probe, "the program speaks")


async def test_no_command_line_shows_the_environment_of_a_server(tmp_path: Path) -> None:
    process = SupervisedProcess.start(command(tmp_path, SECRET="open sesame"))
    try:
        assert await told(tmp_path) == "open sesame\n"
        supervisor = psutil.Process(process._supervisor.pid)
        lines = [each.cmdline() for each in (supervisor, *supervisor.children(recursive=True))]
        assert len(lines) == 2
        assert not any("sesame" in argument for line in lines for argument in line)
    finally:
        await process.stop()


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_large_environment_arrives_whole_and_a_stop_right_behind_it(tmp_path: Path, size: int) -> None:
    process = SupervisedProcess.start(command(tmp_path, SECRET="here", FILL="x" * size, MORE="y" * size))
    await process.stop()
    assert not process.is_running
