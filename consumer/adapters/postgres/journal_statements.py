"""The journal's statements, apart from what runs them."""

from dataclasses import fields

from consumer.adapters.postgres.dates import readable_dates
from consumer.adapters.postgres.queue_statements import STANDING
from consumer.ports import StrategyRow
from consumer.rules.columns import RUN_COLUMNS

LOCK_PATIENCE_MILLISECONDS = 500

KNOWN_HASHES = """
SELECT request_id, content_hash, emitted_hash FROM backtest_requests WHERE request_id = ANY($1)
"""

LOAD_RUNS = f"""
SELECT r.id, {readable_dates(", ".join(f"r.{name}" for name in RUN_COLUMNS))}, r.status,
       EXISTS (SELECT 1 FROM backtest_executions e WHERE e.run_id = r.id) AS has_execution
FROM backtest_runs r WHERE r.id = ANY($1)
"""

# Kept from being deleted until the rows that refer to them are in; who has one locked is not waited for.
LOAD_STRATEGIES = f"""
WITH locked AS (SELECT id FROM strategies WHERE id = ANY($1) ORDER BY id FOR KEY SHARE SKIP LOCKED)
SELECT {", ".join(f"s.{each.name}" for each in fields(StrategyRow))},
       EXISTS (SELECT 1 FROM locked WHERE locked.id = s.id) AS is_locked
FROM strategies s WHERE s.id = ANY($1)
"""

# Also those whose strategy is gone: they will be rejected.
PICK_WAITING = """
WITH waiting AS MATERIALIZED (
    SELECT request_id, received_at, (data::json ->> 'strategy_id')::int AS strategy_id
    FROM backtest_requests WHERE outcome = 'waiting' AND NOT is_search
), free AS MATERIALIZED (
    SELECT s.id FROM strategies s WHERE s.id IN (SELECT strategy_id FROM waiting)
    ORDER BY s.id FOR KEY SHARE OF s SKIP LOCKED
)
SELECT q.request_id, q.topic, q.partition, q.kafka_offset, q.content_hash, q.source, q.data
FROM backtest_requests q JOIN waiting w ON w.request_id = q.request_id
WHERE q.outcome = 'waiting'
  AND (w.strategy_id IN (SELECT id FROM free) OR NOT EXISTS (SELECT 1 FROM strategies s WHERE s.id = w.strategy_id))
ORDER BY w.received_at, w.request_id
LIMIT 500
FOR UPDATE OF q SKIP LOCKED
"""

DECIDE_WAITING = """
UPDATE backtest_requests q SET outcome = i.outcome, run_id = i.run_id, specification = i.specification, error = i.error
FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[])
    AS i(request_id, outcome, run_id, specification, error)
WHERE q.request_id = i.request_id
"""

KEPT_CANCELS = """
SELECT run_id, request_id, reason FROM backtest_cancels WHERE run_id = ANY($1) OR request_id = ANY($2)
"""

# From here on the transaction waits for no lock for longer: a client that put a row in by hand, under a number that
# comes next, may take its time to commit.
NEXT_RUN_IDS = f"""
WITH patience AS MATERIALIZED (
    SELECT set_config('lock_timeout', '{LOCK_PATIENCE_MILLISECONDS}', true)
), next AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('backtest_runs', 'id')) AS id FROM generate_series(1, $1), patience
)
SELECT next.id, EXISTS (SELECT 1 FROM backtest_runs r WHERE r.id = next.id) AS is_taken FROM next
"""

INSERT_REQUESTS = """
INSERT INTO backtest_requests (request_id, topic, partition, kafka_offset, content_hash, outcome, run_id, source, data,
                               specification, error, emitted_hash)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::text[], $7::int[], $8::text[],
                     $9::text[], $10::text[], $11::text[], $12::bytea[])
ON CONFLICT (request_id) DO NOTHING
RETURNING request_id
"""

INSERT_RUNS = f"""
INSERT INTO backtest_runs (id, {", ".join(RUN_COLUMNS)}) OVERRIDING SYSTEM VALUE
SELECT * FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::float8[],
                     $8::float8[], $9::text[], $10::text[], $11::text[], $12::int[], $13::float8[], $14::float8[])
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

INSERT_EXECUTIONS = """
INSERT INTO backtest_executions (run_id, request_id, source, turn, cancel_reason, is_named)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[]) AS i(run_id)
ORDER BY i.run_id
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id
"""

# Rows compared as a whole, so that only the index on (source, turn) fits: for max(turn) of a source that has nothing
# queued the planner would rather walk the whole queue backwards.
TURNS = """
SELECT s.source,
       (SELECT e.turn FROM backtest_executions e
        WHERE e.state = 'queued' AND (e.source, e.turn) >= (s.source, 0::bigint)
          AND (e.source, e.turn) <= (s.source, 9223372036854775807)
        ORDER BY e.source DESC, e.turn DESC LIMIT 1) AS last,
       (SELECT min(e.turn) FROM backtest_executions e WHERE e.state = 'queued') AS head
FROM unnest($1::text[]) AS s(source)
"""

KEEP_CANCELS = """
INSERT INTO backtest_cancels (run_id, request_id, reason, topic, partition, kafka_offset)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[])
ON CONFLICT DO NOTHING
"""

NOTE_CANCELS = f"""
WITH wanted AS (
    SELECT c.run_id, c.reason FROM unnest($1::int[], $3::text[]) AS c(run_id, reason) WHERE c.run_id IS NOT NULL
    UNION ALL
    SELECT q.run_id, c.reason FROM unnest($2::text[], $3::text[]) AS c(request_id, reason)
    JOIN backtest_requests q ON q.request_id = c.request_id AND q.outcome = 'accepted'
), locked AS (
    SELECT e.run_id, (SELECT min(w.reason) FROM wanted w WHERE w.run_id = e.run_id) AS reason
    FROM backtest_executions e
    WHERE e.run_id IN (SELECT run_id FROM wanted) AND e.state IN ('queued', 'running')
    ORDER BY e.run_id FOR UPDATE OF e
)
UPDATE backtest_executions e SET cancel_reason = coalesce(e.cancel_reason, l.reason)
FROM locked l
WHERE e.run_id = l.run_id
RETURNING {STANDING}, e.cancel_reason,
          (SELECT q.specification FROM backtest_requests q WHERE q.request_id = e.request_id) AS specification
"""

SHOW_PRIMARY_TIMEFRAME = """
UPDATE backtest_runs SET primary_tf = timeframe
WHERE id IN (
    SELECT id FROM backtest_runs WHERE id = ANY($1) AND primary_tf <> timeframe FOR NO KEY UPDATE SKIP LOCKED
)
"""
