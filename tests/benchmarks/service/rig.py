"""Real servers, requests in, events out, and what processes cost: the bench on which services are measured.

A subject is one program that does the job: ours, or the FastStream handler (`subjects`). Each has topics and a database
of its own on the same servers, and only one runs at a time.
"""

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.adapters.postgres.schema.migrating import migrate
from consumer.devstack import DevStack, devstack
from tests.benchmarks.service.market import random_windows, write_hours

PARTITIONS = 6
_REQUEST_ID = re.compile(rb'"request_id": *"([^"]+)"')
SMALL_RUN_BARS = 2000
SMALL_RUN_PARAMS = '{"fast": 8, "slow": 34}'
"""Some 80 trades on them."""
_WARM_UP_BARS = 2000
"""So many lie before each window: no program has less to read than another."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Where one subject reads requests and tells of their ends."""

    requested: str
    progress: str
    completed: str


OUR_TOPICS = Topics("backtest.requested", "backtest.progress", "backtest.completed")


@dataclass(slots=True)
class Arrivals:
    """Terminal events of one subject as they come: monotonic second of each, by request id."""

    consumer: AIOKafkaConsumer
    moments: dict[str, float] = field(default_factory=dict)
    """Of the first event of each request, in order of arrival."""
    repeated: int = 0
    """Events of requests that had one already: a handler without our guarantees runs some twice."""
    not_completed: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        while True:
            polled = await self.consumer.getmany(timeout_ms=1000)
            now = time.perf_counter()
            for records in polled.values():
                for record in records:
                    self._note(now, record.value or b"")
            if polled:
                self.arrived.set()

    def _note(self, now: float, value: bytes) -> None:
        found = _REQUEST_ID.search(value)
        if found is None or b"backtest.completed" not in value:
            self.not_completed.append(value)
            return
        request_id = found[1].decode()
        if request_id in self.moments:
            self.repeated += 1
        else:
            self.moments[request_id] = now

    async def wait_for(self, request_ids: Collection[str], seconds: float) -> float:
        """Until all of these have come; the moment of the last one."""
        async with asyncio.timeout(seconds):
            for request_id in request_ids:
                while request_id not in self.moments:
                    if self.not_completed:
                        raise AssertionError(f"not completed: {self.not_completed[0][:500]!r}")
                    self.arrived.clear()
                    await self.arrived.wait()
        return max(self.moments[request_id] for request_id in request_ids)


@dataclass(slots=True)
class Rig:
    """Servers, market data and a producer."""

    stack: DevStack
    directory: Path
    producer: AIOKafkaProducer
    hours: pl.Series
    """Times of the bars of the market data, eleven years of them."""
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    windows: Iterator[dict[str, str]] = field(init=False)
    """Of the next requests. Each small run is over another stretch of the eleven years; see draw_anew."""

    def __post_init__(self) -> None:
        self.draw_anew()

    def draw_anew(self) -> None:
        """Begin the same row of windows again, so that each subject runs over the same ones."""
        self.windows = random_windows(self.hours, SMALL_RUN_BARS, _WARM_UP_BARS)

    @property
    def kafka(self) -> str:
        return self.stack.kafka_bootstrap_servers

    @property
    def market_data(self) -> Path:
        return self.directory / "market-data"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A migrated database, dropped at the end."""
        url = await self.stack.postgres.new_database()
        await migrate(url)
        yield url
        await self.stack.postgres.drop_database(url)

    @asynccontextmanager
    async def connection(self, database_url: str) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        try:
            yield connection
        finally:
            await connection.close()

    async def make_topics(self, topics: Topics) -> None:
        """Empty topics: what was in them is gone."""
        if topics == OUR_TOPICS:
            await create_topics(KafkaConnection(self.kafka), TopicSettings(partitions=PARTITIONS))
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            names = (topics.requested, topics.progress, topics.completed)
            missing = set(names) - set(await admin.list_topics())
            await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in sorted(missing)])
        finally:
            await admin.close()

    @asynccontextmanager
    async def arrivals(self, topics: Topics) -> AsyncIterator[Arrivals]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="latest", fetch_max_wait_ms=1000)
        await consumer.start()
        partitions = [TopicPartition(topics.completed, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        found = Arrivals(consumer)
        listening = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await consumer.stop()

    def request(self, strategy_id: int, source: str = "bench", **data: Any) -> tuple[str, bytes]:
        """Id and bytes of a new request."""
        request_id = f"r{next(self.numbers)}"
        event = {
            "specversion": "1.0",
            "id": request_id,
            "source": source,
            "type": "backtest.requested",
            "data": {"strategy_id": strategy_id, "symbol": "EURUSD", **next(self.windows), **data},
        }
        return request_id, json.dumps(event).encode()

    async def send_all(self, topic: str, requests: Iterable[tuple[str, bytes]]) -> None:
        futures = [await self.producer.send(topic, value, key=key.encode()) for key, value in requests]
        await asyncio.gather(*futures)

    async def send(self, topic: str, request: tuple[str, bytes]) -> None:
        await self.producer.send_and_wait(topic, request[1], key=request[0].encode())

    def server_processes(self) -> list[psutil.Process]:
        kafka: Any = self.stack.kafka
        postgres: Any = self.stack.postgres
        return [psutil.Process(pid) for server in (kafka, postgres) for pid in server.process_ids]


@asynccontextmanager
async def open_rig(*, durable: bool = False) -> AsyncIterator[Rig]:
    """Servers of its own. durable: with fsync, at the speed of this machine's disk."""
    directory = _own_directory()
    try:
        async with (
            devstack(durable=durable, data_dir=directory / "servers" if durable else None) as stack,
            AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap_servers, enable_idempotence=True) as producer,
        ):
            yield Rig(stack, directory, producer, _hours(directory / "market-data"))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _own_directory() -> Path:
    """With market data in it. Open to all: Postgres runs under another account where this one is root's."""
    directory = Path(tempfile.mkdtemp(prefix="bench-service-"))
    directory.chmod(0o755)
    write_hours(directory / "market-data")
    return directory


def _hours(market_data: Path) -> pl.Series:
    return pl.scan_parquet(market_data / "EURUSD" / "H1" / "*.parquet").select("time").collect()["time"].sort()


async def add_strategy(connection: Any, key: str = "sma_cross", params: str = SMALL_RUN_PARAMS) -> int:
    strategy_id: Any = await connection.fetchval(
        "INSERT INTO strategies (name, strategy_key, strategy_params, primary_tf)"
        " VALUES ($1 || (SELECT count(*) FROM strategies), $1, $2, 'H1') RETURNING id",
        key,
        params,
    )
    return int(strategy_id)


def trees(pids: Sequence[int]) -> list[psutil.Process]:
    """These processes and all below them that live."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system time so far, reaped children included."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_seconds_by_process(processes: Iterable[psutil.Process], main: Collection[int] = ()) -> dict[str, float]:
    """The same by what a process does; `main`: ids of those that were started by name."""
    found: dict[str, float] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            name = _does(" ".join(process.cmdline()), is_main=process.pid in main)
            found[name] = found.get(name, 0.0) + cpu_seconds([process])
    return found


def _does(command: str, *, is_main: bool) -> str:
    if is_main:
        return "main"
    titles = {"backtest-engine": "engine", "spawn_main": "engine", "backtest-checker": "checker", "java": "Kafka"}
    titles |= {"postgres": "Postgres"}
    return next((name for mark, name in titles.items() if mark in command), "other")


def heap_mb(process: psutil.Process) -> float:
    """Anonymous memory of one process: what a leak would grow, and nothing that others who share files can move."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    return 0.0


def pss_mb(processes: Iterable[psutil.Process]) -> float:
    """Proportional set size: pages that several processes share count once."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 2**20
