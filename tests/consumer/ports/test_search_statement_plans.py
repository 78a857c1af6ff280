"""Statements of searches find what they need by an index, beside many searches of earlier days."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.adapters.postgres import search_statements as searches
from consumer.adapters.postgres.pool import open_pool
from tests.consumer.ports.test_statement_plans import walk
from tests.consumer.stores import PostgresStore

OPEN, ENDED, STEPS = 10, 2_000, 50
LAST = OPEN + ENDED

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "with work": (searches.WITH_WORK, (8,)),
    "count with work": (searches.COUNT_WITH_WORK, ()),
    "to be ended": (searches.TO_BE_ENDED, (100,)),
    "named by": (searches.NAMED_BY, ([LAST], ["search-1"])),
    "lock": (searches.LOCK_SEARCH, (LAST,)),
    "load": (searches.LOAD, (LAST,)),
    "open shards": (searches.OPEN_SHARDS, (LAST,)),
    "one shard": (searches.ONE_SHARD, (LAST, 2)),
    "results": (searches.RESULTS, (LAST,)),
    "lapsed": (searches.LAPSED, ()),
    "beat": (searches.BEAT, ([LAST], [STEPS], [1], 15.0)),
    "look": (searches.LOOK, ([LAST], [STEPS], [1])),
    "give back": (searches.GIVE_BACK, (LAST, STEPS, 1)),
    "known hashes": (searches.KNOWN_HASHES, (["search-1", "new"],)),
    "load rows": (searches.LOAD_ROWS, ([1, 2],)),
    "lock row": (searches.LOCK_ROW, (LAST,)),
    "take over": (searches.TAKE_OVER, (-LAST, "worker", 15.0)),
}


@pytest.fixture
async def many(postgres_store: PostgresStore) -> AsyncIterator[Any]:
    """A worker's connection where some searches are open, and many have ended; nobody has analysed the tables yet."""
    run = postgres_store.outside.execute
    await run(
        f"""INSERT INTO optimization_runs (strategy_id, symbol, timeframe, start_date, end_date, param_grid, status)
        SELECT 1, 'EURUSD', 'H1', '2024-01-01', '2024-02-01', '{{}}',
               CASE WHEN g > {ENDED} THEN 'running' ELSE 'completed' END
        FROM generate_series(1, {LAST}) g"""
    )
    await run(
        f"""INSERT INTO backtest_requests (request_id, topic, partition, kafka_offset, content_hash, outcome,
            optimization_id, source, data, specification, is_search)
        SELECT 'search-' || g, 't', 0, g, decode(repeat('ab', 32), 'hex'), 'accepted', g, 's', '{{}}', '{{}}', true
        FROM generate_series(1, {LAST}) g"""
    )
    await run(
        f"""INSERT INTO backtest_searches (optimization_id, request_id, source, state, total, released, given)
        SELECT g, 'search-' || g, 's', CASE WHEN g > {ENDED} THEN 'running' ELSE 'completed' END, 900, 900, 100
        FROM generate_series(1, {LAST}) g"""
    )
    await run(
        f"""INSERT INTO backtest_search_shards
            (optimization_id, number, kind, first, last, state, epoch, owner, lease_until)
        SELECT g, n, 'range', n, n + 1, CASE WHEN g > {ENDED} AND n = {STEPS} THEN 'running' ELSE 'done' END, 1,
               'worker', now() + interval '1 minute'
        FROM generate_series(1, {LAST}) g, generate_series(1, {STEPS}) n"""
    )
    await run(
        f"""INSERT INTO backtest_cancels (optimization_id, topic, partition, kafka_offset)
        SELECT g, 't', 0, g FROM generate_series(1, {ENDED}) g"""
    )
    async with (
        open_pool(postgres_store.database_url, max_connections=1, name="plans") as pool,
        pool.acquire() as worker,
    ):
        yield worker


@pytest.mark.parametrize("analysed", [False, True])
async def test_no_statement_scans_what_has_ended(many: Any, analysed: bool) -> None:
    if analysed:
        await many.execute("ANALYZE")
    for name, (statement, arguments) in STATEMENTS.items():
        transaction = many.transaction()
        await transaction.start()
        text = await many.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        await transaction.rollback()
        nodes = list(walk(json.loads(text)[0]["Plan"]))
        scans = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        assert not scans - {"backtest_outbox"}, (name, scans)
        most = max(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
        assert most <= 10 * OPEN + STEPS, (name, most)
