"""All that the system shows to others, at one moment: its topics from offset 0, its tables, its committed offsets."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.reader import open_reader
from consumer.ports import Record
from schemas.topics import EXPECTED_TYPE, Topic
from tests.faults.posted import Followed, Posted, PostedCancel

Row = Mapping[str, Any]
Place = tuple[str, int, int]
"""Topic, partition, offset of an input record."""
INPUT_TOPICS = tuple(topic.value for topic in EXPECTED_TYPE)


async def read_evidence(database_url: str, kafka_bootstrap_servers: str, group_id: str) -> "Evidence":
    """Read everything. The order matters: what is committed must be in the tables or topics that are read after it.

    A dead letter leaves the outbox once it is in its topic, so the outbox is read first. Raises what asyncpg and
    aiokafka raise when a server is away.
    """
    committed = await read_committed(kafka_bootstrap_servers, group_id)
    tables = await read_tables(database_url)
    records = await read_topics(kafka_bootstrap_servers)
    return Evidence(records=records, committed=committed, **tables)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an output topic."""

    id: str
    kind: str
    """Its type without `backtest.` or `optimization.`."""
    data: Mapping[str, Any]
    record: Record

    @property
    def sequence(self) -> int:
        return int(self.data["sequence"])


@dataclass(frozen=True, slots=True)
class Trades:
    """The trade rows of one run, in the order of their ids."""

    profits: tuple[float, ...]
    last_equity: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found. Rows by primary key."""

    records: Mapping[str, tuple[Record, ...]]
    """By topic, a partition's in order."""
    committed: Mapping[tuple[str, int], int]
    """(topic, partition) -> next offset of the group; absent: none committed."""
    requests: Mapping[str, Row]
    executions: Mapping[int, Row]
    runs: Mapping[int, Row]
    trades: Mapping[int, Trades]
    """Of runs that have any."""
    cancels: tuple[Row, ...]
    outbox: tuple[Row, ...]
    search_requests: Mapping[str, Row] = field(default_factory=dict)
    """Requests are apart by what they ask for."""
    searches: Mapping[int, Row] = field(default_factory=dict)
    shards: Mapping[tuple[int, int], Row] = field(default_factory=dict)
    optimizations: Mapping[int, Row] = field(default_factory=dict)
    llm_calls: tuple[Row, ...] = ()
    model_calls: Mapping[str, int] = field(default_factory=dict)
    """Question -> calls that its provider has received, where somebody counts them."""
    posted: Mapping[str, Posted] = field(default_factory=dict)
    """What was posted by each Idempotency-Key, where somebody keeps it, as of before the tables were read."""
    posted_cancels: tuple[PostedCancel, ...] = ()
    followed: tuple[Followed, ...] = ()

    @property
    def inputs(self) -> Iterator[Record]:
        for topic in INPUT_TOPICS:
            yield from self.records.get(topic, ())

    @property
    def accepted(self) -> dict[str, Row]:
        return {name: row for name, row in self.requests.items() if row["outcome"] == "accepted"}

    def events(self, topic: Topic) -> tuple[Event, ...]:
        return tuple(event_of(record) for record in self.records.get(topic.value, ()))

    def events_by_run(self, topic: Topic) -> dict[int, list[Event]]:
        """Events of runs (a rejection has none), a run's in the order of the topic."""
        found: dict[int, list[Event]] = {}
        for event in self.events(topic):
            if event.kind != "rejected":
                found.setdefault(event.data["run_id"], []).append(event)
        return found

    def dead_letters(self) -> dict[Place, list[Record]]:
        """By the place of the record that each stands for."""
        found: dict[Place, list[Record]] = {}
        for letter in self.records[Topic.DEAD_LETTER.value]:
            headers = dict(letter.headers)
            place = (
                (headers["dlq-topic"] or b"").decode(),
                int(headers["dlq-partition"] or b"-1"),
                int(headers["dlq-offset"] or b"-1"),
            )
            found.setdefault(place, []).append(letter)
        return found


def event_of(record: Record) -> Event:
    event = json.loads(record.value or b"")
    return Event(event["id"], str(event["type"]).rpartition(".")[2], event["data"], record)


async def read_committed(kafka_bootstrap_servers: str, group_id: str) -> dict[tuple[str, int], int]:
    async with admin_client(kafka_bootstrap_servers) as admin:
        offsets = await admin.list_consumer_group_offsets(group_id)
    return {(place.topic, place.partition): offset.offset for place, offset in offsets.items() if offset.offset >= 0}


async def read_tables(database_url: str) -> dict[str, Any]:
    """The tables as of one snapshot, as keyword arguments of Evidence."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""), timeout=30)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            requests = await connection.fetch("SELECT * FROM backtest_requests")
            executions = await connection.fetch("SELECT * FROM backtest_executions")
            runs = await connection.fetch("SELECT * FROM backtest_runs")
            trades = await connection.fetch(_TRADES)
            cancels = await connection.fetch("SELECT * FROM backtest_cancels")
            outbox = await connection.fetch("SELECT * FROM backtest_outbox")
            searches = await connection.fetch("SELECT * FROM backtest_searches")
            shards = await connection.fetch("SELECT * FROM backtest_search_shards")
            optimizations = await connection.fetch("SELECT * FROM optimization_runs")
            llm_calls = await connection.fetch("SELECT * FROM backtest_llm_calls ORDER BY run_id, number")
    finally:
        await connection.close()
    return {
        "requests": {row["request_id"]: dict(row) for row in requests if not row["is_search"]},
        "search_requests": {row["request_id"]: dict(row) for row in requests if row["is_search"]},
        "searches": {row["optimization_id"]: dict(row) for row in searches},
        "shards": {(row["optimization_id"], row["number"]): dict(row) for row in shards},
        "optimizations": {row["id"]: dict(row) for row in optimizations},
        "executions": {row["run_id"]: dict(row) for row in executions},
        "runs": {row["id"]: dict(row) for row in runs},
        "trades": {row["run_id"]: Trades(tuple(row["profits"]), row["equities"][-1]) for row in trades},
        "cancels": tuple(map(dict, cancels)),
        "outbox": tuple(map(dict, outbox)),
        "llm_calls": tuple(map(dict, llm_calls)),
    }


async def read_topics(kafka_bootstrap_servers: str) -> dict[str, tuple[Record, ...]]:
    """All topics, from offset 0 to where they end now."""
    connection = KafkaConnection(kafka_bootstrap_servers)
    found: dict[str, list[Record]] = {topic.value: [] for topic in Topic}
    async with open_reader(connection, list(found), from_beginning=True) as reader:
        while not await reader.has_caught_up():
            for record in await reader.read(0.2):
                found[record.topic].append(record)
    return {
        topic: tuple(sorted(records, key=lambda record: (record.partition, record.offset)))
        for topic, records in found.items()
    }


@asynccontextmanager
async def admin_client(kafka_bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers, request_timeout_ms=15_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


_TRADES = """
SELECT run_id, array_agg(profit ORDER BY id) AS profits, array_agg(equity_after ORDER BY id) AS equities
FROM backtest_trades GROUP BY run_id
"""
