"""Instruments that were brought over HTTP, in memory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class MemoryInstruments:
    """Implements `InstrumentRows`."""

    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def others_than(self, symbols: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        return {symbol: block for symbol, block in self.blocks.items() if symbol not in symbols}

    async def add(self, symbol: str, block: Mapping[str, Any]) -> bool:
        if symbol.upper() in {each.upper() for each in self.blocks}:
            return False
        self.blocks[symbol] = dict(block)
        return True
