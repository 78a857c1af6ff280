"""The queue's statements, apart from what runs them: each is read together with its locks."""

from consumer.adapters.postgres.dates import readable_dates
from consumer.rules.columns import EXECUTED_COLUMNS

SWEEP_LIMIT = 500
"""Runs ended by one sweep; the next one takes the rest."""

SWEEP_SLICE = 40_000
"""Queued runs whose rows one sweep looks at, so that its cost has a bound (some 100 ms); the next one goes on behind
them. Three sweeps a lease see 120 000, more than MAX_QUEUED is by default.
"""

LAPSED_LIMIT = 200
"""Lapsed leases that one look returns, the oldest first."""

# A cancel may have been stored by a transaction that did not yet see the request, and the other way round: so the kept
# cancels are looked up wherever a run is run, swept or finished, and not only at intake. Not where it is picked: the
# sweep looks at the newest cancels only, and a run that nothing picks and nothing sweeps would wait for ever. By its
# number only a run that its request named: a run numbered here has one that a cancel may have guessed.
KEPT_CANCEL = """coalesce(e.cancel_reason,
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE e.is_named AND c.run_id = e.run_id),
    (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE c.request_id = e.request_id))"""

# What `standing_of` reads, but for the cancel.
STANDING = "e.run_id, e.request_id, e.state, e.epoch, e.attempts, e.deaths, e.sequence, e.progress_pct"

# The limit is written into the text: with a parameter the planner assumes a tenth of the table and sorts it.
PICK_QUEUED = """
SELECT e.run_id
FROM backtest_executions e JOIN backtest_runs r ON r.id = e.run_id
WHERE e.state = 'queued' AND r.status IN ('pending', 'running') AND e.cancel_reason IS NULL
ORDER BY e.turn, e.run_id
LIMIT {limit}
FOR UPDATE OF e SKIP LOCKED FOR NO KEY UPDATE OF r SKIP LOCKED
"""

LAPSED = f"""
SELECT e.run_id, e.epoch, e.lease_until
FROM backtest_executions e JOIN backtest_runs r ON r.id = e.run_id
WHERE e.state = 'running' AND e.lease_until < now() AND r.status IN ('pending', 'running') AND e.cancel_reason IS NULL
ORDER BY e.lease_until, e.run_id
LIMIT {LAPSED_LIMIT}
"""

PICK_LAPSED = f"""
SELECT {STANDING}, e.cancel_reason, q.specification
FROM unnest($1::int[], $2::int[], $3::timestamptz[]) AS seen(run_id, epoch, lease_until)
JOIN backtest_executions e ON e.run_id = seen.run_id
JOIN backtest_runs r ON r.id = e.run_id
JOIN backtest_requests q ON q.request_id = e.request_id
WHERE e.state = 'running' AND e.epoch = seen.epoch AND e.lease_until = seen.lease_until AND e.lease_until < now()
  AND r.status IN ('pending', 'running') AND e.cancel_reason IS NULL
ORDER BY e.lease_until, e.run_id
LIMIT {{limit}}
FOR UPDATE OF e SKIP LOCKED FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_TAKE = """
WITH picked AS MATERIALIZED (
    {picked}
), claimed AS (
    UPDATE backtest_executions e
    SET deaths = e.deaths + (e.state = 'running')::int, state = 'running', epoch = e.epoch + 1,
        attempts = e.attempts + 1, owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2),
        sequence = e.sequence + 1, progress_pct = 0, started_at = coalesce(e.started_at, clock_timestamp())
    FROM picked WHERE e.run_id = picked.run_id
    RETURNING e.run_id, e.request_id, e.turn, e.epoch, e.attempts, e.deaths, e.sequence
), shown AS (
    UPDATE backtest_runs r SET status = 'running', progress_pct = 0, primary_tf = r.timeframe
    FROM picked WHERE r.id = picked.run_id
)
SELECT c.*, q.specification FROM claimed c JOIN backtest_requests q ON q.request_id = c.request_id
"""
TAKE = _TAKE.format(picked="SELECT unnest($3::int[]) AS run_id")
"""Of rows that are locked."""
TAKE_QUEUED = _TAKE.format(picked=PICK_QUEUED.strip())
"""Whatever they were when this statement began: what was picked is locked, and updated as it is then."""

BEAT = """
WITH beats AS (
    SELECT *
    FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[], $8::text[])
        AS b(run_id, epoch, progress_pct, sequence, event_id, message_key, value, headers)
), locked AS (
    SELECT e.run_id, b.sequence, b.progress_pct FROM backtest_executions e JOIN beats b ON e.run_id = b.run_id
    WHERE e.epoch = b.epoch AND e.state = 'running'
    ORDER BY e.run_id FOR UPDATE OF e
), alive AS (
    UPDATE backtest_executions e
    SET lease_until = clock_timestamp() + make_interval(secs => $10),
        sequence = greatest(e.sequence, coalesce(locked.sequence, 0)),
        progress_pct = greatest(e.progress_pct, coalesce(locked.progress_pct, 0))
    FROM locked
    WHERE e.run_id = locked.run_id
    RETURNING e.run_id, e.cancel_reason
), free AS (
    SELECT r.id, b.progress_pct
    FROM backtest_runs r JOIN alive a ON a.run_id = r.id JOIN beats b ON b.run_id = r.id
    WHERE r.status = 'running' AND b.progress_pct > r.progress_pct
    FOR NO KEY UPDATE OF r SKIP LOCKED
), shown AS (
    UPDATE backtest_runs r SET progress_pct = f.progress_pct FROM free f WHERE r.id = f.id
), stored AS (
    INSERT INTO backtest_outbox (event_id, kind, run_id, sequence, message_key, value, headers, owner, lease_until)
    SELECT b.event_id, 'progress', b.run_id, b.sequence, b.message_key, b.value, b.headers,
           $9, clock_timestamp() + make_interval(secs => $10)
    FROM beats b JOIN alive a ON a.run_id = b.run_id
    WHERE b.event_id IS NOT NULL
    ON CONFLICT (run_id) WHERE kind = 'progress' DO UPDATE
    SET event_id = excluded.event_id, sequence = excluded.sequence, value = excluded.value, headers = excluded.headers,
        owner = excluded.owner, lease_until = excluded.lease_until
    RETURNING id, run_id
)
SELECT a.run_id, a.cancel_reason, s.id AS outbox_id FROM alive a LEFT JOIN stored s ON s.run_id = a.run_id
"""

CANCELS_WANTED = f"""
SELECT i.run_id, coalesce(e.epoch = i.epoch AND e.state = 'running', false) AS is_ours,
       r.status, {KEPT_CANCEL} AS cancel_reason
FROM unnest($1::int[], $2::int[]) AS i(run_id, epoch)
LEFT JOIN backtest_executions e ON e.run_id = i.run_id
LEFT JOIN backtest_runs r ON r.id = i.run_id
"""

LOCK_ROW = f"""
SELECT status, {readable_dates(", ".join(EXECUTED_COLUMNS))} FROM backtest_runs WHERE id = $1 FOR NO KEY UPDATE
"""

LOCK_EXECUTION = f"""
SELECT {STANDING}, {KEPT_CANCEL} AS cancel_reason
FROM backtest_executions e WHERE e.run_id = $1 FOR UPDATE OF e
"""

HOW_IT_ENDED = f"""
SELECT {STANDING}, {KEPT_CANCEL} AS cancel_reason, r.status, r.error_message
FROM backtest_executions e LEFT JOIN backtest_runs r ON r.id = e.run_id WHERE e.run_id = $1
"""

GIVE_BACK = """
UPDATE backtest_executions
SET state = 'queued', owner = NULL, lease_until = NULL, deaths = deaths + $3
WHERE run_id = $1 AND epoch = $2 AND state = 'running'
RETURNING run_id
"""

FORGET_UNKNOWN = """
UPDATE backtest_executions SET state = 'queued', owner = NULL, lease_until = NULL
WHERE owner = $1 AND state = 'running' AND NOT run_id = ANY($2)
RETURNING run_id
"""

SHOW_PENDING = """
UPDATE backtest_runs SET status = 'pending'
WHERE id IN (SELECT id FROM backtest_runs WHERE id = ANY($1) AND status = 'running' FOR NO KEY UPDATE SKIP LOCKED)
"""

SLICE_END = f"""
SELECT turn, run_id FROM backtest_executions WHERE state = 'queued' AND (turn, run_id) > ($1::bigint, $2::int)
ORDER BY turn, run_id OFFSET {SWEEP_SLICE - 1} LIMIT 1
"""

# Three ways to be cancelled: noted at the execution (an index of its own), kept but not noted (only among the newest
# cancels: those that were stored at the same time as the request), and shown by the row, or its absence (in a slice).
PICK_CANCELLED = f"""
WITH newest AS (
    SELECT run_id, request_id FROM backtest_cancels ORDER BY id DESC LIMIT {SWEEP_LIMIT}
), ready AS NOT MATERIALIZED (
    SELECT run_id FROM backtest_executions
    WHERE state = 'queued' AND (turn, run_id) > ($1::bigint, $2::int) AND (turn, run_id) <= ($3::bigint, $4::int)
    UNION ALL
    SELECT run_id FROM backtest_executions WHERE state = 'running' AND lease_until < now()
), wanted AS (
    SELECT run_id FROM backtest_executions WHERE cancel_reason IS NOT NULL AND state IN ('queued', 'running')
    UNION
    SELECT c.run_id FROM newest c WHERE c.run_id IS NOT NULL
    UNION
    SELECT e.run_id FROM newest c JOIN backtest_executions e ON e.request_id = c.request_id
    UNION
    SELECT e.run_id FROM ready e LEFT JOIN backtest_runs r ON r.id = e.run_id
    WHERE r.id IS NULL OR r.status NOT IN ('pending', 'running')
)
SELECT {STANDING}, q.specification,
       r.id IS NOT NULL AS has_row, {KEPT_CANCEL} AS cancel_reason
FROM backtest_executions e
JOIN backtest_requests q ON q.request_id = e.request_id
LEFT JOIN backtest_runs r ON r.id = e.run_id
WHERE e.run_id IN (SELECT run_id FROM wanted)
  AND (e.state = 'queued' OR (e.state = 'running' AND e.lease_until < now()))
  AND (r.id IS NULL OR r.status NOT IN ('pending', 'running') OR {KEPT_CANCEL} IS NOT NULL)
ORDER BY e.run_id
LIMIT {SWEEP_LIMIT}
FOR UPDATE OF e SKIP LOCKED
"""

LOCK_ROWS_AT_HAND = """
SELECT id, status FROM backtest_runs WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED
"""
