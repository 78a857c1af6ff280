"""Where faults happen: real servers, a proxy before the broker, workers as processes, and an upstream that sends."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.reader import open_reader
from consumer.adapters.kafka.topics import TOPIC_CONFIGS, TopicSettings, create_topics
from consumer.adapters.postgres.schema.migrating import migrate
from consumer.clock import SystemClock
from consumer.devstack import DevStack, StackKind, devstack
from consumer.errors import BrokerUnavailable, StartFailed
from consumer.ports import Delivery, Record, SendResult
from schemas import topics
from tests.faults.api import Api
from tests.faults.checker import processes_with
from tests.faults.evidence import INPUT_TOPICS, Evidence, read_committed, read_evidence
from tests.faults.model import MODEL, MoodyModel
from tests.faults.posts import Posts
from tests.faults.proxy import open_proxy
from tests.faults.worker_process import Worker
from tests.faults.worker_program import ORDERS_VARIABLE, CrashPoint, Orders
from tests.support import kafka_admin
from tests.support.api_process import free_port
from tests.support.front_door import write_market_data
from tests.support.pooler import PROGRAM, Pooler, open_pooler
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / "plugin_strategies"
GROUP_ID = "backtest-consumer"
LEASE_SECONDS = 1.5
API_TIMEOUT_SECONDS = 15.0
"""More than it takes itself for an answer while Postgres is away; then its client asks another one."""
OUTPUT_TOPICS = topics.OUTPUT_TOPICS
MARKER_VARIABLE = "FAULT_CAMPAIGN"
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    KafkaError,
    BrokerUnavailable,
    StartFailed,
)
"""What a server that is away, or a topic that is gone, makes its clients raise."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Field:
    """All of it. Servers keep their ports throughout."""

    stack: DevStack
    directory: Path
    proxies: AsyncExitStack
    producer: KafkaPublisher
    orders: Orders
    """For every worker that is started."""
    marker: str
    """NAME=value in the environment of all workers and what they start."""
    model: MoodyModel
    """Every worker's language model."""
    pooler: Pooler | None = None
    """Every second worker reaches Postgres through it, where there is one."""
    workers: list[Worker] = field(default_factory=list)
    posts: Posts = field(default_factory=Posts)
    """Who asks over HTTP, and knows the API processes."""
    deleted: dict[str, tuple[Record, ...]] = field(default_factory=dict)
    """What stood on output topics that were deleted since: others had read it."""
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def broker_port(self) -> int:
        return int(self.stack.kafka_bootstrap_servers.rpartition(":")[2])

    @property
    def clock_file(self) -> Path:
        return self.directory / "clock"

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_alive]

    @property
    def processes(self) -> list[Worker]:
        """Workers and API processes, those that have ended too."""
        return [*self.workers, *(api.process for api in self.posts.apis)]

    async def start_worker(
        self, *, crash: CrashPoint | None = None, slots: int = 2, waits: bool = False, **settings: str
    ) -> Worker:
        """Start one. It has a fault's patches, if any are ordered, and is otherwise the product as it is.

        waits: it loads everything, and begins at `Worker.go`.
        """
        worker = await self._start(Orders(crash=crash), waits=waits, slots=str(slots), **settings)
        self.workers.append(worker)
        return worker

    async def start_api(self, *, crash: CrashPoint | None = None) -> Api:
        """Start an API process, as `start_worker` has it; it answers some seconds later."""
        port = free_port()
        process = await self._start(Orders(crash=crash, command="api"), api_port=str(port))
        url = f"http://127.0.0.1:{port}"
        api = Api(process, httpx.AsyncClient(base_url=url, timeout=API_TIMEOUT_SECONDS, trust_env=False))
        self.posts.apis.append(api)
        return api

    async def _start(self, orders: Orders, *, waits: bool = False, **settings: str) -> Worker:
        number = next(self.numbers)
        log_file, go_file = self.directory / f"worker-{number}.log", self.directory / f"worker-{number}.go"
        variable, _, value = self.marker.partition("=")
        proxy = await self.proxies.enter_async_context(open_proxy(self.broker_port))
        url = self.stack.database_url
        environment = {
            **os.environ,
            **self.stack.settings_environment(),
            "BACKTEST_DATABASE_URL": self.pooler.in_front_of(url) if self.pooler and number % 2 == 0 else url,
            "BACKTEST_MARKET_DATA_URL": str(self.directory / "market-data"),
            "BACKTEST_ARTIFACTS_URL": str(self.directory / "artifacts"),
            "BACKTEST_LOG_FORMAT": "json",
            "BACKTEST_LEASE_SECONDS": str(LEASE_SECONDS),
            "BACKTEST_PROGRESS_INTERVAL_SECONDS": "0.1",
            # Every worker that is killed counts as a death; here each run is to end as it would without faults.
            "BACKTEST_MAX_ATTEMPTS": "10000",
            "BACKTEST_LLM_MODEL": MODEL,
            "BACKTEST_LLM_BASE_URL": self.model.server.url,
            "BACKTEST_LLM_REQUESTS_PER_MINUTE": "1000000",
            # Each run pays for its answers anew, so that there are calls to break off.
            "BACKTEST_LLM_CACHE": "false",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGINS)]),
            ORDERS_VARIABLE: replace(
                self.orders,
                crash=orders.crash,
                command=orders.command,
                go_file=str(go_file) if waits else "",
                proxied_ports={str(self.broker_port): proxy.port},  # JSON knows no other keys
            ).to_json(),
            variable: value,
            **{f"BACKTEST_{name.upper()}": text for name, text in settings.items()},
        }
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.worker_program"),
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        return Worker(number, process, log_file, go_file, proxy)

    async def send(self, *deliveries: Delivery) -> None:
        """Send records, in order, however long the broker is away; one may arrive twice."""
        for delivery in deliveries:
            while await self.producer.send([delivery]) != [SendResult.ACKNOWLEDGED]:
                pass

    async def database(self, statement: str, *arguments: Any) -> list[Any]:
        """Execute a statement on a connection of its own, however long Postgres is away; it may be executed twice."""

        async def attempt() -> list[Any]:
            return await self.database_now(statement, *arguments)

        return await persistently(attempt)

    async def database_now(self, statement: str, *arguments: Any) -> list[Any]:
        """Execute a statement; raises one of AWAY while Postgres is away."""
        async with self.outside() as connection:
            return list(await connection.fetch(statement, *arguments))

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Any]:
        """Another service's connection; raises one of AWAY while Postgres is away."""
        connection = await asyncpg.connect(self.stack.database_url.replace("+asyncpg", ""), timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def evidence(self) -> Evidence:
        told = self.posts.kept()  # first: what is told later may be in no table that is read now

        async def attempt() -> Evidence:
            found = await read_evidence(self.stack.database_url, self.stack.kafka_bootstrap_servers, GROUP_ID)
            records = {topic: self.deleted.get(topic, ()) + present for topic, present in found.records.items()}
            return replace(found, records=records, model_calls=dict(self.model.calls), **told)

        return await persistently(attempt)

    async def heal(self, *, workers: int = 1, apis: int = 0) -> None:
        """End every fault: servers up, nobody stopped, clocks right, and this many workers and APIs at least."""
        for worker in self.processes:
            worker.proxy.loses_acknowledgements = worker.proxy.is_cut = False
        self.clock_file.write_text("0")
        self.model.be("well")
        for server in (self.stack.kafka, self.stack.postgres):
            await server.resume()
            await server.start()
        if self.pooler is not None:
            await self.pooler.start()
        await self.let_postgres_write()
        await persistently(self.make_topics_right)
        for worker in self.processes:
            worker.send(signal.SIGCONT)
        while len(self.alive) < workers:
            await self.start_worker()
        while len(self.posts.alive) < apis:
            await self.start_api()

    async def let_postgres_write(self, *, writes: bool = True) -> None:
        """Or not, as when it is a standby now; sessions that are there learn it too."""
        await self.database(f"ALTER SYSTEM SET default_transaction_read_only = {'off' if writes else 'on'}")
        await self.database("SELECT pg_reload_conf()")

    async def make_topics_right(self) -> None:
        """As their owner has them: there, and with their settings."""
        servers = self.stack.kafka_bootstrap_servers
        await create_topics(KafkaConnection(servers), TopicSettings(partitions=3))
        for topic in OUTPUT_TOPICS:
            await kafka_admin.configure(servers, topic, TOPIC_CONFIGS[topic])

    async def settle(self, *, seconds: float = 120.0) -> Evidence:
        """Wait until nothing is undone, and look. At the deadline it looks anyway: the checker says what is undone."""

        async def probe() -> bool:
            rows = await self.database(_UNDONE)
            return not rows[0]["undone"] and await self._all_is_committed()

        with suppress(AssertionError):
            await eventually(probe, "all done", seconds=seconds)
        return await self.evidence()

    async def stop_workers(self) -> list[int]:
        """SIGTERM for all, and their exit statuses; one that does not end in time is killed, and shows as -9."""
        return await self._stop(self.alive)

    async def stop_apis(self) -> list[int]:
        """As `stop_workers`."""
        return await self._stop([api.process for api in self.posts.alive])

    async def _stop(self, stopping: Sequence[Worker]) -> list[int]:
        for worker in stopping:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
        for worker in stopping:
            try:
                await worker.ended(30)
            except TimeoutError:
                worker.send(signal.SIGKILL)
                await worker.ended()
        return [worker.process.returncode or 0 for worker in stopping]

    async def _all_is_committed(self) -> bool:
        async def attempt() -> bool:
            servers = self.stack.kafka_bootstrap_servers
            committed = await read_committed(servers, GROUP_ID)
            async with open_reader(KafkaConnection(servers), INPUT_TOPICS, from_beginning=False) as reader:
                ends = dict(reader.ends)
            return all(committed.get(place, 0) == end for place, end in ends.items())

        return await persistently(attempt)


@asynccontextmanager
async def open_field(
    directory: Path, orders: Orders | None = None, stack_kind: StackKind = "embedded"
) -> AsyncIterator[Field]:
    """Servers of its own, empty. At the end nothing of it is left, whatever the workers left."""
    write_market_data(directory / "market-data")
    marker = f"{MARKER_VARIABLE}={secrets.token_hex(8)}"
    async with AsyncExitStack() as cleanup:
        stack = await cleanup.enter_async_context(devstack(stack=stack_kind))
        await migrate(stack.database_url)
        pooler = None
        if PROGRAM is not None:
            # Not the 15 s of its defaults: a server comes back every few seconds here.
            pooler = await cleanup.enter_async_context(open_pooler(stack.database_url, server_login_retry="1"))
        connection = KafkaConnection(stack.kafka_bootstrap_servers)
        await create_topics(connection, TopicSettings(partitions=3))
        proxies = await cleanup.enter_async_context(AsyncExitStack())
        producer = KafkaPublisher(connection, "upstream", SystemClock())
        cleanup.push_async_callback(producer.close)
        ordered = replace(orders or Orders(), clock_file=str(directory / "clock"))
        model = MoodyModel()
        cleanup.enter_context(model.server)
        opened = Field(stack, directory, proxies, producer, ordered, marker, model, pooler)
        cleanup.push_async_callback(end_all, opened)
        yield opened


async def end_all(opened: Field) -> None:
    """Kill every process and whatever carries the marker."""
    for worker in opened.processes:
        worker.send(signal.SIGKILL)
        await worker.ended()
    for follower in opened.posts.following:
        follower.cancel()
    await asyncio.gather(*opened.posts.following, return_exceptions=True)
    for api in opened.posts.apis:
        await api.client.aclose()
    for found in processes_with(opened.marker):
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)


async def persistently(attempt: Callable[[], Awaitable[Answer]], *, seconds: float = 120.0) -> Answer:
    """Try until the server answers."""

    async def probe() -> tuple[Answer] | None:
        try:
            return (await attempt(),)
        except AWAY:
            return None

    return (await eventually(probe, "an answer", seconds=seconds))[0]


async def lasting(seconds: float) -> None:
    """Let a fault last: its length is what is tested, there is no condition to wait for."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await asyncio.wait([never], timeout=seconds)


def event(topic: str, event_id: str, data: Any, *, source: str = "upstream") -> Delivery:
    """A structured CloudEvent."""
    content = {"specversion": "1.0", "id": event_id, "source": source, "type": topic, "data": data}
    return Delivery(topic, event_id.encode(), json.dumps(content).encode())


_UNDONE = """
SELECT (SELECT count(*) FROM backtest_executions WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM backtest_requests WHERE outcome = 'waiting')
     + (SELECT count(*) FROM backtest_searches WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM backtest_outbox) AS undone
"""
