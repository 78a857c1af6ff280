"""Real Postgres and real Apache Kafka for the demo, the tests and local work, with nothing on the machine but Python.

Apart from the rest because it starts processes and fetches programs; nothing of the service needs it. Both servers
listen on 127.0.0.1 on free ports and end with the program that started them, also when that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from consumer.devstack.errors import DevStackError, ServerStartError
from consumer.devstack.servers import DevStackEvent, Kafka, OnEvent, Postgres, Server

__all__ = [
    "DevStack",
    "DevStackError",
    "DevStackEvent",
    "Kafka",
    "OnEvent",
    "Postgres",
    "StackKind",
    "check_containers",
    "devstack",
]

StackKind = Literal["embedded", "containers"]


@contextlib.asynccontextmanager
async def devstack(
    data_dir: Path | None = None,
    *,
    postgres: bool = True,
    kafka: bool = True,
    durable: bool = False,
    stack: StackKind = "embedded",
    on_event: OnEvent | None = None,
) -> AsyncIterator[DevStack]:
    """Start the servers that are asked for, at the same time, and stop them at the end.

    data_dir: where their data lie and stay, to be found again by the next start; None: a temporary directory that
    goes with the stack.
    durable: keep what was acknowledged through a crash of the machine, at a third of the speed. What is acknowledged
    survives the death of the servers' processes in any case. Containers keep their data in themselves: they take
    neither of the two.
    on_event: called for what a person waits for, from any thread; None: the first event of each download is a line
    on standard error. Raises a DevStackError when a server does not come up; nothing is left running then.
    """
    report = on_event or _print_first_of_each()
    async with contextlib.AsyncExitStack() as cleanup:
        match stack:
            case "embedded":
                running = await _embedded(cleanup, data_dir, report, postgres=postgres, kafka=kafka, durable=durable)
            case "containers":
                running = await _in_containers(cleanup, report, postgres=postgres, kafka=kafka)
            case _:
                assert_never(stack)
        yield running


def check_containers() -> None:
    """Raise DockerError if no Docker engine answers: `stack="containers"` needs one. Blocks for seconds at most."""
    from consumer.devstack.containers import check_engine

    check_engine()


@dataclass(frozen=True, slots=True)
class DevStack:
    """The servers that were asked for, running."""

    postgres_or_none: Postgres | None
    kafka_or_none: Kafka | None

    @property
    def postgres(self) -> Postgres:
        if self.postgres_or_none is None:
            raise DevStackError("this stack was started without Postgres")
        return self.postgres_or_none

    @property
    def kafka(self) -> Kafka:
        if self.kafka_or_none is None:
            raise DevStackError("this stack was started without Kafka")
        return self.kafka_or_none

    @property
    def database_url(self) -> str:
        return self.postgres.database_url

    @property
    def kafka_bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    def settings_environment(self) -> dict[str, str]:
        """The environment variables that make the service use these servers."""
        settings: dict[str, str] = {}
        if self.postgres_or_none is not None:
            settings["BACKTEST_DATABASE_URL"] = self.postgres_or_none.database_url
        if self.kafka_or_none is not None:
            settings["BACKTEST_KAFKA_BOOTSTRAP_SERVERS"] = self.kafka_or_none.bootstrap_servers
        return settings


async def _embedded(
    cleanup: contextlib.AsyncExitStack,
    data_dir: Path | None,
    on_event: OnEvent,
    *,
    postgres: bool,
    kafka: bool,
    durable: bool,
) -> DevStack:
    # Imported here so that the names of this package cost nothing to those who only need them.
    from consumer.devstack.kafka_server import EmbeddedKafka
    from consumer.devstack.postgres_server import EmbeddedPostgres
    from consumer.devstack.temporary_directory import temporary_directory

    throwaway = data_dir is None
    directory = cleanup.enter_context(temporary_directory()) if data_dir is None else Path.cwd() / data_dir
    postgres_server = (
        EmbeddedPostgres(directory / "postgres", durable=durable, throwaway=throwaway) if postgres else None
    )
    kafka_server = (
        EmbeddedKafka(directory / "kafka", durable=durable, throwaway=throwaway, on_event=on_event) if kafka else None
    )
    if postgres_server is not None:
        cleanup.push_async_callback(postgres_server.stop)
    if kafka_server is not None:
        # A broker takes half a second to leave in good order, for data that nobody will read.
        cleanup.push_async_callback(kafka_server.kill if throwaway else kafka_server.stop)
    await _start_together([server for server in (postgres_server, kafka_server) if server is not None])
    return DevStack(postgres_server, kafka_server)


async def _in_containers(
    cleanup: contextlib.AsyncExitStack, on_event: OnEvent, *, postgres: bool, kafka: bool
) -> DevStack:
    from consumer.devstack.containers import start_containers

    return DevStack(*await start_containers(cleanup, on_event, postgres=postgres, kafka=kafka))


async def _start_together(servers: list[Server]) -> None:
    """Start all of them; if one fails, wait until the others have come up or failed too, then raise the first error."""
    results = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            _keep_log(result)
            raise result


def _keep_log(error: BaseException) -> None:
    """Move the log of a server that did not start out of the directory that is removed now."""
    if isinstance(error, ServerStartError) and error.log_path is not None and error.log_path.exists():
        with tempfile.NamedTemporaryFile(
            prefix=f"backtest-devstack-{error.server}-", suffix=".log", delete=False
        ) as kept:
            kept.write(error.log_path.read_bytes())
        error.log_path = Path(kept.name)


def _print_first_of_each() -> OnEvent:
    seen: set[str] = set()

    def print_event(event: DevStackEvent) -> None:
        if event.message not in seen:
            seen.add(event.message)
            print(event.message, file=sys.stderr, flush=True)  # noqa: T201 - what a person waits for, once a machine

    return print_event
