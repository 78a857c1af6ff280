"""The read side in memory: what `postgres.reading` and `postgres.retention` tell, of the same dictionaries."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from consumer.adapters.memory.llm_calls import MemoryCalls
from consumer.adapters.memory.tables import MemoryTables
from consumer.ports.history import EVERY_RUN, NEWEST_FIRST, Row, RunFilter, RunOrder, RunPlace
from consumer.ports.retention import BarsInUse, EndedLongAgo, EndedSearchLongAgo
from consumer.rules.columns import ALL_RUN_COLUMNS, EXECUTION_COLUMNS, SORT_COLUMNS, STRATEGY_COLUMNS, TRADE_COLUMNS
from consumer.rules.endings import stored_specification
from consumer.rules.search_specification import request_of_best, specification_of_best
from consumer.rules.searches import BEST_RUN

_ENDED = {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class MemoryHistory:
    """Implements `History`."""

    tables: MemoryTables

    async def runs(
        self,
        wanted: RunFilter = EVERY_RUN,
        order: RunOrder = NEWEST_FIRST,
        *,
        limit: int = 50,
        after: RunPlace | None = None,
    ) -> Sequence[Row]:
        if order.column not in SORT_COLUMNS:
            raise ValueError(f"runs cannot be sorted by {order.column!r}")
        async with self.tables.transaction():
            found = [self._told(run_id) for run_id in self.tables.runs]
        rank = _rank(order)
        kept = [run for run in found if _is_wanted(run, wanted)]
        if after is not None:
            last = rank(after.value, after.run_id)
            kept = [run for run in kept if rank(run[order.column], run["id"]) > last]
        return sorted(kept, key=lambda run: rank(run[order.column], run["id"]))[:limit]

    async def run(self, run_id: int) -> Row | None:
        async with self.tables.transaction():
            return self._told(run_id) if run_id in self.tables.runs else None

    async def result_of(self, run_id: int) -> Row | None:
        async with self.tables.transaction():
            return self.tables.results.get(run_id)

    async def warnings_of(self, run_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        async with self.tables.transaction():
            told = {each: self.tables.results.get(each, {}).get("metrics", {}).get("warnings") for each in run_ids}
        return {run_id: warnings for run_id, warnings in told.items() if warnings}

    async def trades(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        async with self.tables.transaction():
            rows = self.tables.trades.get(run_id, ())
        numbered = [{"id": number, **_trade(row)} for number, row in enumerate(rows, start=1)]
        return [row for row in numbered if row["id"] > after][:limit]

    async def llm_calls(self, run_id: int, *, limit: int | None = None, after: int = 0) -> Sequence[Row]:
        rows = await MemoryCalls(self.tables).calls_of(run_id)
        return [row for row in rows if row["number"] > after][:limit]

    async def request_of(self, run_id: int) -> Row | None:
        row = await self._accepted(run_id)
        return None if row is None else dict(json.loads(row["data"]))

    async def request_of_best(self, run_id: int) -> Row | None:
        found = await self._search_with_best(run_id)
        if found is None:
            return None
        search, asked = found
        async with self.tables.transaction():
            key = self.tables.strategies[search["strategy_id"]]["strategy_key"]
        return request_of_best(key, json.loads(asked["data"]), search, json.loads(search["best_params"]))

    async def specification_of(self, run_id: int) -> Row | None:
        row = await self._accepted(run_id)
        if row is not None:
            return dict(json.loads(row["specification"])["engine"])
        found = await self._search_with_best(run_id)
        if found is None:
            return None
        search, asked = found
        return specification_of_best(json.loads(asked["specification"])["engine"], json.loads(search["best_params"]))

    async def run_of_specification(self, strategy_id: int, specification: Row) -> Row | None:
        text = stored_specification(strategy_id, dict(specification))
        async with self.tables.transaction():
            found = [
                row["run_id"]
                for row in self.tables.requests.values()
                if row["outcome"] == "accepted" and row["specification"] == text and row["run_id"] in self.tables.runs
            ]
            done = [each for each in found if self.tables.runs[each]["status"] == "completed"]
            return self._told(max(done)) if done else None

    async def accepted_requests(
        self, since: datetime | None = None, until: datetime | None = None, state: str | None = None
    ) -> Sequence[Row]:
        async with self.tables.transaction():
            found = [
                {"request_id": request_id, **{name: row[name] for name in ("run_id", "source", "data", "received_at")}}
                for request_id, row in self.tables.requests.items()
                if row["outcome"] == "accepted"
                and (since is None or row["received_at"] >= since)
                and (until is None or row["received_at"] < until)
                and (state is None or self.tables.executions[row["run_id"]]["state"] == state)
            ]
        found.sort(key=lambda row: (row["received_at"], row["request_id"]))
        told = ("request_id", "run_id", "source")
        return [{**{name: row[name] for name in told}, "data": json.loads(row["data"])} for row in found]

    async def known_requests(self, request_ids: Sequence[str]) -> Mapping[str, bytes]:
        async with self.tables.transaction():
            requests = self.tables.requests
            return {each: requests[each]["content_hash"] for each in request_ids if each in requests}

    async def rejected_requests(self, *, limit: int) -> Sequence[Row]:
        async with self.tables.transaction():
            found = [
                {"request_id": request_id, **{name: row[name] for name in ("received_at", "source", "problems")}}
                | {"data": json.loads(row["data"])}
                for request_id, row in self.tables.requests.items()
                if row["outcome"] == "rejected"
            ]
        return sorted(found, key=lambda row: (-row["received_at"].timestamp(), row["request_id"]))[:limit]

    async def strategies(self) -> Sequence[Row]:
        async with self.tables.transaction():
            return [self._strategy(strategy_id) for strategy_id in sorted(self.tables.strategies)]

    async def strategy(self, strategy_id: int) -> Row | None:
        async with self.tables.transaction():
            return self._strategy(strategy_id) if strategy_id in self.tables.strategies else None

    async def _accepted(self, run_id: int) -> Row | None:
        async with self.tables.transaction():
            rows = [row for row in self.tables.requests.values() if row["run_id"] == run_id]
        return next((row for row in rows if row["outcome"] == "accepted"), None)

    async def _search_with_best(self, run_id: int) -> tuple[Row, Row] | None:
        """The search that left this run as its best, and the request for it."""
        async with self.tables.transaction():
            searches = [each for each in self.tables.optimizations.values() if each.get("best_run_id") == run_id]
            requests = list(self.tables.requests.values())
        if not searches or searches[0]["best_params"] is None:
            return None
        return searches[0], next(each for each in requests if each["optimization_id"] == searches[0]["id"])

    def _told(self, run_id: int) -> dict[str, Any]:
        row = self.tables.runs[run_id]
        strategy = self.tables.strategies[row["strategy_id"]]
        execution = self.tables.executions.get(run_id) or self._of_best(run_id)
        return {
            **{name: row[name] for name in ALL_RUN_COLUMNS},
            "strategy_name": strategy["name"],
            "strategy_key": strategy["strategy_key"],
            **{name: execution.get(name) for name in EXECUTION_COLUMNS},
        }

    def _of_best(self, run_id: int) -> Row:
        """The best run of a search has no execution: what is shown of one stands in its result."""
        result = self.tables.results.get(run_id, {})
        found = re.search(rf"runs/{run_id}/([0-9]+)/", json.dumps(result.get("artifacts", {})))
        metrics = result.get("metrics", {})
        of_metrics = {name: metrics.get(name) for name in ("result_digest", "strategy_version")}
        return {"epoch": int(found[1]) if found else None, **of_metrics}

    def _strategy(self, strategy_id: int) -> dict[str, Any]:
        row = self.tables.strategies[strategy_id]
        return {name: row[name] for name in STRATEGY_COLUMNS}


@dataclass(frozen=True, slots=True)
class MemoryRetention:
    """Implements `RetentionTables`."""

    tables: MemoryTables

    async def before(self, age: timedelta) -> datetime:
        return self.tables.clock.now_utc() - age

    async def known(self, run_ids: Sequence[int]) -> set[int]:
        return set(run_ids) & set(self._executed())

    async def known_searches(self, ids: Sequence[int]) -> set[int]:
        return set(ids) & set(self.tables.searches)

    async def ended_searches(self, ids: Sequence[int], before: datetime) -> Sequence[EndedSearchLongAgo]:
        found = []
        for number in ids:
            search, row = self.tables.searches.get(number), self.tables.optimizations.get(number, {})
            if search is not None and search["state"] in _ENDED and search["finished_at"] < before:
                found.append(EndedSearchLongAgo(number, row.get("results_file_path")))
        return found

    async def forget_results(self, ids: Sequence[int]) -> None:
        async with self.tables.transaction():
            for number in ids:
                if number in self.tables.optimizations:
                    row = self.tables.optimizations[number]
                    self.tables.optimizations[number] = {**row, "results_file_path": None}

    async def ended(self, run_ids: Sequence[int], before: datetime) -> Sequence[EndedLongAgo]:
        return [
            EndedLongAgo(run_id, self.tables.runs[run_id]["data_file_path"] if run_id in self.tables.runs else None)
            for run_id in run_ids
            if self._has_ended(run_id, before)
        ]

    async def count_paths(self, before: datetime, location: str) -> int:
        return len(self._old_paths(before, location))

    async def clear_paths(self, before: datetime, location: str) -> int:
        async with self.tables.transaction():
            cleared = self._old_paths(before, location)
            for run_id in cleared:
                self.tables.change_run(run_id, data_file_path=None)
        return len(cleared)

    async def bars_in_use(self, before: datetime, location: str) -> BarsInUse:
        given_up = self._old_paths(before, location)
        named = {row["data_file_path"] for run_id, row in self.tables.runs.items() if run_id not in given_up}
        at_work = [*self.tables.executions.values(), *self.tables.searches.values()]
        began = [row["started_at"] for row in at_work if row["state"] == "running"]
        return BarsInUse(frozenset(named - {None}), min(began, default=None))

    def _has_ended(self, run_id: int, before: datetime) -> bool:
        execution = self._executed().get(run_id)
        return execution is not None and execution["state"] in _ENDED and execution["finished_at"] < before

    def _executed(self) -> Mapping[int, Row]:
        """Executions by run, the best runs of searches among them."""
        best = {
            plan[BEST_RUN]: search
            for search in self.tables.searches.values()
            if BEST_RUN in (plan := json.loads(search["plan"] or "{}"))
        }
        return {**self.tables.executions, **best}

    def _old_paths(self, before: datetime, location: str) -> list[int]:
        return [
            run_id
            for run_id, row in self.tables.runs.items()
            if self._has_ended(run_id, before) and (row["data_file_path"] or "").startswith(location)
        ]


def _is_wanted(run: Row, wanted: RunFilter) -> bool:
    equal = {
        "strategy_id": wanted.strategy_id,
        "timeframe": wanted.timeframe,
        "status": wanted.status,
    }
    texts = (run["strategy_name"].casefold(), run["symbol"].casefold())

    def is_there(word: str) -> bool:
        return word == str(run["id"]) or any(word.casefold() in text for text in texts)

    return (
        all(value is None or run[name] == value for name, value in equal.items())
        and (wanted.symbol is None or run["symbol"].upper() == wanted.symbol.upper())
        and (wanted.created_after is None or run["created_at"] >= wanted.created_after)
        and (wanted.created_before is None or run["created_at"] < wanted.created_before)
        and (wanted.min_trades is None or _at_least(run["total_trades"], wanted.min_trades))
        and all(map(is_there, wanted.words.split()))
    )


def _at_least(value: int | None, least: int) -> bool:
    return value is not None and value >= least


def _rank(order: RunOrder) -> Callable[[Any, int], tuple[bool, float, float]]:
    """What to sort by, rising: nulls last, then the value, then the id, both falling where the order falls."""
    sign = -1.0 if order.descending else 1.0

    def rank(value: Any, run_id: int) -> tuple[bool, float, float]:
        number = value.timestamp() if isinstance(value, datetime) else value
        return (value is None, sign * number if number is not None else 0.0, sign * run_id)

    return rank


def _trade(row: Sequence[str]) -> dict[str, Any]:
    """A row of COPY text as the table would give it back: an empty field is null."""
    return {name: _read(name, text) for name, text in zip(TRADE_COLUMNS, row, strict=True)}


def _read(name: str, text: str) -> Any:
    if not text:
        return None
    if name in {"run_id", "position_id"}:
        return int(text)
    if name in {"entry_time", "exit_time"}:
        return datetime.fromisoformat(text)
    if name in {"symbol", "direction", "exit_reason", "pattern_name", "pattern_metadata", "source"}:
        return text
    return float(text)
