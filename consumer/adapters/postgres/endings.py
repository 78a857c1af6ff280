"""How a run ends in Postgres, whoever ends it: finish, cancel, sweep, crash_loop and intake all write through here."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import structlog

from consumer.adapters.postgres.pool import Connection, Row
from consumer.ports import EventKind, EventWriter, OutgoingEvent, RunFacts
from consumer.ports.outcomes import Cancelled, Completed, Failed
from consumer.rules.columns import METRIC_COLUMNS
from consumer.rules.endings import Ending, SpecificationCorrupt, facts_of, final_progress, state_of
from consumer.rules.ownership import Standing, standing_of
from schemas.json_text import storable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventOwner:
    """Who relays what is written here, and for how long others leave it alone."""

    name: str
    lease_seconds: float


async def end_runs(
    connection: Connection, endings: Sequence[Ending], writer: EventWriter, owner: EventOwner
) -> tuple[OutgoingEvent, ...]:
    """End runs whose execution rows the caller has locked: execution, row, terminal event, unsent progress dropped.

    Returns all unsent events of these runs, which this worker relays from now on. Trades are the caller's business.
    """
    if not endings:
        return ()
    events = [
        writer.terminal(ending.facts, ending.sequence, ending.attempt, final_progress(ending), ending.outcome)
        for ending in endings
    ]
    rows = await connection.fetch(_END_RUNS, owner.name, owner.lease_seconds, *_written(endings, events))
    for ending in endings:
        if ending.has_row and not isinstance(ending.outcome, Completed):
            await _end_row(connection, ending)
    unsent = events_of(row for row in rows if row["kind"] is not None)
    return (*unsent, *with_row_ids(events, [row for row in rows if row["kind"] is None]))


def _written(endings: Sequence[Ending], events: Sequence[OutgoingEvent]) -> Iterator[list[Any]]:
    """The columns that _END_RUNS takes; what only a completed run has is None of the others."""
    completed = [ending.outcome if isinstance(ending.outcome, Completed) else None for ending in endings]
    yield [ending.facts.run_id for ending in endings]
    yield [state_of(ending.outcome) for ending in endings]
    yield [ending.sequence for ending in endings]
    yield [ending.epoch for ending in endings]
    yield [each and each.result_digest for each in completed]
    yield [each and each.engine_version[:40] for each in completed]
    yield [each and each.strategy_version for each in completed]
    yield [each and json.dumps(each.metrics) for each in completed]
    yield [each and json.dumps(each.artifacts) for each in completed]
    yield [each and each.duration_seconds for each in completed]
    yield [event.event_id for event in events]
    yield [event.key for event in events]
    yield [event.value for event in events]
    yield [encode_headers(event.headers) for event in events]
    yield [each and each.data_file_path for each in completed]
    for each in completed:
        if each is not None and (unknown := each.columns.keys() - set(METRIC_COLUMNS)):
            raise ValueError(f"a result has figures that no column is for: {', '.join(sorted(unknown))}")
    for name in METRIC_COLUMNS:
        yield [each and each.columns.get(name) for each in completed]


async def _end_row(connection: Connection, ending: Ending) -> None:
    match ending.outcome:
        case Failed(code, message):
            told = storable(f"{code}: {message}")
            await connection.execute(_FAIL_ROW, ending.facts.run_id, ending.progress_pct, told)
        case Cancelled():
            await connection.execute(_CANCEL_ROW, ending.facts.run_id, ending.progress_pct)
        case Completed():
            raise AssertionError("written with its execution")
        case _:
            assert_never(ending.outcome)


async def store_events(
    connection: Connection, events: Sequence[OutgoingEvent], owner: EventOwner
) -> tuple[OutgoingEvent, ...]:
    """Insert events, for this worker to relay, into the outbox; the same with their row ids, in the same order."""
    if not events:
        return ()
    rows = await connection.fetch(
        _STORE_EVENTS,
        [event.event_id for event in events],
        [event.kind.value for event in events],
        [event.run_id for event in events],
        [event.sequence for event in events],
        [event.key for event in events],
        [event.value for event in events],
        [encode_headers(event.headers) for event in events],
        owner.name,
        owner.lease_seconds,
    )
    return with_row_ids(events, rows)


def with_row_ids(events: Sequence[OutgoingEvent], rows: Iterable[Row]) -> tuple[OutgoingEvent, ...]:
    """Stored events, each with the id of its row."""
    row_ids = {row["event_id"]: row["id"] for row in rows}
    return tuple(replace(event, row_id=row_ids[event.event_id]) for event in events)


async def take_over(connection: Connection, run_ids: Iterable[int], owner: EventOwner) -> tuple[OutgoingEvent, ...]:
    """Make this worker the one who relays all unsent events of these runs; returned by run, sequence rising."""
    rows = await connection.fetch(_TAKE_OVER, list(run_ids), owner.name, owner.lease_seconds)
    return events_of(rows)


def events_of(rows: Iterable[Row]) -> tuple[OutgoingEvent, ...]:
    """Outbox rows as events, by run and sequence."""
    events = (
        OutgoingEvent(
            event_id=row["event_id"],
            kind=EventKind(row["kind"]),
            run_id=row["run_id"],
            sequence=row["sequence"],
            key=row["message_key"],
            value=row["value"],
            headers=decode_headers(row["headers"]),
            row_id=row["id"],
        )
        for row in rows
    )
    return tuple(sorted(events, key=lambda event: (event.run_id or 0, event.sequence, event.row_id)))


def encode_headers(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """JSON list of [name, base64 or null], ASCII: header names may hold what a text column cannot."""
    if not headers:
        return None
    return json.dumps([[name, None if value is None else b64encode(value).decode("ascii")] for name, value in headers])


def decode_headers(text: str | None) -> tuple[tuple[str, bytes | None], ...]:
    """The inverse of `encode_headers`."""
    if text is None:
        return ()
    return tuple((name, None if value is None else b64decode(value)) for name, value in json.loads(text))


async def standings(connection: Connection, rows: Sequence[Row]) -> list[Standing]:
    """Rows of backtest_executions, each with its specification, as what ends are decided by."""
    known = await facts_of_rows(connection, rows)
    return [standing_of(row, facts) for row, (facts, _) in zip(rows, known, strict=True)]


async def facts_of_rows(connection: Connection, rows: Sequence[Row]) -> list[tuple[RunFacts, dict[str, Any]]]:
    """`facts_of` of each row with run_id, request_id and specification. One that is corrupt takes its facts from the
    run's row and has an empty specification, by which it fails when it is run.
    """
    try:
        return [facts_of(row["run_id"], row["request_id"], row["specification"]) for row in rows]
    except SpecificationCorrupt:
        found = await connection.fetch(_NAMED_BY_ROW, [row["run_id"] for row in rows])
    by_row = {row["id"]: (row["strategy_id"], row["symbol"], row["timeframe"]) for row in found}
    known = []
    for row in rows:
        try:
            known.append(facts_of(row["run_id"], row["request_id"], row["specification"]))
        except SpecificationCorrupt:
            log.exception("specification_corrupt", run_id=row["run_id"], request_id=row["request_id"])
            named = by_row.get(row["run_id"], (0, "", ""))
            known.append((RunFacts(row["run_id"], row["request_id"], *named), {}))
    return known


_NAMED_BY_ROW = "SELECT id, strategy_id, symbol, timeframe FROM backtest_runs WHERE id = ANY($1)"

_WHOLE_METRICS = frozenset({"total_trades", "max_consec_wins", "max_consec_losses"})
_METRIC_ARRAYS = ", ".join(
    f"${place}::{'int' if name in _WHOLE_METRICS else 'float8'}[]"
    for place, name in enumerate(METRIC_COLUMNS, start=18)
)

# With their rows, where they completed, and all of their events: progress goes, the rest of the unsent is ours. Rows of
# the outbox are locked by id first, as everywhere; nobody adds one meanwhile, since that takes the execution's lock.
_END_RUNS = f"""
WITH ended AS (
    UPDATE backtest_executions e
    SET state = i.state, sequence = i.sequence, epoch = i.epoch, finished_at = clock_timestamp(),
        owner = NULL, lease_until = NULL, result_digest = i.result_digest, engine_version = i.engine_version,
        strategy_version = i.strategy_version
    FROM unnest($3::int[], $4::text[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[])
        AS i(run_id, state, sequence, epoch, result_digest, engine_version, strategy_version)
    WHERE e.run_id = i.run_id
), shown AS (
    UPDATE backtest_runs r
    SET status = 'completed', progress_pct = 100, error_message = NULL, data_file_path = i.data_file_path,
        {", ".join(f"{name} = i.{name}" for name in METRIC_COLUMNS)}
    FROM unnest($3::int[], $17::text[], {_METRIC_ARRAYS})
        AS i(run_id, data_file_path, {", ".join(METRIC_COLUMNS)})
    WHERE r.id = i.run_id AND i.data_file_path IS NOT NULL
), results AS (
    INSERT INTO backtest_results (run_id, metrics, artifacts, duration_seconds)
    SELECT * FROM unnest($3::int[], $10::text[], $11::text[], $12::float8[]) AS i(run_id, metrics, artifacts, seconds)
    WHERE i.metrics IS NOT NULL
), told AS (
    INSERT INTO backtest_outbox (event_id, kind, run_id, sequence, message_key, value, headers, owner, lease_until)
    SELECT i.event_id, '{EventKind.TERMINAL.value}', i.run_id, i.sequence, i.message_key, i.value, i.headers,
           $1, clock_timestamp() + make_interval(secs => $2)
    FROM unnest($13::text[], $3::int[], $5::bigint[], $14::bytea[], $15::bytea[], $16::text[])
         WITH ORDINALITY AS i(event_id, run_id, sequence, message_key, value, headers, place)
    ORDER BY i.place
    RETURNING id, event_id
), locked AS (
    SELECT id, kind FROM backtest_outbox WHERE run_id = ANY($3) ORDER BY id FOR UPDATE
), dropped AS (
    DELETE FROM backtest_outbox o USING locked WHERE o.id = locked.id AND locked.kind = 'progress'
), kept AS (
    UPDATE backtest_outbox o SET owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
    FROM locked
    WHERE o.id = locked.id AND locked.kind <> 'progress'
    RETURNING o.id, o.event_id, o.kind, o.run_id, o.sequence, o.message_key, o.value, o.headers
)
SELECT id, event_id, kind, run_id, sequence, message_key, value, headers FROM kept
UNION ALL
SELECT id, event_id, NULL, NULL, NULL, NULL, NULL, NULL FROM told
"""

_FAIL_ROW = """
UPDATE backtest_runs SET status = 'failed', progress_pct = greatest(progress_pct, $2), error_message = $3 WHERE id = $1
"""

_CANCEL_ROW = """
UPDATE backtest_runs SET status = 'cancelled', progress_pct = greatest(progress_pct, $2) WHERE id = $1
"""

_STORE_EVENTS = """
INSERT INTO backtest_outbox (event_id, kind, run_id, sequence, message_key, value, headers, owner, lease_until)
SELECT i.event_id, i.kind, i.run_id, i.sequence, i.message_key, i.value, i.headers,
       $8, clock_timestamp() + make_interval(secs => $9)
FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bytea[], $7::text[])
     WITH ORDINALITY AS i(event_id, kind, run_id, sequence, message_key, value, headers, place)
ORDER BY i.place
RETURNING id, event_id
"""

# Rows of the outbox are locked by id wherever several are, so that no two transactions wait for each other.
_TAKE_OVER = """
WITH locked AS (SELECT id FROM backtest_outbox WHERE run_id = ANY($1) ORDER BY id FOR UPDATE)
UPDATE backtest_outbox o SET owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3)
FROM locked WHERE o.id = locked.id
RETURNING o.id, event_id, kind, run_id, sequence, message_key, value, headers
"""
