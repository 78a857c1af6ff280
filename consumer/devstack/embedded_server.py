"""What every server that runs as a process of ours has in common: one directory, one process, the same ports again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

from consumer.devstack.errors import ServerStartError
from consumer.devstack.free_ports import free_ports
from consumer.devstack.supervised_process import SupervisedProcess

START_ATTEMPTS = 5


class EmbeddedServer(ABC):
    """A server with its files in one directory; a subclass says how it starts. Guarantees: `servers.Server`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: SupervisedProcess | None = None

    @abstractmethod
    async def start(self) -> None: ...

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def pause(self) -> None:
        if self._process is not None:
            self._process.pause()

    async def resume(self) -> None:
        if self._process is not None:
            self._process.resume()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def process_ids(self) -> frozenset[int]:
        return self._process.process_ids() if self._process is not None else frozenset()

    @property
    def log_path(self) -> Path:
        return self._directory / "server.log"


async def start_at_free_ports(count: int, start_at: Callable[[list[int]], Awaitable[None]]) -> list[int]:
    """Start a server for the first time; the ports that it got. Another program may take one before it does: then at
    others. Raises ServerStartError.
    """
    attempts = 0
    while True:
        ports = free_ports(count)
        attempts += 1
        try:
            await start_at(ports)
        except ServerStartError as error:
            if error.port_was_taken and attempts < START_ATTEMPTS:
                continue
            raise
        return ports
