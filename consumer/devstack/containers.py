"""The same servers in containers, for those who have Docker: Apache's image of Kafka and the official one of Postgres.

testcontainers brings a guard of its own: a container that removes these when our process is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from consumer.devstack import kafka_admin, postgres_admin
from consumer.devstack.errors import DevStackError, DockerError, ServerStartError
from consumer.devstack.free_ports import free_ports
from consumer.devstack.kafka_server import SETTINGS as KAFKA_SETTINGS
from consumer.devstack.postgres_admin import DATABASE, USER, PostgresAddress
from consumer.devstack.servers import DevStackEvent, OnEvent

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.2.0"
ENGINE_TIMEOUT_SECONDS = 5
READY_WITHIN_SECONDS = 180.0
POLL_SECONDS = 0.1
INSIDE_KAFKA_PORT = 9092
INSIDE_POSTGRES_PORT = 5432


async def start_containers(
    cleanup: contextlib.AsyncExitStack, on_event: OnEvent, *, postgres: bool, kafka: bool
) -> tuple[ContainerPostgres | None, ContainerKafka | None]:
    """Start the containers that are asked for, at the same time; `cleanup` removes them.

    Raises DockerError at once when no engine answers.
    """
    await asyncio.to_thread(check_engine)
    postgres_server = ContainerPostgres.create(on_event) if postgres else None
    kafka_server = ContainerKafka.create(on_event) if kafka else None
    starts: list[Awaitable[None]] = []
    for server in (postgres_server, kafka_server):
        if server is not None:
            cleanup.push_async_callback(server.machine.remove)
            starts.append(server.start())
    await asyncio.gather(*starts)
    return postgres_server, kafka_server


@dataclass
class Machine:
    """A container with its states. `container` is a testcontainers DockerContainer, configured and not started."""

    name: str
    container: Any
    on_event: OnEvent
    is_running: bool = False
    exists: bool = False

    async def start(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        if self.is_running:
            return
        if not self.exists:
            self.on_event(DevStackEvent(f"starting {self.name} from the image {self.container.image}"))
            await asyncio.to_thread(self.container.start)
            self.exists = True
        else:
            await self._do("start")
        self.is_running = True
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not await is_ready():
            if time.monotonic() > deadline:
                reason = f"it was not ready within {READY_WITHIN_SECONDS:g} s"
                raise ServerStartError(self.name, reason, None, await asyncio.to_thread(self._log))
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        if self.is_running:
            await self._do("stop")
            self.is_running = False

    async def kill(self) -> None:
        if self.is_running:
            await self._do("kill")
            self.is_running = False

    async def pause(self) -> None:
        await self._do("pause")

    async def resume(self) -> None:
        await self._do("unpause")

    async def remove(self) -> None:
        if self.exists:
            await asyncio.to_thread(self.container.stop)  # testcontainers' word for removing it by force
            self.exists = self.is_running = False

    async def _do(self, verb: str) -> None:
        await asyncio.to_thread(getattr(self.container.get_wrapped_container(), verb))

    def _log(self) -> str:
        return "\n".join(part.decode(errors="replace") for part in self.container.get_logs())


@dataclass
class ContainerPostgres:
    """Postgres in a container. Guarantees: `servers.Postgres`."""

    machine: Machine
    address: PostgresAddress

    @classmethod
    def create(cls, on_event: OnEvent) -> ContainerPostgres:
        address = PostgresAddress(_engine_host(), free_ports(1)[0], secrets.token_urlsafe(24))
        container = (
            _new_container(POSTGRES_IMAGE)
            .with_env("POSTGRES_USER", USER)
            .with_env("POSTGRES_DB", "postgres")
            .with_env("POSTGRES_PASSWORD", address.password)
            .with_bind_ports(INSIDE_POSTGRES_PORT, address.port)
            .with_command("postgres -c fsync=off -c max_connections=300 -c timezone=UTC")
        )
        return cls(Machine("Postgres", container, on_event), address)

    async def start(self) -> None:
        await self.machine.start(lambda: postgres_admin.is_ready(self.address))

    async def stop(self) -> None:
        await self.machine.stop()

    async def kill(self) -> None:
        await self.machine.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def pause(self) -> None:
        await self.machine.pause()

    async def resume(self) -> None:
        await self.machine.resume()

    @property
    def is_running(self) -> bool:
        return self.machine.is_running

    @property
    def database_url(self) -> str:
        return self.address.database_url(DATABASE)

    async def new_database(self, template_url: str | None = None) -> str:
        return await postgres_admin.new_database(self.address, template_url)

    async def drop_database(self, database_url: str) -> None:
        await postgres_admin.drop_database(self.address, database_url)

    async def terminate_connections(self, database_url: str | None = None) -> int:
        return await postgres_admin.terminate_connections(self.address, database_url)


@dataclass
class ContainerKafka:
    """Kafka in a container. Guarantees: `servers.Kafka`."""

    machine: Machine
    host: str
    port: int

    @classmethod
    def create(cls, on_event: OnEvent) -> ContainerKafka:
        host, port = _engine_host(), free_ports(1)[0]
        container = _new_container(KAFKA_IMAGE).with_bind_ports(INSIDE_KAFKA_PORT, port)
        settings = {
            **KAFKA_SETTINGS,
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": f"PLAINTEXT://:{INSIDE_KAFKA_PORT},CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        }
        for name, value in settings.items():
            container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        return cls(Machine("Kafka", container, on_event), host, port)

    async def start(self) -> None:
        await self.machine.start(lambda: kafka_admin.is_ready(self.bootstrap_servers))

    async def stop(self) -> None:
        await self.machine.stop()

    async def kill(self) -> None:
        await self.machine.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def pause(self) -> None:
        await self.machine.pause()

    async def resume(self) -> None:
        await self.machine.resume()

    @property
    def is_running(self) -> bool:
        return self.machine.is_running

    @property
    def bootstrap_servers(self) -> str:
        return f"{self.host}:{self.port}"


def check_engine() -> None:
    """Ask the engine for a sign of life before anything waits for it."""
    if importlib.util.find_spec("testcontainers") is None:
        raise DevStackError("containers are started by `testcontainers`, which is not installed here")
    from docker import from_env
    from docker.errors import DockerException

    try:
        client = from_env(timeout=ENGINE_TIMEOUT_SECONDS)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise DockerError(str(error)) from error


def _new_container(image: str) -> Any:
    from testcontainers.core.container import DockerContainer

    return DockerContainer(image)


def _engine_host() -> str:
    """The host on which the published ports of containers answer."""
    from testcontainers.core.docker_client import DockerClient

    host = DockerClient().host()
    return "127.0.0.1" if host in ("localhost", "0.0.0.0") else str(host)  # never bound to  # nosec B104
