"""The composition root: the only module that names concrete adapters, and the owner of everything a worker opens."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import stamina
import structlog

from consumer.adapters.engine_pool.pool import EngineProcesses
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.http.server import Checks, http_server
from consumer.adapters.kafka.connection import KafkaConnection, kafka_connection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topics import TopicSettings, create_topics, missing_topics
from consumer.adapters.postgres.ledger import PostgresLedger
from consumer.adapters.postgres.outbox import PostgresOutbox
from consumer.adapters.postgres.pool import Pool, open_pool, translated
from consumer.adapters.postgres.queue import PostgresQueue
from consumer.adapters.postgres.schema.migrating import check_schema
from consumer.dispatch import Dispatcher
from consumer.errors import BrokerUnavailable, StartFailed, Unavailable
from consumer.execute_run import RunPorts
from consumer.intake import Intake
from consumer.outbox_relay import OutboxRelay
from consumer.rules.admission import Admission
from consumer.rules.events import EventRenderer
from consumer.settings import Settings
from consumer.telemetry import Telemetry

log = structlog.get_logger(__name__)

IDLE_CLAIM_SECONDS = 0.25
"""An idle worker looks for runs that others queued this often; its own intake wakes it at once."""
CANCEL_POLL_SECONDS = 0.2
"""With the engine's grace this keeps a cancel under its second."""
QUEUE_WATCH_SECONDS = 1.0
DRAIN_GRACE_SECONDS = 2.0
"""To stop children and give their runs back."""
RELAY_GRACE_SECONDS = 1.5
"""To publish what waits."""
START_PAUSE_SECONDS = 2.0
LEAST_TRY_SECONDS = 1.0
"""For one look at a server while starting, also with START_TIMEOUT_SECONDS=0."""
LONGEST_PAUSE_SECONDS = 1.0
"""After a step that failed."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """Implements `Clock`."""

    def now_utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class Worker:
    """All of one worker's parts, joined."""

    settings: Settings
    source: KafkaSource
    publisher: KafkaPublisher
    relay: OutboxRelay
    intake: Intake
    dispatcher: Dispatcher
    telemetry: Telemetry
    clock: SystemClock
    tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then drain: nothing new, runs given back, events out, offsets committed."""
        self.tasks = [
            asyncio.create_task(_keep_going(loop), name=loop.__qualname__)
            for loop in (self._read, self.relay.run, self._claim, self._sweep)
        ] + [
            asyncio.create_task(_every(seconds, step), name=step.__qualname__)
            for seconds, step in (
                (self.settings.heartbeat_seconds, self.dispatcher.beat_once),
                (CANCEL_POLL_SECONDS, self.dispatcher.look_for_cancels),
                (self.sweep_seconds, self.relay.keep),
                (QUEUE_WATCH_SECONDS, self.intake.watch_queue),
            )
        ]
        log.info("worker_started", owner=self.publisher.client_id, slots=self.settings.slots)
        try:
            await stopping.wait()
        finally:
            await self._drain()

    def liveness(self) -> Checks:
        """Each of the worker's loops, and what ended it: none ever should."""
        return {task.get_name(): "ended" if task.done() else None for task in self.tasks}

    @property
    def sweep_seconds(self) -> float:
        return self.settings.lease_seconds / 3

    async def _sweep(self) -> None:
        """Sweep and pause in full, however long the sweep took: between two looks at leases their owners must have had
        the time to renew them, and a store that stood still answers all who waited at the same moment.
        """
        await self.dispatcher.sweep()
        await asyncio.sleep(self.sweep_seconds)

    async def _read(self) -> None:
        await self.intake.run()
        await asyncio.Event().wait()  # the source was stopped: nothing is left to read

    async def _claim(self) -> None:
        """Claim while there is room and work; otherwise wait for a sign of work, but not for long."""
        if not await self.dispatcher.claim_once():
            self.dispatcher.work_arrived.clear()
            await _wait(self.dispatcher.work_arrived, IDLE_CLAIM_SECONDS)

    async def _drain(self) -> None:
        """Bounded in time, whatever server is away: DRAIN_SECONDS and 10 more at most."""
        log.info("worker_draining", active=len(self.dispatcher.active), drain_seconds=self.settings.drain_seconds)
        stopping_source = asyncio.create_task(_bounded(self.source.stop(), DRAIN_GRACE_SECONDS))
        await self.dispatcher.drain(self.settings.drain_seconds, DRAIN_GRACE_SECONDS)
        await stopping_source
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        deadline = self.clock.monotonic() + RELAY_GRACE_SECONDS
        await _bounded(self.relay.drain(deadline), RELAY_GRACE_SECONDS + 0.5)
        log.info("worker_stopped")


async def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT, also while it still waits for its servers.

    Raises StartFailed when they don't answer in time.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    clock = SystemClock()
    if await _unless(stopping, wait_for_servers(settings, kafka_connection(settings), clock)):
        async with open_worker(settings, clock) as worker:
            keep_for_good()
            await worker.run(stopping)


def keep_for_good() -> None:
    """Take what is there now, some 275 000 objects of modules, out of what later collections walk."""
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def open_worker(settings: Settings, clock: SystemClock) -> AsyncIterator[Worker]:
    """Open everything a worker needs; close it in the opposite order."""
    stamina.set_active(True)
    owner = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:12]}"
    telemetry = Telemetry()
    connection = kafka_connection(settings)
    writer = EventRenderer(source=f"backtest-consumer/{settings.kafka_group_id}", clock=clock)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            open_pool(
                settings.database_url.get_secret_value(),
                max_connections=settings.slots + 8,
                name=owner,
                idle_in_transaction_seconds=settings.lease_seconds,
            )
        )
        engine = await stack.enter_async_context(EngineProcesses(engine_settings(settings)))
        publisher = KafkaPublisher(connection, client_id=owner.replace("/", "-"))
        stack.push_async_callback(publisher.close)
        relay = OutboxRelay(
            PostgresOutbox(pool, owner, settings.lease_seconds), publisher, telemetry, clock, settings.lease_seconds
        )
        queue = PostgresQueue(pool, writer, owner, settings.lease_seconds, settings.max_attempts)
        source = KafkaSource(connection, settings.kafka_group_id)
        work_arrived = asyncio.Event()
        dispatcher = Dispatcher(
            RunPorts(queue, engine, relay, clock, settings.max_attempts),
            writer,
            telemetry,
            work_arrived,
            settings.slots,
        )
        intake = Intake(
            source=source,
            ledger=PostgresLedger(pool, writer, owner, settings.lease_seconds),
            relay=relay,
            writer=writer,
            admit=Admission(read_instruments(settings.instruments_file), settings.account_currency),
            telemetry=telemetry,
            work_arrived=work_arrived,
            max_queued=settings.max_queued,
        )
        worker = Worker(settings, source, publisher, relay, intake, dispatcher, telemetry, clock)

        async def readiness() -> Checks:
            return {"postgres": await _postgres_trouble(pool), "kafka": await _kafka_trouble(connection, source)}

        await stack.enter_async_context(
            http_server(settings.http_host, settings.http_port, readiness, telemetry.registry, worker.liveness)
        )
        yield worker


def engine_settings(settings: Settings) -> EngineProcessSettings:
    """What engine children are told."""
    return EngineProcessSettings(
        slots=settings.slots,
        market_data_url=settings.market_data_url,
        artifacts_url=settings.artifacts_url,
        instruments_file=str(settings.instruments_file) if settings.instruments_file is not None else None,
        memory_mb=settings.engine_memory_mb,
        run_timeout_seconds=settings.run_timeout_seconds,
        threads=settings.engine_threads,
    )


async def wait_for_servers(settings: Settings, connection: KafkaConnection, clock: SystemClock) -> None:
    """Wait until Postgres has our tables and Kafka our topics. Raises StartFailed after START_TIMEOUT_SECONDS."""
    deadline = clock.monotonic() + settings.start_timeout_seconds

    async def database() -> None:
        await check_schema(settings.database_url.get_secret_value())

    async def topics() -> None:
        if settings.kafka_create_topics:
            shape = TopicSettings(settings.kafka_topic_partitions, settings.kafka_replication_factor)
            made = await create_topics(connection, shape)
            if made:
                log.info("topics_created", topics=made)
        elif missing := await missing_topics(connection):
            raise BrokerUnavailable(f"Kafka has no {', '.join(missing)}, and BACKTEST_KAFKA_CREATE_TOPICS is off")

    for what, step in (("Postgres", database), ("Kafka", topics)):
        await _until_available(what, step, deadline, settings.start_timeout_seconds, clock)


async def _until_available(
    what: str, step: Callable[[], Awaitable[None]], deadline: float, patience: float, clock: SystemClock
) -> None:
    while True:
        try:
            async with asyncio.timeout(max(LEAST_TRY_SECONDS, deadline - clock.monotonic())):
                return await step()
        except (Unavailable, TimeoutError) as error:
            if clock.monotonic() + START_PAUSE_SECONDS >= deadline:
                told = str(error) or f"{what} did not answer"
                raise StartFailed(f"{told} (waited {patience:g} s)") from error
            log.warning("waiting_for_server", server=what, error=str(error))
            await asyncio.sleep(START_PAUSE_SECONDS)


async def _unless(stopping: asyncio.Event, step: Coroutine[Any, Any, None]) -> bool:
    """Await the step; False when `stopping` came first, and the step was given up."""
    stop, work = asyncio.create_task(stopping.wait()), asyncio.create_task(step)
    await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stop, work):
        if not task.done():
            task.cancel()
    results = await asyncio.gather(stop, work, return_exceptions=True)
    if isinstance(results[1], Exception):
        raise results[1]
    return not stopping.is_set()


async def _postgres_trouble(pool: Pool) -> str | None:
    try:
        with translated():
            await pool.fetchval("SELECT 1")
    except Unavailable as error:
        return str(error)
    return None


async def _kafka_trouble(connection: KafkaConnection, source: KafkaSource) -> str | None:
    try:
        missing = await missing_topics(connection)
    except Unavailable as error:
        return str(error)
    if missing:
        return f"topics are missing: {', '.join(missing)}"
    return None if source.is_member else "not yet a member of the consumer group"


async def _keep_going(step: Callable[[], Awaitable[None]], pause_seconds: float = LONGEST_PAUSE_SECONDS) -> None:
    """Repeat a step that waits for its own work; a server that is away, or a defect, never ends the worker."""
    while True:
        try:
            await step()
        except Unavailable as error:
            log.warning("server_away", step=step.__qualname__, error=str(error))
            await asyncio.sleep(pause_seconds)
        except Exception:
            log.exception("step_failed", step=step.__qualname__)
            await asyncio.sleep(pause_seconds)


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step at an interval, on the monotonic clock; a step that took too long is followed at once."""

    async def paced() -> None:
        started = time.monotonic()
        await step()
        await asyncio.sleep(max(0.0, seconds - (time.monotonic() - started)))

    paced.__qualname__ = step.__qualname__
    # Half the interval: heartbeats are back well before the next sweep once the store is.
    await _keep_going(paced, min(seconds / 2, LONGEST_PAUSE_SECONDS))


async def _wait(event: asyncio.Event, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _bounded(awaitable: Awaitable[None], timeout_seconds: float) -> None:
    """Await for so long at most; what fails or takes longer while the worker stops is logged and left."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await awaitable
    except (TimeoutError, Unavailable) as error:
        log.warning("not_finished_in_time", error=str(error) or "timeout")
