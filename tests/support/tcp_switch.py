"""An address that leads to one server and then to another, as a virtual one does at a failover."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Switch:
    """Listens on `port`; who connects is led to `target_port`. Connections stay where they lead when it changes."""

    target_port: int
    port: int = 0
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Break every connection there is."""
        for connection in self.connections:
            connection.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            try:
                await _either_ends(_pass_on(reader, server_writer), _pass_on(server_reader, writer))
            finally:
                server_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the connection is cut
        finally:
            self.connections.discard(task)
            writer.transport.abort()


@asynccontextmanager
async def open_switch(target_port: int) -> AsyncIterator[Switch]:
    switch = Switch(target_port)
    server = await asyncio.start_server(switch.serve, "127.0.0.1", 0)
    switch.port = server.sockets[0].getsockname()[1]
    try:
        yield switch
    finally:
        server.close()
        switch.cut()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*switch.connections, return_exceptions=True), 5)


async def _either_ends(*directions: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
