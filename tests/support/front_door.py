"""The system as others see it: topics and tables on real servers, workers as processes of their own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.adapters.postgres.schema.migrating import migrate
from consumer.devstack import DevStack, StackKind, devstack
from schemas import topics
from tests.support.waiting import eventually

PLUGINS = Path(__file__).parent / "plugin_strategies"
TROUBLED = Path(__file__).parent / "troubled_strategies"
SAMPLE = Path(__file__).parents[2] / "consumer" / "demo_data" / "eurusd_h1.parquet"
OUTPUT_TOPICS = tuple(str(topic) for topic in topics.OUTPUT_TOPICS)
JANUARY = {"start_date": "2017-01-02T00:00:00Z", "end_date": "2017-02-01T00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Message:
    """One record of an output topic."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.value)  # type: ignore[no-any-return]  # JSON of ours

    @property
    def data(self) -> dict[str, Any]:
        return self.event["data"]  # type: ignore[no-any-return]  # JSON of ours

    @property
    def kind(self) -> str:
        return str(self.event["type"]).rpartition(".")[2]


@dataclass(slots=True)
class Worker:
    """A worker process and all it started."""

    process: asyncio.subprocess.Process
    log_file: Path

    def log_text(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def log_events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class FrontDoor:
    """Servers, a producer, and everything that ever came out."""

    stack: DevStack
    directory: Path
    database: Any
    """An asyncpg pool."""
    producer: AIOKafkaProducer
    messages: list[Message] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    @asynccontextmanager
    async def worker(self, *packages: Path, **settings: str) -> AsyncIterator[Worker]:
        """Start `backtest worker`; killed at the end, if it still runs. packages: folders that are on its path too."""
        log_file = self.directory / f"worker-{next(self.numbers)}.log"
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumer", "worker"),
                env=self.environment(*packages, **settings),
                stdout=log,
                stderr=log,
            )
        worker = Worker(process, log_file)
        try:
            yield worker
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def command(self, *arguments: str, packages: Sequence[Path] = (), **settings: str) -> "Ended":
        """Run a `backtest` command to its end. packages: folders that are on its path too."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", *arguments),
            env=self.environment(*packages, **settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode())

    def environment(self, *packages: Path, **settings: str) -> dict[str, str]:
        given = {f"BACKTEST_{name.upper()}": value for name, value in settings.items()}
        return {
            **os.environ,
            **self.stack.settings_environment(),
            "BACKTEST_MARKET_DATA_URL": str(self.directory / "market-data"),
            "BACKTEST_ARTIFACTS_URL": str(self.directory / "artifacts"),
            "BACKTEST_LOG_FORMAT": "json",
            "BACKTEST_SLOTS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (*packages, PLUGINS))),
            **given,
        }

    async def add_strategy(self, key: str = "sma_cross", **columns: Any) -> int:
        """Insert a strategies row, with server defaults for what is not named."""
        row = {"name": f"strategy {next(self.numbers)}", "strategy_key": key, "primary_tf": "H1", **columns}
        names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
        inserted = await self.database.fetchval(
            f"INSERT INTO strategies ({names}) VALUES ({places}) RETURNING id", *row.values()
        )
        return int(inserted)

    async def add_run(self, strategy_id: int, **columns: Any) -> int:
        """Insert a pending run row, as another service would."""
        row = {
            "strategy_id": strategy_id,
            "symbol": "EURUSD",
            "timeframe": "H1",
            "start_date": datetime(2017, 1, 2, tzinfo=UTC),
            "end_date": datetime(2017, 2, 1, tzinfo=UTC),
            **columns,
        }
        names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
        inserted = await self.database.fetchval(
            f"INSERT INTO backtest_runs ({names}) VALUES ({places}) RETURNING id", *row.values()
        )
        return int(inserted)

    async def request(self, strategy_id: int | None = None, *, request_id: str | None = None, **data: Any) -> str:
        """Emit a request (structured CloudEvent) and return its id."""
        request_id = request_id or f"request-{next(self.numbers)}"
        if strategy_id is not None and "run_id" not in data:
            data = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY, **data}
        await self.emit("backtest.requested", request_id, data)
        return request_id

    async def search(self, strategy_id: int | None = None, *, request_id: str | None = None, **data: Any) -> str:
        """Emit a request for a search and return its id."""
        request_id = request_id or f"search-{next(self.numbers)}"
        if strategy_id is not None:
            data = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY, **data}
        await self.emit("optimization.requested", request_id, data)
        return request_id

    async def cancel(self, **data: Any) -> None:
        await self.emit("backtest.cancel_requested", f"cancel-{next(self.numbers)}", data)

    async def emit(self, topic: str, event_id: str, data: Mapping[str, Any]) -> None:
        event = {"specversion": "1.0", "id": event_id, "source": "tests", "type": topic, "data": data}
        await self.send_raw(topic, json.dumps(event).encode(), key=event_id.encode())

    async def send_raw(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        await self.producer.send_and_wait(topic, value, key=key, headers=list(headers))

    async def run_of(self, request_id: str) -> int | None:
        run_id: int | None = await self.database.fetchval(
            "SELECT run_id FROM backtest_requests WHERE request_id = $1", request_id
        )
        return run_id

    async def row_of(self, request_id: str, status: str | None = None, *, seconds: float = 60.0) -> dict[str, Any]:
        """The run's row, once it is terminal (or has `status`)."""
        wanted = {status} if status else {"completed", "failed", "cancelled"}

        async def probe() -> dict[str, Any] | None:
            run_id = await self.run_of(request_id)
            row = await self.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", run_id)
            return dict(row) if row is not None and row["status"] in wanted else None

        return await eventually(probe, f"run of {request_id} {status or 'terminal'}", seconds=seconds)

    async def message(
        self, fits: Callable[[Message], bool], what: str = "a message", *, seconds: float = 60.0
    ) -> Message:
        async def probe() -> Message | None:
            return next((message for message in self.messages if fits(message)), None)

        return await eventually(probe, what, seconds=seconds)

    async def terminal_event(self, request_id: str, *, seconds: float = 60.0) -> Message:
        """The request's terminal event on backtest.completed."""
        return await self.message(
            lambda message: message.topic == "backtest.completed" and message.data["request_id"] == request_id,
            f"terminal event of {request_id}",
            seconds=seconds,
        )

    async def end_of_search(self, request_id: str, *, seconds: float = 60.0) -> Message:
        """The search's terminal event on optimization.completed."""
        return await self.message(
            lambda message: message.topic == "optimization.completed" and message.data["request_id"] == request_id,
            f"terminal event of {request_id}",
            seconds=seconds,
        )

    async def search_row(self, optimization_id: int) -> dict[str, Any]:
        return dict(await self.database.fetchrow("SELECT * FROM optimization_runs WHERE id = $1", optimization_id))

    def events_of(self, request_id: str, topic: str = "backtest.progress") -> list[Message]:
        return [
            message for message in self.messages if message.topic == topic and message.data["request_id"] == request_id
        ]


@asynccontextmanager
async def open_front_door(directory: Path, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    """Servers of its own, migrated, with topics and a year of market data; a listener on all output topics."""
    write_market_data(directory / "market-data")
    async with devstack(stack=stack_kind) as stack:
        await migrate(stack.database_url)
        await create_topics(KafkaConnection(stack.kafka_bootstrap_servers), TopicSettings(partitions=3))
        dsn = stack.database_url.replace("+asyncpg", "")
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap_servers, enable_idempotence=True)
        consumer = AIOKafkaConsumer(
            *OUTPUT_TOPICS,
            bootstrap_servers=stack.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=10 * 1_048_576,
        )
        async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as database, producer, consumer:
            door = FrontDoor(stack, directory, database, producer)
            listening = asyncio.create_task(_listen(door, consumer))
            yield door
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


async def _listen(door: FrontDoor, consumer: AIOKafkaConsumer) -> None:
    async for record in consumer:
        door.messages.append(Message(record.topic, record.key, record.value or b"", dict(record.headers)))


def write_market_data(root: Path) -> None:
    """The packaged EURUSD sample as market data at rest."""
    bars = pl.read_parquet(SAMPLE)
    for (year,), frame in bars.group_by(pl.col("time").dt.year(), maintain_order=True):
        file = root / "EURUSD" / "H1" / f"{year}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(file)
