"""What the stack offers of each server, whether it runs as a process of ours or in a container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DevStackEvent:
    """Something a person waits for: a download, a server coming up."""

    message: str  # one line
    done: int | None = None  # of `total` things of this step; None: not counted
    total: int | None = None


OnEvent = Callable[[DevStackEvent], None]


class Server(Protocol):
    """A server that can be stopped, killed and paused while its clients look on. It keeps its port and its data
    throughout.

    All of these wait until the state is reached. `start` returns when the server answers requests, and does nothing
    when it runs; `stop` and `kill` do nothing when it does not. A paused server keeps its connections and answers
    nothing.
    """

    @property
    def is_running(self) -> bool: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...
    async def restart(self) -> None: ...
    async def pause(self) -> None: ...
    async def resume(self) -> None: ...


class Postgres(Server, Protocol):
    """A Postgres server. URLs are for SQLAlchemy on asyncpg: `postgresql+asyncpg://...`, password included."""

    @property
    def database_url(self) -> str:
        """The stack's own database, `backtest`."""
        ...

    async def new_database(self, template_url: str | None = None) -> str:
        """Create a database and return its URL: empty, or a copy of one that nobody is connected to."""
        ...

    async def drop_database(self, database_url: str) -> None:
        """Drop a database made by `new_database`, closing its connections. Idempotent."""
        ...

    async def terminate_connections(self, database_url: str | None = None) -> int:
        """Close the connections to one database, or to all of them, from the server's side. Returns how many."""
        ...


class Kafka(Server, Protocol):
    """A Kafka cluster of one node, which makes no topic by itself."""

    @property
    def bootstrap_servers(self) -> str:
        """host:port"""
        ...
