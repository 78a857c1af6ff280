"""A worker's composition: which adapters its ports are, and the one owner of everything it opens."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import stamina
import structlog

from consumer.adapters.engine_pool.checkers import StrategyCheckers
from consumer.adapters.engine_pool.pool import EngineProcesses
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.model_messages import MessageFiles
from consumer.adapters.files.probe import probe_artifacts
from consumer.adapters.files.search_files import SearchArtifacts
from consumer.adapters.files.store import FileStoreError
from consumer.adapters.http.server import Checks, http_server
from consumer.adapters.kafka.connection import KafkaConnection, kafka_connection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topic_watch import TopicWatch
from consumer.adapters.kafka.topics import missing_topics, topic_settings
from consumer.adapters.postgres.instrument_rows import PostgresInstruments
from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.llm_calls import PostgresCalls
from consumer.adapters.postgres.outbox import PostgresOutbox
from consumer.adapters.postgres.pool import SessionPool, open_pool, server_time
from consumer.adapters.postgres.queue import PostgresQueue
from consumer.adapters.postgres.schema.apart import CheckSchema, looking_apart
from consumer.clock import StoreClock
from consumer.dispatch import Dispatcher
from consumer.errors import ArtifactsUnavailable, BrokerUnavailable, Unavailable
from consumer.execute_run import RunPorts
from consumer.execute_step import StepPorts
from consumer.intake import Intake
from consumer.outbox_relay import OutboxRelay
from consumer.preparation.known_instruments import KnownInstruments
from consumer.rules.admission import Admission
from consumer.rules.events import EventRenderer
from consumer.rules.search_admission import SearchAdmission
from consumer.search_dispatch import SearchDispatcher
from consumer.settings import Settings
from consumer.starting import Server, unless_stopped, wait_for_servers
from consumer.telemetry import Telemetry
from consumer.wiring.database import open_for_a_look
from consumer.wiring.models import model_terms, open_desk
from consumer.wiring.searches import postgres_searches
from consumer.worker import Worker

log = structlog.get_logger(__name__)


async def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT, also while it still waits for its servers.

    Raises StartFailed when they don't answer in time.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    clock = StoreClock()
    if await unless_stopped(stopping, start(settings, clock)):
        async with open_worker(settings, clock) as worker:
            keep_for_good()
            await worker.run(stopping)


async def start(settings: Settings, clock: StoreClock) -> None:
    """Wait until all servers are fit. Raises StartFailed."""
    async with looking_apart() as check_schema:
        await wait_for_servers(servers(settings, clock, check_schema), settings.start_timeout_seconds, clock)


def servers(settings: Settings, clock: StoreClock, check_schema: CheckSchema) -> tuple[Server, ...]:
    """Postgres is fit once it has our tables and has told its time; Kafka once it has our topics, which a look makes
    where it may; the store of artefacts once it takes a file: without it every run would be simulated and then fail.
    """
    connection = kafka_connection(settings)

    async def database() -> None:
        await check_schema(settings.database_url.get_secret_value())
        async with open_for_a_look(settings) as pool:
            await clock.adjust(lambda: server_time(pool))

    async def topics() -> None:
        await watch_of_topics(settings, connection).look()
        if missing := await missing_topics(connection):
            raise BrokerUnavailable(f"Kafka has no {', '.join(missing)}, and BACKTEST_KAFKA_CREATE_TOPICS is off")

    async def artifacts() -> None:
        try:
            await asyncio.to_thread(probe_artifacts, settings.artifacts_url)
        except FileStoreError as error:
            raise ArtifactsUnavailable(f"BACKTEST_ARTIFACTS_URL takes no files: {error}") from error

    return Server("Postgres", database), Server("Kafka", topics), Server("the store of artefacts", artifacts)


def watch_of_topics(settings: Settings, connection: KafkaConnection) -> TopicWatch:
    return TopicWatch(connection, topic_settings(settings), settings.kafka_create_topics)


def keep_for_good() -> None:
    """Take what is there now, some 275 000 objects of modules, out of what later collections walk."""
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def open_worker(settings: Settings, clock: StoreClock) -> AsyncIterator[Worker]:
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
        checkers = await stack.enter_async_context(
            StrategyCheckers(engine_settings(settings), settings.strategy_load_seconds)
        )
        publisher = KafkaPublisher(connection, owner.replace("/", "-"), clock)
        stack.push_async_callback(publisher.close)
        relay = OutboxRelay(
            PostgresOutbox(pool, owner, settings.lease_seconds), publisher, telemetry, clock, settings.lease_seconds
        )
        queue = PostgresQueue(pool, writer, owner, settings.lease_seconds, settings.max_attempts)
        batch_bytes = settings.intake_batch_mb * 1_048_576 // 4
        source = KafkaSource(connection, settings.kafka_group_id, telemetry.records_removed, batch_bytes)
        work_arrived = asyncio.Event()
        desk = await stack.enter_async_context(
            open_desk(
                settings,
                PostgresCalls(pool),
                MessageFiles(settings.artifacts_url),
                clock,
                settings.account_currency,
                settings.secret_values(),
                telemetry,
            )
        )
        dispatcher = Dispatcher(
            RunPorts(queue, engine, relay, clock, settings.max_attempts, desk),
            writer,
            telemetry,
            work_arrived,
            settings.slots,
        )
        searches, search_journal = postgres_searches(pool, writer, clock, owner, settings)
        instruments = KnownInstruments(read_instruments(settings.instruments_file), PostgresInstruments(pool))
        admission = Admission(instruments, settings.account_currency, model_terms(settings))
        intake = Intake(
            source=source,
            journal=PostgresJournal(pool, writer, owner, settings.lease_seconds),
            searches=search_journal,
            relay=relay,
            writer=writer,
            judge=admission,
            judge_search=SearchAdmission(admission, settings.max_combinations),
            checker=checkers,
            telemetry=telemetry,
            work_arrived=work_arrived,
            max_queued=settings.max_queued,
            max_bytes=batch_bytes,
            clock=clock,
            learn=instruments.learn,
        )

        async def adjust_clock() -> None:
            await clock.adjust(lambda: server_time(pool))

        watch = watch_of_topics(settings, connection)
        remove_parts = SearchArtifacts(settings.artifacts_url).remove_parts
        steps = SearchDispatcher(
            StepPorts(searches, engine, engine, relay, clock, remove_parts), dispatcher, telemetry, work_arrived
        )
        worker = Worker(owner, settings, source, relay, intake, dispatcher, steps, clock, adjust_clock, watch.look)

        async def readiness() -> Checks:
            return {
                "postgres": await _postgres_trouble(pool),
                "kafka": await _kafka_trouble(connection, source),
                "topics": "; ".join(watch.complaints) or None,
                "events": "; ".join(relay.complaints()) or None,
            }

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
        advice_timeout_seconds=settings.llm_run_timeout_seconds,
        threads=settings.engine_threads,
    )


async def _postgres_trouble(pool: SessionPool) -> str | None:
    try:
        await pool.check_writable()
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
