"""The ledger of calls to language models in memory: what `postgres.llm_calls` does, without a server."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.adapters.memory.tables import MemoryTables, Row
from consumer.ports.advice import AdviceFigures, Call, CallFailed, CallRefused, CallsMade, KnownAnswer, Reply
from consumer.rules.columns import LLM_CALL_COLUMNS
from schemas.json_text import storable


@dataclass(frozen=True, slots=True)
class MemoryCalls:
    """Implements `CallLedger`."""

    tables: MemoryTables

    async def made(self, run_id: int) -> CallsMade:
        async with self.tables.transaction():
            rows = self._rows(run_id)
        answered = [row for row in rows if row["state"] == "answered"]
        is_priced = all(row["cost"] is not None for row in answered)
        figures = AdviceFigures(
            llm_calls_used=len(rows),
            llm_cost=sum(row["cost"] for row in answered) if is_priced else None,
            llm_input_tokens=sum(row["input_tokens"] or 0 for row in answered),
            llm_output_tokens=sum(row["output_tokens"] or 0 for row in answered),
        )
        last = max((row["number"] for row in rows), default=0)
        return CallsMade(last, len(rows) - len(answered), figures)

    def _rows(self, run_id: int) -> list[Row]:
        rows = [row for (number, _), row in self.tables.llm_calls.items() if number == run_id]
        return sorted(rows, key=lambda row: int(row["number"]))

    async def answers(self, keys: Collection[str], run_id: int | None) -> Mapping[str, KnownAnswer]:
        async with self.tables.transaction():
            return {key: found for key in keys if (found := self._answer(key, run_id)) is not None}

    def _answer(self, key: str, run_id: int | None) -> KnownAnswer | None:
        rows = [
            row
            for row in self.tables.llm_calls.values()
            if row["key"] == key and row["state"] == "answered" and run_id in {None, row["run_id"]}
        ]
        if not rows:
            return None
        first = min(rows, key=lambda row: int(row["settled"]))
        return KnownAnswer(first["answer"], first["run_id"])

    async def begin(self, call: Call) -> bool:
        async with self.tables.transaction():
            execution = self.tables.executions.get(call.run_id)
            if execution is None or (execution["epoch"], execution["state"]) != (call.epoch, "running"):
                return False
            place = (call.run_id, call.number)
            asked = {
                **dict.fromkeys(LLM_CALL_COLUMNS),
                "run_id": call.run_id,
                "number": call.number,
                "epoch": call.epoch,
                "bar_time": call.question.bar_time,
                "role": storable(call.question.role),
                "key": call.key,
                "model": storable(call.model),
                "state": "asked",
                "asked_at": self.tables.clock.now_utc(),
            }
            row = self.tables.llm_calls.setdefault(place, asked)
            return (row["epoch"], row["key"], row["state"]) == (call.epoch, call.key, "asked")

    async def settle(
        self, call: Call, outcome: Reply | CallFailed | CallRefused, latency_ms: int, *, shared: bool
    ) -> KnownAnswer | None:
        async with self.tables.transaction():
            place = (call.run_id, call.number)
            row = self.tables.llm_calls[place]
            if (row["epoch"], row["state"]) == (call.epoch, "asked"):
                settled = {
                    "latency_ms": latency_ms,
                    "settled_at": self.tables.clock.now_utc(),
                    "settled": self.tables.next_id("llm_calls"),
                }
                self.tables.llm_calls[place] = {**row, **settled, **_told(outcome)}
            return self._answer(call.key, None if shared else call.run_id)

    async def note_limit(self, specification: str, key: str) -> None:
        async with self.tables.transaction():
            self.tables.llm_limits[(specification, key)] = {}

    async def is_limit(self, specification: str, key: str) -> bool:
        async with self.tables.transaction():
            return (specification, key) in self.tables.llm_limits

    async def calls_of(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        async with self.tables.transaction():
            return [{name: row[name] for name in LLM_CALL_COLUMNS} for row in self._rows(run_id)]


def _told(outcome: Reply | CallFailed | CallRefused) -> Row:
    if not isinstance(outcome, Reply):
        return {"state": "failed", "error": storable(outcome.message)}
    return {
        "state": "answered",
        "answer": storable(outcome.text),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "cost": outcome.cost,
    }
