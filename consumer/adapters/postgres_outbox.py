"""The outbox in Postgres: events until the broker has them. Implements `Outbox`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumer.adapters.postgres_endings import events_of
from consumer.adapters.postgres_pool import translated
from consumer.ports import OutgoingEvent


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    """Ownership by lease: an event that its owner neither sent nor renewed may be adopted by any worker."""

    pool: Any
    owner: str
    lease_seconds: float

    async def delete(self, events: Sequence[OutgoingEvent]) -> None:
        with translated():
            await self.pool.execute(_DELETE, *_keys(events))

    async def renew(self, events: Sequence[OutgoingEvent]) -> None:
        with translated():
            await self.pool.execute(_LEASE, *_keys(events), self.owner, self.lease_seconds)

    async def release(self, events: Sequence[OutgoingEvent]) -> None:
        with translated():
            await self.pool.execute(_LEASE, *_keys(events), self.owner, 0.0)

    async def adopt(self, limit: int) -> Sequence[OutgoingEvent]:
        with translated():
            return events_of(await self.pool.fetch(_ADOPT.format(limit=int(limit)), self.owner, self.lease_seconds))


def _keys(events: Sequence[OutgoingEvent]) -> tuple[list[int], list[int]]:
    return [event.row_id for event in events], [event.sequence for event in events]


# The sequence too: a progress row may hold a newer event by now, which has not been sent.
_DELETE = """
DELETE FROM backtest_outbox o USING unnest($1::bigint[], $2::bigint[]) AS d(id, sequence)
WHERE o.id = d.id AND o.sequence = d.sequence
"""

_LEASE = """
UPDATE backtest_outbox o SET lease_until = clock_timestamp() + make_interval(secs => $4)
FROM unnest($1::bigint[], $2::bigint[]) AS d(id, sequence)
WHERE o.id = d.id AND o.sequence = d.sequence AND o.owner = $3
"""

# All unsent events of a run move together, so that the new owner sends none without its predecessors.
_ADOPT = """
WITH lapsed AS (
    SELECT id, run_id FROM backtest_outbox WHERE lease_until < now()
    ORDER BY lease_until LIMIT {limit} FOR UPDATE SKIP LOCKED
)
UPDATE backtest_outbox o SET owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE o.id IN (SELECT id FROM lapsed) OR o.run_id IN (SELECT run_id FROM lapsed WHERE run_id IS NOT NULL)
RETURNING id, event_id, kind, run_id, sequence, message_key, value, headers
"""
