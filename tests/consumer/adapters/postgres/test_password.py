"""Where the password comes from that a server is told, of whichever client asks for a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from consumer.adapters.postgres.history import open_history
from consumer.adapters.postgres.pool import open_pool
from consumer.adapters.postgres.schema.migrating import migrate

PASSWORD = "p@ss/w:rd?#%"

WHETHER_TLS = (80877103).to_bytes(4, "big")
ASK_FOR_CLEAR_TEXT = b"R\x00\x00\x00\x08\x00\x00\x00\x03"


@dataclass(slots=True)
class Doorkeeper:
    """Speaks as much of Postgres's protocol as it takes to be told a password, and hangs up."""

    port: int = 0
    told: list[str] = field(default_factory=list)

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if await self._message(reader) == WHETHER_TLS:
                writer.write(b"N")
                await self._message(reader)
            writer.write(ASK_FOR_CLEAR_TEXT)
            assert await reader.readexactly(1) == b"p"
            self.told.append((await self._message(reader)).rstrip(b"\0").decode())
        writer.close()

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)


@asynccontextmanager
async def open_doorkeeper() -> AsyncIterator[Doorkeeper]:
    keeper = Doorkeeper()
    server = await asyncio.start_server(keeper.ask, "127.0.0.1", 0)
    keeper.port = server.sockets[0].getsockname()[1]
    async with server:
        yield keeper


async def read_history(url: str) -> None:
    async with open_history(url):
        pass


async def open_a_workers_pool(url: str) -> None:
    async with open_pool(url, max_connections=1, name="test") as pool:
        await pool.fetch("SELECT 1")


async def bring_up_to_date(url: str) -> None:
    await migrate(url)


@pytest.mark.parametrize("connect", [read_history, open_a_workers_pool, bring_up_to_date])
async def test_a_url_without_a_password_leaves_it_to_the_variable_whatever_its_characters(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], Awaitable[None]]
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    async with open_doorkeeper() as keeper:
        with pytest.raises(Exception, match=r".*"):
            await connect(f"postgresql+asyncpg://backtest@127.0.0.1:{keeper.port}/backtest")
    assert set(keeper.told) == {PASSWORD}
