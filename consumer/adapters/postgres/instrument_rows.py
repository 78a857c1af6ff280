"""Keeps instruments that were brought over HTTP."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.adapters.postgres.pool import Connection, Pool, translated


@dataclass(frozen=True, slots=True)
class PostgresInstruments:
    """Implements `InstrumentRows`."""

    connection: Connection | Pool

    async def others_than(self, symbols: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        with translated():
            rows = await self.connection.fetch(
                "SELECT symbol, block FROM backtest_instruments WHERE symbol <> ALL($1::text[])", list(symbols)
            )
        return {row["symbol"]: json.loads(row["block"]) for row in rows}

    async def add(self, symbol: str, block: Mapping[str, Any]) -> bool:
        with translated():
            added = await self.connection.fetch(
                "INSERT INTO backtest_instruments (symbol, block) VALUES ($1, $2) ON CONFLICT DO NOTHING"
                " RETURNING symbol",
                symbol,
                json.dumps(dict(block)),
            )
        return bool(added)
