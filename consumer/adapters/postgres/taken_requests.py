"""Requests that are in the table already, as runs and searches both ask for them."""

import json
from collections.abc import Iterable, Mapping, Sequence

from consumer.adapters.postgres.pool import Connection, Row
from consumer.ports.posting import KnownHashes, TakenRequest
from schemas.problems import FieldProblem

_TAKEN = """
SELECT request_id, content_hash, emitted_hash, outcome, is_search, coalesce(optimization_id, run_id) AS number, error
FROM backtest_requests WHERE request_id = ANY($1)
"""


def known_hashes(rows: Iterable[Row]) -> KnownHashes:
    """Of rows with request_id, content_hash and emitted_hash."""
    return {row["request_id"]: _hashes(row) for row in rows}


async def taken_requests(connection: Connection, request_ids: Sequence[str]) -> Mapping[str, TakenRequest]:
    """By id."""
    rows = await connection.fetch(_TAKEN, list(request_ids))
    return {
        row["request_id"]: TakenRequest(
            _hashes(row),
            row["outcome"],
            row["is_search"],
            row["number"],
            tuple(FieldProblem(*each) for each in json.loads(row["error"] or "[]")),
        )
        for row in rows
    }


def _hashes(row: Row) -> tuple[bytes, ...]:
    return tuple(bytes(each) for each in (row["content_hash"], row["emitted_hash"]) if each is not None)
