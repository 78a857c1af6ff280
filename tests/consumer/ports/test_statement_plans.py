"""The worker's statements find what they need by an index, in a long queue, with statistics and without."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.adapters.postgres import endings, outbox
from consumer.adapters.postgres import journal_statements as journal
from consumer.adapters.postgres import queue_statements as queue
from consumer.adapters.postgres.pool import open_pool
from consumer.rules.columns import METRIC_COLUMNS
from tests.consumer.stores import PostgresStore

QUEUED, ENDED = 20_000, 10_000

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "take queued": (queue.TAKE_QUEUED.format(limit=4), ("worker", 15.0)),
    "lapsed": (queue.LAPSED, ()),
    "pick lapsed": (queue.PICK_LAPSED.format(limit=4), ([7], [1], [datetime(2024, 1, 1, tzinfo=UTC)])),
    "take": (queue.TAKE, ("worker", 15.0, [1, 2])),
    "beat": (queue.BEAT, ([1], [1], [5], [2], ["run/1/2"], [b"1"], [b"{}"], [None], "worker", 15.0)),
    "cancels wanted": (queue.CANCELS_WANTED, ([1, 2], [1, 1])),
    "lock row": (queue.LOCK_ROW, (1,)),
    "lock execution": (queue.LOCK_EXECUTION, (1,)),
    "give back": (queue.GIVE_BACK, (1, 1, 0)),
    "forget unknown": (queue.FORGET_UNKNOWN, ("worker", [1])),
    "show pending": (queue.SHOW_PENDING, ([1],)),
    "slice end": (queue.SLICE_END, (-1, -1)),
    "pick cancelled": (queue.PICK_CANCELLED, (-1, -1, 40_000, 2**31 - 1)),
    "turns": (journal.TURNS, (["source 1", "a new source"],)),
    "note cancels": (journal.NOTE_CANCELS, ([1, None], [None, "request-7"], ["a", "b"])),
    "load runs": (journal.LOAD_RUNS, ([1, 2],)),
    "load strategies": (journal.LOAD_STRATEGIES, ([1],)),
    "pick waiting": (journal.PICK_WAITING, ()),
    "end": (
        endings._END_RUNS,
        (
            *("worker", 15.0, [1], ["completed"], [2], [0], [None], [None], [None], ["{}"], ["{}"], [0.5]),
            *(["1-2"], [b"1"], [b"{}"], [None], ["/bars"], *([None] for _ in METRIC_COLUMNS)),
        ),
    ),
    "take over": (endings._TAKE_OVER, ([1, 2], "worker", 15.0)),
    "adopt": (outbox._ADOPT.format(limit=10), ("worker", 15.0, 1_000_000)),
    "renew": (outbox._LEASE, ([1, 2], [1, 1], "worker", 15.0)),
    "delete sent": (outbox._DELETE, ([1, 2], [1, 1])),
}


@pytest.fixture
async def long_queue(postgres_store: PostgresStore) -> AsyncIterator[Any]:
    """A worker's connection to a queue that filled a moment ago: nobody has analysed the tables yet."""
    run = postgres_store.outside.execute
    await run("DELETE FROM pg_statistic WHERE starelid::regclass::text LIKE 'backtest%'")
    await run(
        f"""INSERT INTO backtest_runs (strategy_id, symbol, timeframe, start_date, end_date, status)
        SELECT 1, 'EURUSD', 'H1', '2024-01-01', '2024-02-01', CASE WHEN g <= {QUEUED} THEN 'pending' ELSE 'failed' END
        FROM generate_series(1, {QUEUED + ENDED}) g"""
    )
    await run(
        f"""INSERT INTO backtest_requests (request_id, topic, partition, kafka_offset, content_hash, outcome, run_id,
            source, data, specification)
        SELECT 'request-' || g, 't', 0, g, decode(repeat('ab', 32), 'hex'), 'accepted', g, 's', '{{}}', '{{}}'
        FROM generate_series(1, {QUEUED + ENDED}) g"""
    )
    await run(
        f"""INSERT INTO backtest_executions (run_id, request_id, source, turn, state)
        SELECT g, 'request-' || g, 'source ' || g % 5, g, CASE WHEN g <= {QUEUED} THEN 'queued' ELSE 'failed' END
        FROM generate_series(1, {QUEUED + ENDED}) g"""
    )
    # As while the broker is away; a few events have been left behind by their worker.
    await run(
        f"""INSERT INTO backtest_outbox (event_id, kind, run_id, sequence, message_key, value, owner, lease_until)
        SELECT 'run/' || g || '/1', 'started', g, 1, 'k', 'v', 'another', now() + (g - 20) * interval '1 minute'
        FROM generate_series(1, {ENDED}) g"""
    )
    async with (
        open_pool(postgres_store.database_url, max_connections=1, name="plans") as pool,
        pool.acquire() as worker,
    ):
        yield worker


@pytest.mark.parametrize("analysed", [False, True])
async def test_no_statement_scans_or_sorts_the_queue(long_queue: Any, analysed: bool) -> None:
    if analysed:
        await long_queue.execute("ANALYZE")
    touched: dict[str, float] = {}
    for name, (statement, arguments) in STATEMENTS.items():
        transaction = long_queue.transaction()
        await transaction.start()
        text = await long_queue.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        await transaction.rollback()
        nodes = list(walk(json.loads(text)[0]["Plan"]))
        scans = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        assert not scans, (name, scans)
        touched[name] = max(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
    in_the_queue = {"slice end", "pick cancelled"}
    assert {name for name, rows in touched.items() if rows > 100} <= in_the_queue, touched


def walk(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in walk(child))]
