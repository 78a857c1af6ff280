"""Where runs and searches stand. Implements `Standings`."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consumer.adapters.postgres.pool import Pool, translated
from consumer.ports.standings import Row

_JSON: Final = ("metrics", "artifacts", "best_params", "robust_params", "statistics")

# Ended is what its events have said: a row that another service set to cancelled has an event to come.
_RUNS: Final = """
SELECT r.id AS run_id, e.request_id, r.strategy_id, r.symbol, r.timeframe,
       CASE WHEN e.state IN ('completed', 'failed', 'cancelled') THEN e.state
            WHEN e.state = 'running' THEN 'running' WHEN e.state = 'queued' THEN 'pending' ELSE r.status END AS status,
       coalesce(e.progress_pct, r.progress_pct) AS progress_pct, coalesce(e.sequence, 0) AS sequence,
       coalesce(e.attempts, 0) AS attempt, e.cancel_reason, r.error_message {more}
FROM backtest_runs r LEFT JOIN backtest_executions e ON e.run_id = r.id {joined}
"""
_ONE_RUN: Final = _RUNS.format(
    more=", r.data_file_path, e.result_digest, e.engine_version, t.metrics, t.artifacts, t.duration_seconds",
    joined="LEFT JOIN backtest_results t ON t.run_id = r.id",
)
_ACTIVE_RUNS: Final = f"""
{_RUNS.format(more="", joined="")}
WHERE r.id > $1 AND (e.state IN ('queued', 'running') OR (e.state IS NULL AND r.status IN ('pending', 'running')))
ORDER BY r.id LIMIT $2
"""
_SEARCHES: Final = """
SELECT r.id AS optimization_id, s.request_id, r.strategy_id, r.symbol, r.timeframe,
       CASE WHEN s.state IN ('completed', 'failed', 'cancelled') THEN s.state
            WHEN s.state = 'running' THEN 'running' WHEN s.state = 'queued' THEN 'pending' ELSE r.status END AS status,
       coalesce(s.progress_pct, r.progress_pct) AS progress_pct, coalesce(s.sequence, 0) AS sequence, 1 AS attempt,
       (SELECT coalesce(c.reason, 'requested') FROM backtest_cancels c WHERE c.request_id = s.request_id)
           AS cancel_reason, r.error_message {more}
FROM optimization_runs r LEFT JOIN backtest_searches s ON s.optimization_id = r.id
"""
_ONE_SEARCH: Final = _SEARCHES.format(
    more=", r.best_params, r.best_value, r.best_run_id, r.robust_params, r.statistics, r.results_file_path,"
    " s.result_digest, r.failed_combinations,"
    " extract(epoch FROM r.completed_at - r.started_at)::float8 AS duration_seconds"
)
_ACTIVE_SEARCHES: Final = f"""
{_SEARCHES.format(more="")}
WHERE r.id > $1 AND (s.state IN ('queued', 'running') OR (s.state IS NULL AND r.status IN ('pending', 'running')))
ORDER BY r.id LIMIT $2
"""
_OPEN: Final = """
SELECT e.run_id AS number, false AS is_search FROM backtest_executions e
WHERE e.run_id = ANY($1) AND e.state IN ('queued', 'running')
UNION ALL
SELECT r.id, false FROM backtest_runs r WHERE r.id = ANY($1) AND r.status IN ('pending', 'running')
  AND NOT EXISTS (SELECT 1 FROM backtest_executions e WHERE e.run_id = r.id)
UNION ALL
SELECT s.optimization_id, true FROM backtest_searches s
WHERE s.optimization_id = ANY($2) AND s.state IN ('queued', 'running')
UNION ALL
SELECT r.id, true FROM optimization_runs r WHERE r.id = ANY($2) AND r.status IN ('pending', 'running')
  AND NOT EXISTS (SELECT 1 FROM backtest_searches s WHERE s.optimization_id = r.id)
"""


@dataclass(frozen=True, slots=True)
class PostgresStandings:
    """On a pool of asyncpg connections."""

    pool: Pool

    async def run(self, run_id: int) -> Row | None:
        found = await self._fetch(f"{_ONE_RUN} WHERE r.id = $1", run_id)
        return found[0] if found else None

    async def search(self, optimization_id: int) -> Row | None:
        found = await self._fetch(f"{_ONE_SEARCH} WHERE r.id = $1", optimization_id)
        return found[0] if found else None

    async def active_runs(self, after: int, limit: int) -> Sequence[Row]:
        return await self._fetch(_ACTIVE_RUNS, after, limit)

    async def active_searches(self, after: int, limit: int) -> Sequence[Row]:
        return await self._fetch(_ACTIVE_SEARCHES, after, limit)

    async def ended(self, run_ids: Collection[int], optimization_ids: Collection[int]) -> tuple[set[int], set[int]]:
        rows = await self._fetch(_OPEN, list(run_ids), list(optimization_ids))
        runs = {row["number"] for row in rows if not row["is_search"]}
        searches = {row["number"] for row in rows if row["is_search"]}
        return set(run_ids) - runs, set(optimization_ids) - searches

    async def _fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        with translated():
            rows = await self.pool.fetch(statement, *arguments)
        return [{name: _parsed(name, value) for name, value in row.items()} for row in rows]


def _parsed(name: str, value: Any) -> Any:
    return json.loads(value) if name in _JSON and value is not None else value
