"""`backtest api` beside the servers of local work: it ends with the program that started it, however that ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from consumer.devstack.free_ports import free_port_near
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess
from consumer.errors import StartFailed

USUAL_PORT = 8080
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1


def start_api(environment: Mapping[str, str], log_path: Path) -> tuple[SupervisedProcess, str]:
    """Start it with these variables over our own; the process, and the address that it will answer at.

    Where no port is given it is 8080, or a free one where that is taken.
    """
    port = os.environ.get("BACKTEST_API_PORT") or str(free_port_near(USUAL_PORT))
    host = os.environ.get("BACKTEST_API_HOST") or "127.0.0.1"
    command = ServerCommand(
        arguments=(sys.executable, "-m", "consumer", "api"),
        working_directory=str(Path.cwd()),
        environment={**os.environ, **environment, "BACKTEST_API_PORT": port},
        log_path=str(log_path),
        stop_signal=signal.SIGTERM,
        grace_seconds=10.0,
    )
    return SupervisedProcess.start(command), f"http://{host}:{port}"


async def until_it_answers(api: SupervisedProcess, address: str, log_path: Path) -> None:
    """Wait for it. Raises StartFailed, with the last line of its log, where it ended or does not come up."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while api.is_running:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    return
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        pass
    raise StartFailed(f"the API does not answer at {address}: {_last_line(log_path)} (its log: {log_path})")


def _last_line(log_path: Path) -> str:
    return " ".join(log_path.read_text(errors="replace").strip().splitlines()[-1:])
