"""Deletes rows that people name. Implements `RowRemoval`."""

from dataclasses import dataclass
from typing import Final, Literal

from consumer.adapters.postgres.pool import Connection, Pool, transaction
from consumer.ports.removal import NeedsConfirmation, Removed, StillActive

PATIENCE: Final = "SET LOCAL lock_timeout = '2s'"
Table = Literal["backtest_runs", "optimization_runs"]


@dataclass(frozen=True, slots=True)
class PostgresRemoval:
    """Each in one transaction that has the row locked while it looks."""

    pool: Pool

    async def remove_run(self, run_id: int) -> Removed | StillActive | None:
        return await self._remove("backtest_runs", run_id)

    async def remove_search(self, optimization_id: int) -> Removed | StillActive | None:
        return await self._remove("optimization_runs", optimization_id)

    async def remove_strategy(self, strategy_id: int, confirmed: int) -> Removed | NeedsConfirmation | None:
        async with transaction(self.pool) as connection:
            await connection.execute(PATIENCE)
            # Whoever adds a run for it needs this lock too: none comes between the count and the end.
            if await connection.fetchval("SELECT id FROM strategies WHERE id = $1 FOR UPDATE", strategy_id) is None:
                return None
            found = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM backtest_runs WHERE strategy_id = $1) AS runs,"
                " (SELECT count(*) FROM optimization_runs WHERE strategy_id = $1) AS searches",
                strategy_id,
            )
            if found is not None and found["runs"] + found["searches"] != confirmed:
                return NeedsConfirmation(found["runs"], found["searches"])
            await connection.execute("DELETE FROM strategies WHERE id = $1", strategy_id)
            return Removed()

    async def _remove(self, table: Table, number: int) -> Removed | StillActive | None:
        async with transaction(self.pool) as connection:
            await connection.execute(PATIENCE)
            status = await _locked_status(connection, table, number)
            if status is None:
                return None
            if status in {"pending", "running"}:
                return StillActive(status)
            await connection.execute(f"DELETE FROM {table} WHERE id = $1", number)
            return Removed()


async def _locked_status(connection: Connection, table: Table, number: int) -> str | None:
    status: str | None = await connection.fetchval(f"SELECT status FROM {table} WHERE id = $1 FOR UPDATE", number)
    return status
