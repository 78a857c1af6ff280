"""Adds and changes rows of `strategies` in memory: what `postgres.strategy_rows` does, without a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumer.adapters.memory.tables import MemoryTables
from consumer.errors import NameTaken
from consumer.rules.columns import STRATEGY_COLUMNS


@dataclass(frozen=True, slots=True)
class MemoryStrategies:
    """Implements `StrategyRows`."""

    tables: MemoryTables

    async def add(self, columns: Mapping[str, Any]) -> int:
        async with self.tables.transaction():
            self._check(columns)
            return self.tables.add_strategy(**columns)

    async def change(self, strategy_id: int, columns: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> bool:
        async with self.tables.transaction():
            row = self.tables.strategies.get(strategy_id)
            if row is None or (seen is not None and any(row.get(name) != seen[name] for name in STRATEGY_COLUMNS)):
                return False
            self._check(columns, strategy_id)
            self.tables.strategies[strategy_id] = {**self.tables.strategies[strategy_id], **columns}
            return True

    def _check(self, columns: Mapping[str, Any], own_id: int | None = None) -> None:
        unknown = sorted(columns.keys() - set(STRATEGY_COLUMNS))
        if unknown or not columns:
            raise ValueError(f"no columns of strategies: {', '.join(unknown) or 'none given'}")
        taken = {row["name"] for strategy_id, row in self.tables.strategies.items() if strategy_id != own_id}
        if columns.get("name") in taken:
            raise NameTaken(str(columns["name"]))
