"""Whoever waits for the API of local work learns when it answers, and why it does not."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from consumer.devstack.api_server import until_it_answers
from consumer.devstack.free_ports import free_ports
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess
from consumer.errors import StartFailed


def started(script: str, folder: Path) -> tuple[SupervisedProcess, Path]:
    log = folder / "api.log"
    command = ServerCommand(
        arguments=("sh", "-c", script),
        working_directory=str(folder),
        environment=dict(os.environ),
        log_path=str(log),
        stop_signal=signal.SIGTERM,
        grace_seconds=1.0,
    )
    return SupervisedProcess.start(command), log


async def test_an_api_that_ended_is_told_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    api, log = started("echo first; echo backtest: no database; exit 1", tmp_path)
    [port] = free_ports(1)
    with pytest.raises(StartFailed, match="backtest: no database"):
        await until_it_answers(api, f"http://127.0.0.1:{port}", log)
    await api.stop()


async def test_an_address_is_waited_for_until_somebody_answers(tmp_path: Path) -> None:
    api, log = started("exec sleep 60", tmp_path)
    [port] = free_ports(1)
    waiting = asyncio.create_task(until_it_answers(api, f"http://127.0.0.1:{port}", log))
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
        await asyncio.wait_for(waiting, 10)
    await api.stop()
