"""What the retention command asks of the tables, and the one thing that it changes there: `data_file_path`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from consumer.adapters.postgres import lock_keys
from consumer.adapters.postgres.history import connected
from consumer.adapters.postgres.pool import Connection
from consumer.errors import AlreadyAtWork
from consumer.ports.retention import BarsInUse, EndedLongAgo, EndedSearchLongAgo, RetentionTables
from consumer.rules.searches import BEST_RUN

_BATCH = 5_000


class PostgresRetention:
    """Implements `RetentionTables` on one connection, while the other holds the lock that keeps others away."""

    def __init__(self, connection: Connection, lock_holder: Connection) -> None:
        self._connection = connection
        self._lock_holder = lock_holder

    async def before(self, age: timedelta) -> datetime:
        """The moment so long ago, by the database's clock."""
        moment: datetime = await self._connection.fetchval("SELECT now() - $1::interval", age)
        return moment

    async def known(self, run_ids: Sequence[int]) -> set[int]:
        """Which of these runs this database has executed, or will."""
        found: set[int] = set()
        for first in range(0, len(run_ids), _BATCH):
            rows = await self._connection.fetch(
                f"SELECT run_id FROM {_EXECUTED} e WHERE run_id = ANY($1)", run_ids[first : first + _BATCH]
            )
            found.update(row["run_id"] for row in rows)
        return found

    async def known_searches(self, ids: Sequence[int]) -> set[int]:
        """Which of these searches this database has accepted."""
        rows = await self._connection.fetch(
            "SELECT optimization_id FROM backtest_searches WHERE optimization_id = ANY($1)", ids
        )
        return {row["optimization_id"] for row in rows}

    async def ended_searches(self, ids: Sequence[int], before: datetime) -> list[EndedSearchLongAgo]:
        """Those of the searches that ended before a moment."""
        await self._make_sure_of_the_lock()
        rows = await self._connection.fetch(_ENDED_SEARCHES, ids, before)
        return [EndedSearchLongAgo(row["optimization_id"], row["results_file_path"]) for row in rows]

    async def forget_results(self, ids: Sequence[int]) -> None:
        """Set results_file_path of these searches to null."""
        await self._connection.execute(_FORGET_RESULTS, ids)

    async def ended(self, run_ids: Sequence[int], before: datetime) -> list[EndedLongAgo]:
        """Those of the runs that ended before a moment."""
        found: list[EndedLongAgo] = []
        await self._make_sure_of_the_lock()
        for first in range(0, len(run_ids), _BATCH):
            rows = await self._connection.fetch(_ENDED, run_ids[first : first + _BATCH], before)
            found += [EndedLongAgo(row["run_id"], row["data_file_path"]) for row in rows]
        return found

    async def count_paths(self, before: datetime, location: str) -> int:
        """How many rows `clear_paths` would change."""
        count: int = await self._connection.fetchval(f"SELECT count(*) {_OLD_PATHS}", before, location)
        return count

    async def clear_paths(self, before: datetime, location: str) -> int:
        """Set data_file_path to null where it begins with `location` and the run ended before a moment; the count."""
        cleared = 0
        while True:
            await self._make_sure_of_the_lock()
            count: int = await self._connection.fetchval(_CLEAR_PATHS, before, location)
            cleared += count
            if count < _BATCH:
                return cleared

    async def bars_in_use(self, before: datetime, location: str) -> BarsInUse:
        """The bars that rows name, but for what `clear_paths` takes from them, and the runs that may name more."""
        await self._make_sure_of_the_lock()
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            began = await self._connection.fetchval(f"SELECT min(started_at) FROM {_AT_WORK} e WHERE state = 'running'")
            rows = await self._connection.fetch(_NAMED, before, location)
        return BarsInUse(frozenset(row["data_file_path"] for row in rows), began)

    async def _make_sure_of_the_lock(self) -> None:
        """Raises what the driver raises where the lock's transaction has ended with its connection."""
        await self._lock_holder.execute("SELECT 1")


@asynccontextmanager
async def open_retention(database_url: str) -> AsyncIterator[RetentionTables]:
    """Raises StoreUnavailable, and AlreadyAtWork where another retention command is at work."""
    async with (
        connected(database_url, read_only=False) as lock_holder,
        # By a transaction that stays open: a pooler would give a session's lock to whoever comes next. It has no
        # snapshot, so that it keeps no dead rows.
        lock_holder.transaction(),
        connected(database_url, read_only=False) as connection,
    ):
        await lock_holder.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if not await lock_holder.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock_keys.PRUNE):
            raise AlreadyAtWork("another `backtest runs prune` is at work on this database")
        yield PostgresRetention(connection, lock_holder)


_AT_WORK = """(
    SELECT state, started_at FROM backtest_executions UNION ALL SELECT state, started_at FROM backtest_searches
)"""

# The best run of a search has no execution: it ends with its search, whose plan has its number.
_EXECUTED = f"""(
    SELECT run_id, state, finished_at FROM backtest_executions
    UNION ALL
    SELECT (plan::json ->> '{BEST_RUN}')::int, state, finished_at FROM backtest_searches
    WHERE plan::json ->> '{BEST_RUN}' IS NOT NULL
)"""

_ENDED_SEARCHES = """
SELECT s.optimization_id, o.results_file_path
FROM backtest_searches s LEFT JOIN optimization_runs o ON o.id = s.optimization_id
WHERE s.optimization_id = ANY($1) AND s.state IN ('completed', 'failed', 'cancelled') AND s.finished_at < $2
"""

_FORGET_RESULTS = """
UPDATE optimization_runs SET results_file_path = NULL WHERE id = ANY($1) AND results_file_path IS NOT NULL
"""

_ENDED = f"""
SELECT e.run_id, r.data_file_path FROM {_EXECUTED} e LEFT JOIN backtest_runs r ON r.id = e.run_id
WHERE e.run_id = ANY($1) AND e.state IN ('completed', 'failed', 'cancelled') AND e.finished_at < $2
"""

_OLD_PATHS = f"""
FROM backtest_runs r JOIN {_EXECUTED} e ON e.run_id = r.id
WHERE e.state IN ('completed', 'failed', 'cancelled') AND e.finished_at < $1 AND starts_with(r.data_file_path, $2)
"""

_CLEAR_PATHS = f"""
WITH cleared AS (
    UPDATE backtest_runs SET data_file_path = NULL WHERE id IN (SELECT r.id {_OLD_PATHS} LIMIT {_BATCH}) RETURNING id
)
SELECT count(*) FROM cleared
"""

_NAMED = f"""
SELECT DISTINCT data_file_path FROM backtest_runs
WHERE data_file_path IS NOT NULL AND NOT id IN (SELECT r.id {_OLD_PATHS})
"""
