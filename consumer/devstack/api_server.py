"""`backtest api` beside the servers of local work: it ends with the program that started it, however that ends."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from consumer.devstack.free_ports import free_port_near
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess

USUAL_PORT = 8080


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
