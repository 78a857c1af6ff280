"""A TCP proxy between a worker and the broker that can be cut, or lose acknowledgements: requests arrive, their answers
do not.

It reads Kafka's frames (four bytes of length, then two that name the request) only to know which requests are
produced records.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PRODUCE = 0
"""The api_key of a produce request."""


@dataclass(slots=True)
class Proxy:
    """Running on `port`. While `loses_acknowledgements` is set, the answer to each produce request is dropped once it
    has come, and its connection closed: the records are in the topic, and their producer cannot know.
    """

    broker_port: int
    port: int = 0
    loses_acknowledgements: bool = False
    is_cut: bool = False
    """Nobody gets through, and no connection stays."""
    lost: int = 0
    """Answers dropped so far."""
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two hung up, or the proxy closes
        finally:
            self.connections.discard(task)
            writer.transport.abort()

    def cut(self) -> None:
        """Be as a network that is gone, until `is_cut` is unset."""
        self.is_cut = True
        for connection in self.connections:
            connection.cancel()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.broker_port)
        asked: deque[int] = deque()
        """Kinds of the requests under way: a broker answers a connection's requests in order."""
        directions = [
            asyncio.create_task(self._requests(reader, broker_writer, asked)),
            asyncio.create_task(self._answers(broker_reader, writer, asked)),
        ]
        try:
            done, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in directions:
                each.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            broker_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: deque[int]) -> None:
        while True:
            frame = await _frame(reader)
            asked.append(int.from_bytes(frame[4:6], "big"))
            writer.write(frame)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: deque[int]) -> None:
        while True:
            frame = await _frame(reader)
            if asked.popleft() == PRODUCE and self.loses_acknowledgements:
                self.lost += 1
                raise ConnectionResetError("the acknowledgement is lost")
            writer.write(frame)
            await writer.drain()


@asynccontextmanager
async def open_proxy(broker_port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker, also while that is away."""
    proxy = Proxy(broker_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for connection in list(proxy.connections):
            connection.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*proxy.connections, return_exceptions=True), 5)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big"))
