"""Real Apache Kafka as a process of ours: one node in KRaft mode, broker and controller."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from pathlib import Path

from consumer.devstack import kafka_admin
from consumer.devstack.embedded_server import EmbeddedServer, start_at_free_ports
from consumer.devstack.errors import DevStackError, ServerStartError
from consumer.devstack.kafka_jars import only_one_process
from consumer.devstack.kafka_program import KafkaProgram, java_environment, prepare_kafka_program
from consumer.devstack.servers import DevStackEvent, OnEvent
from consumer.devstack.starting import wait_until_ready
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess

READY_WITHIN_SECONDS = 90.0
STOP_GRACE_SECONDS = 20.0
RECORDING_GRACE_SECONDS = 120.0  # the JVM assembles its cache after the broker is down

LARGEST_RECORD_BYTES = 9 * 1024 * 1024  # dead letters are up to 8 MiB, and need room for headers

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(LARGEST_RECORD_BYTES),
    "replica.fetch.max.bytes": str(LARGEST_RECORD_BYTES),
    # There is one node.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Nobody waits for more members, or for a broker that was killed and is back already.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
    # A small broker: the defaults allot half of its heap to the log cleaner, and 20 MB of address space to each
    # partition.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "log.index.size.max.bytes": str(1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}
SETTINGS_DURABLE = {"log.flush.interval.messages": "1"}


class EmbeddedKafka(EmbeddedServer):
    """A Kafka broker with its files in one directory. Guarantees: `servers.Kafka`."""

    def __init__(
        self, directory: Path, *, durable: bool, throwaway: bool, on_event: OnEvent, recording: Path | None = None
    ) -> None:
        """Nothing is started or written yet.

        directory: made if missing, and used as it is when it was formatted already. durable: records are on the disk
        before they are acknowledged.
        throwaway: remove the directory when our own process dies without having stopped the server.
        recording: a file to write the JVM's cache for later starts to, when the broker stops.
        """
        super().__init__(directory)
        self._durable = durable
        self._throwaway = throwaway
        self._on_event = on_event
        self._recording = recording
        self._ports: tuple[int, int] | None = None

    async def start(self) -> None:
        if self.is_running:
            return
        program = await asyncio.to_thread(prepare_kafka_program, self._on_event)
        if self._recording is None:
            await _record_first_run(program, self._on_event)
        if self._ports is not None:
            await self._start_at(program, *self._ports)
            return
        if not (self._logs / "meta.properties").exists():
            program.write_identity(self._logs)
        broker_port, controller_port = await start_at_free_ports(2, lambda ports: self._start_at(program, *ports))
        self._ports = (broker_port, controller_port)

    @property
    def bootstrap_servers(self) -> str:
        if self._ports is None:
            raise DevStackError("Kafka was not started yet")
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def _logs(self) -> Path:
        return self._directory / "logs"

    async def _start_at(self, program: KafkaProgram, broker_port: int, controller_port: int) -> None:
        properties_file = self._directory / "server.properties"
        properties_file.write_text(self._properties(broker_port, controller_port))
        self._process = SupervisedProcess.start(self._command(program, properties_file))
        await wait_until_ready(
            "Kafka",
            self._process,
            lambda: kafka_admin.is_ready(f"127.0.0.1:{broker_port}"),
            self.log_path,
            READY_WITHIN_SECONDS,
        )

    def _properties(self, broker_port: int, controller_port: int) -> str:
        settings = {
            **SETTINGS,
            **(SETTINGS_DURABLE if self._durable else {}),
            "log.dirs": str(self._logs),
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{broker_port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker_port}",
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def _command(self, program: KafkaProgram, properties_file: Path) -> ServerCommand:
        return ServerCommand(
            arguments=program.server_command(properties_file, self._recording),
            working_directory=str(self._directory),
            environment=java_environment(),
            log_path=str(self.log_path),
            stop_signal=signal.SIGTERM,
            grace_seconds=STOP_GRACE_SECONDS if self._recording is None else RECORDING_GRACE_SECONDS,
            delete_when_orphaned=str(self._directory) if self._throwaway else None,
        )


async def _record_first_run(program: KafkaProgram, on_event: OnEvent) -> None:
    """Make the JVM's cache, which takes more than half off every later start, unless it was tried before."""
    if program.aot_cache.exists():
        return
    async with contextlib.AsyncExitStack() as cleanup:
        await asyncio.to_thread(cleanup.enter_context, only_one_process(program.jars.parent))
        if program.aot_cache.exists():
            return
        on_event(DevStackEvent("starting Apache Kafka a first time, once, to record how: about 10 s"))
        scratch = Path(
            cleanup.enter_context(tempfile.TemporaryDirectory(prefix=".recording-", dir=program.jars.parent))
        )
        recording = scratch / "recording"
        broker = EmbeddedKafka(scratch / "kafka", durable=False, throwaway=True, on_event=on_event, recording=recording)
        cleanup.push_async_callback(broker.kill)
        with contextlib.suppress(
            ServerStartError
        ):  # older Java cannot; the start proper says so if it is another reason
            await broker.start()
            await broker.stop()
        recording.touch()  # an empty one where the JVM could not make it: not to be tried at each start
        recording.replace(program.aot_cache)
