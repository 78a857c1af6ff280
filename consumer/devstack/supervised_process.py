"""A server process as its owner sees it: started under a supervisor, stopped, killed, paused and resumed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

SUPERVISOR = Path(__file__).with_name("supervisor.py")
POLL_SECONDS = 0.01
LENGTH_BYTES = 4
"""Of the length that goes before the orders."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to run a server, and how to end it."""

    arguments: tuple[str, ...]
    working_directory: str
    environment: dict[str, str]
    log_path: str  # appended to: standard output and standard error
    stop_signal: int
    grace_seconds: float  # after the stop signal, before SIGKILL
    account: str | None = None  # the account to run under; None: our own
    delete_when_orphaned: str | None = None  # a directory to remove when our own process died


class SupervisedProcess:
    """One server with its supervisor. Not restartable: start another one."""

    def __init__(self, supervisor: subprocess.Popen[bytes]) -> None:
        self._supervisor = supervisor

    @classmethod
    def start(cls, command: ServerCommand) -> Self:
        orders = json.dumps({**asdict(command), "parent": os.getpid()}).encode()
        with Path(command.log_path).open("ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-P", str(SUPERVISOR)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for the program; it stops its servers itself
            )
        # Not as an argument: every account of the machine can read those, and the environment may hold secrets.
        assert supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already, which its owner will see
            supervisor.stdin.write(len(orders).to_bytes(LENGTH_BYTES, "big") + orders)
            supervisor.stdin.flush()
        return cls(supervisor)

    @property
    def is_running(self) -> bool:
        return self._supervisor.poll() is None

    async def stop(self) -> None:
        """Ask the server to end, and wait until it and all its children are gone. Idempotent."""
        self._say_stop()
        while self.is_running:  # noqa: ASYNC110 - no event to wait for: a process ends, whatever the event loop
            await asyncio.sleep(POLL_SECONDS)

    async def kill(self) -> None:
        """SIGKILL the server and all its children, and wait until they are gone. Idempotent."""
        while self.is_running:
            self._signal_all(signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)
        self._close_pipe()

    def pause(self) -> None:
        """SIGSTOP the server and all its children: connections stay open and nothing answers."""
        stopped: set[int] = set()
        # A process may fork between the look and its own stop, so look again until there is nobody new.
        while new := [process for process in self._server_processes() if process.pid not in stopped]:
            for process in new:
                _send(process, signal.SIGSTOP)
                stopped.add(process.pid)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def process_ids(self) -> frozenset[int]:
        """Process ids of the server and its children, the supervisor not among them."""
        return frozenset(process.pid for process in self._server_processes())

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._server_processes():
            _send(process, number)

    def _server_processes(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield from psutil.Process(self._supervisor.pid).children(recursive=True)

    def _say_stop(self) -> None:
        assert self._supervisor.stdin is not None
        if not self._supervisor.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._supervisor.stdin.write(b"s")
                self._supervisor.stdin.flush()
        self._close_pipe()

    def _close_pipe(self) -> None:
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
