"""The statements that keep searches, apart from what runs them."""

from dataclasses import fields

from consumer.adapters.postgres.dates import readable_dates
from consumer.ports import StrategyRow
from consumer.rules.columns import SEARCH_COLUMNS

LOCK_PATIENCE = "SET LOCAL lock_timeout = '500ms'"

# A cancel may have been stored by a transaction that did not yet see the request: kept ones are looked up wherever a
# search is taken, swept or ended. By its number only a search that its request named.
KEPT_CANCEL = """coalesce(
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c
     WHERE s.is_named AND c.optimization_id = s.optimization_id),
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE c.request_id = s.request_id))"""

HAS_STEP = """(s.state = 'queued' OR s.given < s.released OR EXISTS (
    SELECT 1 FROM backtest_search_shards d WHERE d.optimization_id = s.optimization_id AND d.state = 'queued'))"""

AT_WORK = """(SELECT count(*) FROM backtest_search_shards d
    WHERE d.optimization_id = s.optimization_id AND d.state = 'running')"""

WITH_WORK = f"""
SELECT s.optimization_id FROM backtest_searches s
WHERE s.state IN ('queued', 'running') AND {HAS_STEP} AND (s.max_workers IS NULL OR {AT_WORK} < s.max_workers)
ORDER BY {AT_WORK}, s.queued_at, s.optimization_id LIMIT $1
"""

COUNT_WITH_WORK = f"""
SELECT count(*) FROM backtest_searches s
WHERE s.state IN ('queued', 'running') AND {HAS_STEP} AND (s.max_workers IS NULL OR {AT_WORK} < s.max_workers)
"""

TO_BE_ENDED = f"""
SELECT s.optimization_id
FROM backtest_searches s LEFT JOIN optimization_runs r ON r.id = s.optimization_id
WHERE s.state IN ('queued', 'running')
  AND (r.id IS NULL OR r.status NOT IN ('pending', 'running') OR {KEPT_CANCEL} IS NOT NULL)
ORDER BY s.optimization_id LIMIT $1
"""

NAMED_BY = """
SELECT s.optimization_id FROM backtest_searches s
WHERE s.state IN ('queued', 'running') AND (s.optimization_id = ANY($1) OR s.request_id = ANY($2))
ORDER BY s.optimization_id
"""

LOCK_SEARCH = "SELECT 1 FROM backtest_searches WHERE optimization_id = $1 FOR UPDATE"

# After the lock, in a statement of its own: this one then sees what whoever had it has written.
LOAD = f"""
SELECT s.*, q.specification, r.status AS row_status, {KEPT_CANCEL} AS cancel, clock_timestamp() AS now
FROM backtest_searches s
JOIN backtest_requests q ON q.request_id = s.request_id
LEFT JOIN optimization_runs r ON r.id = s.optimization_id
WHERE s.optimization_id = $1
"""

SHARD = "number, kind, first, last, state, epoch, deaths, owner, lease_until, results_file, error"

OPEN_SHARDS = f"""
SELECT {SHARD} FROM backtest_search_shards
WHERE optimization_id = $1 AND state IN ('queued', 'running') ORDER BY number
"""

ONE_SHARD = f"SELECT {SHARD} FROM backtest_search_shards WHERE optimization_id = $1 AND number = $2 FOR UPDATE"

RESULTS = """
SELECT first, last, results_file AS file, error FROM backtest_search_shards
WHERE optimization_id = $1 AND kind = 'range' AND state = 'done' ORDER BY first
"""

SAVE_SHARDS = """
INSERT INTO backtest_search_shards
    (optimization_id, number, kind, first, last, state, epoch, deaths, owner, lease_until, results_file, error)
SELECT $1, * FROM unnest($2::int[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::int[], $8::int[],
                         $9::text[], $10::timestamptz[], $11::text[], $12::text[]) AS i(number)
ORDER BY i.number
ON CONFLICT (optimization_id, number) DO UPDATE
SET state = excluded.state, epoch = excluded.epoch, deaths = excluded.deaths, owner = excluded.owner,
    lease_until = excluded.lease_until, results_file = excluded.results_file, error = excluded.error
"""

LAPSED = """
SELECT d.optimization_id, d.number, d.epoch, d.lease_until
FROM backtest_searches s JOIN backtest_search_shards d ON d.optimization_id = s.optimization_id
WHERE s.state = 'running' AND d.state = 'running' AND d.lease_until < now()
ORDER BY d.lease_until, d.optimization_id, d.number LIMIT 200
"""

BEAT = """
WITH mine AS (
    SELECT d.optimization_id, d.number FROM backtest_search_shards d
    JOIN unnest($1::int[], $2::int[], $3::int[]) AS i(optimization_id, number, epoch)
        ON d.optimization_id = i.optimization_id AND d.number = i.number AND d.epoch = i.epoch
    WHERE d.state = 'running'
    ORDER BY d.optimization_id, d.number FOR UPDATE OF d SKIP LOCKED
)
UPDATE backtest_search_shards d SET lease_until = clock_timestamp() + make_interval(secs => $4)
FROM mine WHERE d.optimization_id = mine.optimization_id AND d.number = mine.number
"""

LOOK = f"""
SELECT i.optimization_id, i.number,
       coalesce(d.epoch = i.epoch AND d.state = 'running' AND s.state = 'running', false) AS is_ours,
       r.status, {KEPT_CANCEL} AS cancel
FROM unnest($1::int[], $2::int[], $3::int[]) AS i(optimization_id, number, epoch)
LEFT JOIN backtest_search_shards d ON d.optimization_id = i.optimization_id AND d.number = i.number
LEFT JOIN backtest_searches s ON s.optimization_id = i.optimization_id
LEFT JOIN optimization_runs r ON r.id = i.optimization_id
"""

GIVE_BACK = """
UPDATE backtest_search_shards SET state = 'queued', owner = NULL, lease_until = NULL
WHERE optimization_id = $1 AND number = $2 AND epoch = $3 AND state = 'running' RETURNING number
"""

FORGET_UNKNOWN = """
UPDATE backtest_search_shards d SET state = 'queued', owner = NULL, lease_until = NULL
WHERE d.owner = $1 AND d.state = 'running'
  AND NOT EXISTS (SELECT 1 FROM unnest($2::int[], $3::int[]) AS k(optimization_id, number)
                  WHERE k.optimization_id = d.optimization_id AND k.number = d.number)
RETURNING number
"""

# --- requests -------------------------------------------------------------------------------------------------------

KNOWN_HASHES = "SELECT request_id, content_hash, emitted_hash FROM backtest_requests WHERE request_id = ANY($1)"

LOAD_ROWS = f"""
SELECT r.id, {readable_dates(", ".join(f"r.{name}" for name in SEARCH_COLUMNS))}, r.status,
       EXISTS (SELECT 1 FROM backtest_searches s WHERE s.optimization_id = r.id) AS has_search
FROM optimization_runs r WHERE r.id = ANY($1)
"""

NEXT_IDS = """
SELECT next.id, EXISTS (SELECT 1 FROM {table} r WHERE r.id = next.id) AS is_taken
FROM (SELECT nextval(pg_get_serial_sequence('{table}', 'id')) AS id FROM generate_series(1, $1)) next
"""

KEPT_CANCELS = """
SELECT optimization_id, request_id, reason FROM backtest_cancels WHERE optimization_id = ANY($1) OR request_id = ANY($2)
"""

# The number of a search that no request named counts for the one that stands, never for a later one: so what is kept
# of it is its request's name.
KEEP_CANCELS = """
WITH cancels AS (
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[])
        AS c(optimization_id, request_id, reason, topic, partition, kafka_offset)
)
INSERT INTO backtest_cancels (optimization_id, request_id, reason, topic, partition, kafka_offset)
SELECT * FROM cancels
UNION ALL
SELECT NULL, s.request_id, c.reason, c.topic, c.partition, c.kafka_offset
FROM cancels c JOIN backtest_searches s ON s.optimization_id = c.optimization_id
WHERE NOT s.is_named AND s.state IN ('queued', 'running')
ON CONFLICT DO NOTHING
"""

INSERT_REQUESTS = """
INSERT INTO backtest_requests (request_id, topic, partition, kafka_offset, content_hash, outcome, optimization_id,
                               source, data, specification, error, emitted_hash, is_search)
SELECT *, true FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::text[], $7::int[],
                           $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[])
ON CONFLICT (request_id) DO NOTHING
RETURNING request_id
"""

DECIDE_WAITING = """
UPDATE backtest_requests q
SET outcome = i.outcome, optimization_id = i.optimization_id, specification = i.specification, error = i.error
FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[])
    AS i(request_id, outcome, optimization_id, specification, error)
WHERE q.request_id = i.request_id
"""

PICK_WAITING = """
WITH waiting AS MATERIALIZED (
    SELECT request_id, received_at, (data::json ->> 'strategy_id')::int AS strategy_id
    FROM backtest_requests WHERE outcome = 'waiting' AND is_search
), free AS MATERIALIZED (
    SELECT s.id FROM strategies s WHERE s.id IN (SELECT strategy_id FROM waiting)
    ORDER BY s.id FOR KEY SHARE OF s SKIP LOCKED
)
SELECT q.request_id, q.topic, q.partition, q.kafka_offset, q.content_hash, q.source, q.data
FROM backtest_requests q JOIN waiting w ON w.request_id = q.request_id
WHERE q.outcome = 'waiting'
  AND (w.strategy_id IN (SELECT id FROM free) OR NOT EXISTS (SELECT 1 FROM strategies s WHERE s.id = w.strategy_id))
ORDER BY w.received_at, w.request_id
LIMIT 100
FOR UPDATE OF q SKIP LOCKED
"""

# Kept from being deleted until the rows that refer to them are in; who has one locked is not waited for.
LOAD_STRATEGIES = f"""
WITH locked AS (SELECT id FROM strategies WHERE id = ANY($1) ORDER BY id FOR KEY SHARE SKIP LOCKED)
SELECT {", ".join(f"s.{each.name}" for each in fields(StrategyRow))},
       EXISTS (SELECT 1 FROM locked WHERE locked.id = s.id) AS is_locked
FROM strategies s WHERE s.id = ANY($1)
"""

INSERT_SEARCH = """
INSERT INTO backtest_searches (optimization_id, request_id, source, max_workers, is_named) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (optimization_id) DO NOTHING RETURNING optimization_id
"""

# --- the shared rows ------------------------------------------------------------------------------------------------

LOCK_ROW = "SELECT status FROM optimization_runs WHERE id = $1 FOR NO KEY UPDATE"

INSERT_RESULT = """
INSERT INTO backtest_results (run_id, metrics, artifacts, duration_seconds) VALUES ($1, $2, $3, $4)
"""

# Whatever was tried on the same data before this search began to be asked for: of the same strategy (one that has no
# code of its own by its number) and symbol, its range overlapping.


def _tries(this: str, search_before: str = "true", run_before: str = "true") -> str:
    """Counts what was tried of `this` (strategy_id, strategy_key, symbol, start_date, end_date), as far as before."""
    return f"""
WITH this AS ({this}), alike AS (
    SELECT s.id FROM strategies s, this
    WHERE s.id = this.strategy_id OR (s.strategy_key = this.strategy_key AND this.strategy_key <> 'rules')
)
SELECT coalesce((
    SELECT sum(o.completed_combinations) FROM optimization_runs o, this
    WHERE o.strategy_id IN (SELECT id FROM alike) AND o.symbol = this.symbol
      AND o.start_date < this.end_date AND o.end_date > this.start_date AND {search_before}
), 0) + (
    SELECT count(*) FROM backtest_runs r, this
    WHERE r.strategy_id IN (SELECT id FROM alike) AND r.symbol = this.symbol AND r.status = 'completed'
      AND r.start_date < this.end_date AND r.end_date > this.start_date AND {run_before}
      AND NOT EXISTS (SELECT 1 FROM optimization_runs o WHERE o.best_run_id = r.id)
)
"""


TRIALS_BEFORE = _tries(
    "SELECT o.*, s.strategy_key FROM optimization_runs o JOIN strategies s ON s.id = o.strategy_id WHERE o.id = $1",
    "(o.created_at, o.id) < (this.created_at, this.id)",
    "r.created_at < this.created_at",
)
TRIES = _tries(
    "SELECT s.id AS strategy_id, s.strategy_key, $2::text AS symbol, $3::timestamptz AS start_date,"
    " $4::timestamptz AS end_date FROM strategies s WHERE s.id = $1"
)

TAKE_OVER = """
WITH locked AS (
    SELECT id, kind FROM backtest_outbox WHERE run_id = $1 ORDER BY id FOR UPDATE
), dropped AS (
    DELETE FROM backtest_outbox o USING locked WHERE o.id = locked.id AND locked.kind = 'progress'
)
UPDATE backtest_outbox o SET owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3)
FROM locked WHERE o.id = locked.id AND locked.kind <> 'progress'
RETURNING o.id, o.event_id, o.kind, o.run_id, o.sequence, o.message_key, o.value, o.headers
"""
