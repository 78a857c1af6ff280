"""The outbox in Postgres: events until the broker has them. Implements `Outbox`."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.adapters.postgres.endings import EventOwner, events_of, take_over
from consumer.adapters.postgres.pool import Pool, transaction, translated
from consumer.ports import OutgoingEvent


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    """Ownership by lease: an event that its owner neither sent nor renewed may be adopted by any worker."""

    pool: Pool
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
            await self.pool.execute(_LEASE, *_keys(events), self.owner, -0.001)

    async def adopt(self, limit: int, max_bytes: int) -> Sequence[OutgoingEvent]:
        statement = _ADOPT.format(limit=int(limit))
        with translated():
            return events_of(await self.pool.fetch(statement, self.owner, self.lease_seconds, max_bytes))

    async def take_over(self, run_ids: Sequence[int]) -> Sequence[OutgoingEvent]:
        async with transaction(self.pool) as connection:
            return await take_over(connection, run_ids, EventOwner(self.owner, self.lease_seconds))


def _keys(events: Sequence[OutgoingEvent]) -> tuple[list[int], list[int]]:
    return [event.row_id for event in events], [event.sequence for event in events]


# The sequence too: a progress row may hold a newer event by now, which has not been sent.
_DELETE = """
WITH locked AS (
    SELECT o.id FROM backtest_outbox o JOIN unnest($1::bigint[], $2::bigint[]) AS d(id, sequence)
        ON o.id = d.id AND o.sequence = d.sequence
    ORDER BY o.id FOR UPDATE OF o
)
DELETE FROM backtest_outbox o USING locked WHERE o.id = locked.id
"""

_LEASE = """
WITH locked AS (
    SELECT o.id FROM backtest_outbox o JOIN unnest($1::bigint[], $2::bigint[]) AS d(id, sequence)
        ON o.id = d.id AND o.sequence = d.sequence
    WHERE o.owner = $3
    ORDER BY o.id FOR UPDATE OF o
)
UPDATE backtest_outbox o SET lease_until = clock_timestamp() + make_interval(secs => $4)
FROM locked WHERE o.id = locked.id
"""

# All unsent events of a run move together, so that the new owner sends none without its predecessors; a run of which
# somebody holds one is left for the next time. So this waits for nobody, and two adoptions never for each other. What
# is wanted is listed first: an OR of two memberships fits no index, and in a broker's outage the outbox is long.
_ADOPT = """
WITH oldest AS (
    SELECT id, run_id, lease_until, coalesce(octet_length(value), 0) AS bytes
    FROM backtest_outbox WHERE lease_until < now() ORDER BY lease_until LIMIT {limit}
), summed AS (
    SELECT id, run_id, sum(bytes) OVER (ORDER BY lease_until, id) - bytes AS bytes_before FROM oldest
), lapsed AS (
    SELECT id, run_id FROM summed WHERE bytes_before < $3
), wanted AS (
    SELECT id FROM lapsed WHERE run_id IS NULL
    UNION
    SELECT o.id FROM backtest_outbox o JOIN lapsed l ON o.run_id = l.run_id
), locked AS (
    SELECT o.id, o.run_id FROM backtest_outbox o
    WHERE o.id IN (SELECT id FROM wanted) AND (o.run_id IS NOT NULL OR o.lease_until < now())
    FOR UPDATE SKIP LOCKED
), whole AS (
    SELECT l.id FROM locked l
    WHERE l.run_id IS NULL
        OR (SELECT count(*) FROM locked m WHERE m.run_id = l.run_id)
         = (SELECT count(*) FROM backtest_outbox o WHERE o.run_id = l.run_id)
)
UPDATE backtest_outbox o SET owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
FROM whole WHERE o.id = whole.id
RETURNING o.id, event_id, kind, run_id, sequence, message_key, value, headers
"""
