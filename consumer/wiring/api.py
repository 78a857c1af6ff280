"""An API process's composition: which adapters its ports are, and the one owner of everything it opens."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import uuid4

import stamina
import structlog

from consumer.adapters.files.search_files import SearchArtifacts
from consumer.adapters.http.api.access import Access
from consumer.adapters.http.api.application import make_application
from consumer.adapters.http.api.services import Services
from consumer.adapters.http.api.serving import serve
from consumer.adapters.http.server import Checks
from consumer.adapters.kafka.client import KafkaTopics
from consumer.adapters.kafka.connection import kafka_connection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.topic_watch import TopicWatch
from consumer.adapters.kafka.topics import missing_topics, topic_settings
from consumer.adapters.postgres.endings import EventOwner
from consumer.adapters.postgres.history import PostgresHistory
from consumer.adapters.postgres.instrument_rows import PostgresInstruments
from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.outbox import PostgresOutbox
from consumer.adapters.postgres.pool import FREE_PLANS, SessionPool, open_pool, server_time
from consumer.adapters.postgres.posts import PostgresPosts
from consumer.adapters.postgres.removal import PostgresRemoval
from consumer.adapters.postgres.schema.migrating import check_schema
from consumer.adapters.postgres.search_history import PostgresSearchHistory
from consumer.adapters.postgres.standings import PostgresStandings
from consumer.adapters.postgres.strategy_rows import PostgresStrategies
from consumer.beside_api import Beside
from consumer.broadcaster import Broadcaster
from consumer.clock import StoreClock
from consumer.errors import Unavailable
from consumer.optimization.posting import SearchPosts
from consumer.outbox_relay import OutboxRelay
from consumer.requests.strategy_rows import RowJudge
from consumer.rules.events import EventRenderer
from consumer.rules.search_admission import SearchAdmission
from consumer.settings import ApiSettings
from consumer.starting import Server, unless_stopped, wait_for_servers
from consumer.submission import Submission
from consumer.telemetry import Telemetry
from consumer.wiring.api_data import open_data
from consumer.wiring.database import open_for_a_look
from consumer.wiring.searches import postgres_searches
from consumer.wiring.strategies import open_catalogue, open_row_judge

log = structlog.get_logger(__name__)

WRITERS = 6
READERS = 8
"""Connections for what is read."""
READ_SECONDS: Final = 10.0
"""For one statement that reads: somebody waits, and a 503 says more than a page that stands still."""


async def run_api(settings: ApiSettings) -> None:
    """Serve until SIGTERM or SIGINT, also while it still waits for Postgres. Kafka is not waited for.

    Raises StartFailed when Postgres does not answer in time, or the address cannot be had.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    clock = StoreClock()
    starting = wait_for_servers((_database(settings, clock),), settings.start_timeout_seconds, clock)
    if await unless_stopped(stopping, starting):
        access = Access(settings.tokens(), settings.api_root_path)
        async with open_services(settings, clock) as services:
            app = make_application(services, access)
            gc.collect()
            gc.freeze()  # modules stay: no later collection need walk them
            async with serve(app, settings.api_host, settings.api_port):
                log.info("api_started", host=settings.api_host, port=settings.api_port, open=access.is_open)
                await stopping.wait()
                log.info("api_stopping")
                services.broadcaster.stop()
    log.info("api_stopped")


def _database(settings: ApiSettings, clock: StoreClock) -> Server:
    async def look() -> None:
        await check_schema(settings.database_url.get_secret_value())
        async with open_for_a_look(settings) as pool:
            await clock.adjust(lambda: server_time(pool))

    return Server("Postgres", look)


@asynccontextmanager
async def open_services(settings: ApiSettings, clock: StoreClock) -> AsyncIterator[Services]:
    """Open everything that the routes need; close it in the opposite order."""
    stamina.set_active(True)
    owner = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:12]}"
    telemetry = Telemetry()
    connection = kafka_connection(settings)
    database_url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        reading = await stack.enter_async_context(
            open_pool(
                database_url,
                max_connections=READERS,
                name=f"{owner} reading",
                plans=FREE_PLANS,
                command_seconds=READ_SECONDS,
            )
        )

        pool = await stack.enter_async_context(
            open_pool(
                database_url,
                max_connections=WRITERS,
                name=owner,
                idle_in_transaction_seconds=settings.lease_seconds,
            )
        )
        instrument_rows = PostgresInstruments(pool)
        judge = await stack.enter_async_context(open_row_judge(settings, settings, settings, instrument_rows))
        publisher = KafkaPublisher(connection, owner.replace("/", "-"), clock)
        stack.push_async_callback(publisher.close)
        outbox = PostgresOutbox(pool, owner, settings.lease_seconds)
        relay = OutboxRelay(outbox, publisher, telemetry, clock, settings.lease_seconds)
        submission = open_submission(settings, pool, clock, owner, judge, relay)
        watch = TopicWatch(connection, topic_settings(settings), settings.kafka_create_topics)
        standings = PostgresStandings(reading)
        broadcaster = Broadcaster(KafkaTopics(connection, None), standings, clock)
        beside = Beside(
            submission, relay, broadcaster, clock, settings.lease_seconds, watch.look, lambda: server_time(pool)
        )
        await stack.enter_async_context(beside.running())

        async def readiness() -> Checks:
            return {"postgres": await _postgres_trouble(reading), "kafka": await _kafka_trouble()}

        async def _kafka_trouble() -> str | None:
            try:
                missing = await missing_topics(connection)
            except Unavailable as error:
                return str(error)
            return f"topics are missing: {', '.join(missing)}" if missing else None

        yield Services(
            history=PostgresHistory(reading),
            searches=PostgresSearchHistory(reading),
            search_results=SearchArtifacts(settings.artifacts_url),
            standings=standings,
            broadcaster=broadcaster,
            submission=submission,
            removal=PostgresRemoval(pool),
            strategy_rows=PostgresStrategies(pool),
            row_judge=judge,
            catalogue=open_catalogue(settings),
            readiness=readiness,
            registry=telemetry.registry,
            data=open_data(settings, instrument_rows),
        )


def open_submission(
    settings: ApiSettings, pool: SessionPool, clock: StoreClock, owner: str, judge: RowJudge, relay: OutboxRelay
) -> Submission:
    """Who takes requests; what it writes is this owner's."""
    writer = EventRenderer(source=f"backtest-consumer/{settings.kafka_group_id}", clock=clock)
    _, search_journal = postgres_searches(pool, writer, clock, owner, settings)
    return Submission(
        posts=PostgresPosts(pool, writer, EventOwner(owner, settings.lease_seconds)),
        search_posts=SearchPosts(search_journal),
        journal=PostgresJournal(pool, writer, owner, settings.lease_seconds),
        searches=search_journal,
        judge=judge.admission,
        judge_search=SearchAdmission(judge.admission, settings.max_combinations),
        checker=judge.checker,
        relay=relay,
        monotonic=clock.monotonic,
        learn=judge.learn,
    )


async def _postgres_trouble(pool: SessionPool) -> str | None:
    try:
        await pool.check_writable()
    except Unavailable as error:
        return str(error)
    return None
