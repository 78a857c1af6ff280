"""The ledger of calls to language models in Postgres."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.adapters.postgres.pool import Connection, Pool, transaction, translated
from consumer.ports.advice import AdviceFigures, Call, CallFailed, CallRefused, CallsMade, KnownAnswer, Reply
from consumer.rules.columns import LLM_CALL_COLUMNS
from schemas.json_text import storable


@dataclass(frozen=True, slots=True)
class PostgresCalls:
    """Implements `CallLedger` on a pool of asyncpg connections.

    needs_claim: False for a run of one process alone, which nobody else can claim (`backtest run`).
    """

    pool: Pool
    needs_claim: bool = True

    async def made(self, run_id: int) -> CallsMade:
        with translated():
            [row] = await self.pool.fetch(_MADE, run_id)
        figures = AdviceFigures(
            llm_calls_used=row["calls"],
            llm_cost=row["cost"] if row["unpriced"] == 0 else None,
            llm_input_tokens=row["input_tokens"],
            llm_output_tokens=row["output_tokens"],
        )
        return CallsMade(row["last_number"], row["unanswered"], figures)

    async def answers(self, keys: Collection[str], run_id: int | None) -> Mapping[str, KnownAnswer]:
        with translated():
            rows = await self.pool.fetch(_ANSWERS, list(keys), run_id)
        return {row["key"]: KnownAnswer(row["answer"], row["run_id"]) for row in rows}

    async def begin(self, call: Call) -> bool:
        async with transaction(self.pool) as connection:
            # The lock makes a claim of the run wait, whose owner then sees this call; a claim before it fences this.
            if self.needs_claim and await connection.fetchval(_HOLD_CLAIM, call.run_id, call.epoch) is None:
                return False
            asked = call.question
            await connection.execute(
                _BEGIN,
                call.run_id,
                call.number,
                call.epoch,
                asked.bar_time,
                storable(asked.role),
                call.key,
                storable(call.model),
            )
            # Whose the number is, if it was taken before: this call's, begun once already, or nobody's of this claim.
            return bool(await connection.fetchval(_IS_OURS, call.run_id, call.number, call.epoch, call.key))

    async def settle(
        self, call: Call, outcome: Reply | CallFailed | CallRefused, latency_ms: int, *, shared: bool
    ) -> KnownAnswer | None:
        async with transaction(self.pool) as connection:
            # Of two calls with one key the first answer counts: they are settled one after the other.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_of(call.key))
            if isinstance(outcome, Reply):
                await self._answer(connection, call, outcome, latency_ms)
            else:
                error = storable(outcome.message)
                await connection.execute(_FAIL, call.run_id, call.number, call.epoch, error, latency_ms)
            rows = await connection.fetch(_ANSWERS, [call.key], None if shared else call.run_id)
        return KnownAnswer(rows[0]["answer"], rows[0]["run_id"]) if rows else None

    async def _answer(self, connection: Connection, call: Call, reply: Reply, latency_ms: int) -> None:
        await connection.execute(
            _ANSWER,
            call.run_id,
            call.number,
            call.epoch,
            storable(reply.text),
            reply.input_tokens,
            reply.output_tokens,
            reply.cost,
            latency_ms,
        )

    async def note_limit(self, specification: str, key: str) -> None:
        with translated():
            await self.pool.execute(_NOTE_LIMIT, specification, key)

    async def is_limit(self, specification: str, key: str) -> bool:
        with translated():
            return bool(await self.pool.fetchval(_IS_LIMIT, specification, key))

    async def calls_of(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        with translated():
            return await self.pool.fetch(CALLS_OF, run_id)


def _lock_of(key: str) -> int:
    """A key of an advisory lock, apart from those in `lock_keys` by all chance."""
    return int.from_bytes(hashlib.sha256(f"answer {key}".encode()).digest()[:8], signed=True)


_MADE = """
SELECT coalesce(max(number), 0) AS last_number,
       count(*) AS calls,
       count(*) FILTER (WHERE state <> 'answered') AS unanswered,
       count(*) FILTER (WHERE state = 'answered' AND cost IS NULL) AS unpriced,
       coalesce(sum(cost), 0.0) AS cost,
       coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens
FROM backtest_llm_calls WHERE run_id = $1
"""

_ANSWERS = """
SELECT DISTINCT ON (key) key, answer, run_id FROM backtest_llm_calls
WHERE key = ANY($1::text[]) AND state = 'answered' AND ($2::int IS NULL OR run_id = $2)
ORDER BY key, settled_at, run_id, number
"""

_HOLD_CLAIM = """
SELECT 1 FROM backtest_executions WHERE run_id = $1 AND epoch = $2 AND state = 'running' FOR SHARE
"""

_BEGIN = """
INSERT INTO backtest_llm_calls (run_id, number, epoch, bar_time, role, key, model, asked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
ON CONFLICT (run_id, number) DO NOTHING
"""

_IS_OURS = """
SELECT epoch = $3 AND key = $4 AND state = 'asked' FROM backtest_llm_calls WHERE run_id = $1 AND number = $2
"""

_ANSWER = """
UPDATE backtest_llm_calls
SET state = 'answered', answer = $4, input_tokens = $5, output_tokens = $6, cost = $7, latency_ms = $8,
    settled_at = clock_timestamp()
WHERE run_id = $1 AND number = $2 AND epoch = $3 AND state = 'asked'
"""

_FAIL = """
UPDATE backtest_llm_calls SET state = 'failed', error = $4, latency_ms = $5, settled_at = clock_timestamp()
WHERE run_id = $1 AND number = $2 AND epoch = $3 AND state = 'asked'
"""

_NOTE_LIMIT = """
INSERT INTO backtest_llm_limits (specification, key) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""

_IS_LIMIT = "SELECT EXISTS (SELECT 1 FROM backtest_llm_limits WHERE specification = $1 AND key = $2)"

CALLS_OF = f"SELECT {', '.join(LLM_CALL_COLUMNS)} FROM backtest_llm_calls WHERE run_id = $1 ORDER BY number"
