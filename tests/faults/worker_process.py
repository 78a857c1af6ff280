"""A worker as a process, with what it started and its way to the broker."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.proxy import Proxy


@dataclass(eq=False, slots=True)
class Worker:
    """A worker process."""

    number: int
    process: asyncio.subprocess.Process
    log_file: Path
    go_file: Path
    proxy: Proxy
    """Its way to the broker."""

    def go(self) -> None:
        """Let one that waits begin."""
        self.go_file.touch()

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def log_text(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def children(self) -> list[psutil.Process]:
        """All that it started and is there: engine children, their guardian, what strategies started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def engine_children(self) -> list[psutil.Process]:
        return [process for process in self.children() if "backtest-engine" in title(process)]

    def titles(self) -> list[str]:
        """Of the engine children."""
        return [title(process) for process in self.engine_children()]

    async def ended(self, seconds: float = 60) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)


def title(process: psutil.Process) -> str:
    """Its command line, which an engine child keeps as its title; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
