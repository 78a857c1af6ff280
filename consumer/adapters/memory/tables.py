"""The shared state of the in-memory store: tables as dictionaries, one transaction at a time, a clock that a test owns.

Rows are never changed in place, so a transaction that fails is undone by putting the old dictionaries back.
"""

import asyncio
import csv
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from io import StringIO
from typing import Any

from consumer.errors import StoreUnavailable
from consumer.ports import EventKind, EventWriter, OutgoingEvent
from consumer.ports.outcomes import Cancelled, Completed, Failed
from consumer.rules.columns import METRIC_COLUMNS, TRADE_COLUMNS
from consumer.rules.endings import Ending, facts_of, final_progress, state_of
from consumer.rules.ownership import Standing, standing_of
from schemas.cancelled import REASON_REQUESTED

Row = dict[str, Any]
"""Column -> value. A row is replaced, never changed."""

RUN_DEFAULTS: Row = {
    "initial_balance": 10_000.0,
    "spread_pips": 1.5,
    "execution_mode": "close_price",
    "primary_tf": "M15",
    "context_tfs": "[]",
    "max_llm_calls": 100,
    "commission_per_lot": 0.0,
    "tp_partial_close_ratio": 0.5,
    "status": "pending",
    "progress_pct": 0,
    "error_message": None,
    "data_file_path": None,
}
STRATEGY_DEFAULTS: Row = {
    "description": None,
    "execution_mode": "rule_only",
    "strategy_key": None,
    "strategy_params": "{}",
    "primary_tf": "M15",
    "context_tfs": "[]",
    "symbols": "[]",
    "lot_size": None,
    "risk_pct": None,
    "sl_pips": None,
    "tp_pips": None,
    "on_opposite": "reverse",
    "stop_to_entry": True,
    "custom_prompt": None,
    "skip_hours": None,
    "skip_weekdays": None,
    "skip_hours_timezone": None,
    "is_active": True,
}

SEARCH_DEFAULTS: Row = {
    "initial_balance": 10_000.0,
    "spread_pips": 1.5,
    "execution_mode": "close_price",
    "commission_per_lot": 0.0,
    "tp_partial_close_ratio": 0.5,
    "context_tfs": "[]",
    "volume": None,
    "risk_pct": None,
    "method": "grid",
    "samples": None,
    "seed": 0,
    "optimize_metric": "sharpe_ratio",
    "min_trades": 30,
    "max_workers": None,
    "walk_forward": None,
    "status": "pending",
    "progress_pct": 0,
    "error_message": None,
    "total_combinations": 0,
    "completed_combinations": 0,
    "failed_combinations": 0,
    "best_params": None,
    "best_value": None,
    "best_run_id": None,
    "robust_params": None,
    "results": None,
    "results_file_path": None,
    "statistics": None,
    "started_at": None,
    "completed_at": None,
}


@dataclass(slots=True)
class ManualClock:
    """Implements `Clock`: stands still until it is told to go on."""

    seconds: float = 0.0
    start: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    def now_utc(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Weather(Enum):
    """What the store does with a transaction."""

    FINE = "fine"
    REFUSED = "refused"
    """The server is away: nothing happens, StoreUnavailable."""
    ANSWER_LOST = "answer_lost"
    """Committed, but the connection is gone before the caller hears of it: StoreUnavailable all the same."""


@dataclass(slots=True)
class MemoryTables:
    """The database: what all in-memory stores of one test share."""

    clock: ManualClock = field(default_factory=ManualClock)
    strategies: dict[int, Row] = field(default_factory=dict)
    runs: dict[int, Row] = field(default_factory=dict)
    trades: dict[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """Run -> rows as COPY text."""
    requests: dict[str, Row] = field(default_factory=dict)
    executions: dict[int, Row] = field(default_factory=dict)
    results: dict[int, Row] = field(default_factory=dict)
    cancels: dict[int | str, str | None] = field(default_factory=dict)
    """Run id or request id -> reason; the first of a target."""
    optimizations: dict[int, Row] = field(default_factory=dict)
    searches: dict[int, Row] = field(default_factory=dict)
    shards: dict[tuple[int, int], Row] = field(default_factory=dict)
    search_cancels: dict[int, str | None] = field(default_factory=dict)
    """Those by number, as `cancels`."""
    llm_calls: dict[tuple[int, int], Row] = field(default_factory=dict)
    """By run and number."""
    llm_limits: dict[tuple[str, str], Row] = field(default_factory=dict)
    """By specification and key."""
    outbox: dict[int, Row] = field(default_factory=dict)
    """Row id -> event, owner, lease_until."""
    last_ids: dict[str, int] = field(default_factory=dict)
    """Sequences: not undone by a rollback."""
    held_strategies: set[int] = field(default_factory=set)
    """Strategies whose row a client outside keeps locked."""
    held: set[int] = field(default_factory=set)
    """Runs whose row a client outside keeps locked."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    weather: list[Weather] = field(default_factory=list)
    """What comes over the next transactions, first to last; none: fine."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing. Others may come between two transactions, never into one."""
        await asyncio.sleep(0)
        weather = self.weather.pop(0) if self.weather else Weather.FINE
        if weather is Weather.REFUSED:
            raise StoreUnavailable("in memory: away")
        with self._all_or_nothing():
            yield
        if weather is Weather.ANSWER_LOST:
            raise StoreUnavailable("in memory: the answer was lost")
        await asyncio.sleep(0)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        names = (
            "strategies", "runs", "trades", "requests", "executions", "results", "cancels", "outbox",
            "optimizations", "searches", "shards", "search_cancels", "llm_calls", "llm_limits",
        )  # fmt: skip
        before = {name: dict(getattr(self, name)) for name in names}
        try:
            yield
        except BaseException:
            for name, table in before.items():
                setattr(self, name, table)
            raise

    def next_id(self, sequence: str) -> int:
        self.last_ids[sequence] = self.last_ids.get(sequence, 0) + 1
        return self.last_ids[sequence]

    def next_run_id(self) -> int:
        """The next one that nobody took by hand."""
        number = self.next_id("runs")
        while number in self.runs:
            number = self.next_id("runs")
        return number

    def lease_until(self, lease_seconds: float) -> datetime:
        return self.clock.now_utc() + timedelta(seconds=lease_seconds)

    def has_lapsed(self, row: Row) -> bool:
        return bool(row["lease_until"] is not None and row["lease_until"] < self.clock.now_utc())

    # --- what other services do -------------------------------------------------------------------------------------

    def add_strategy(self, **columns: Any) -> int:
        strategy_id = self.next_id("strategies")
        name = f"strategy {strategy_id}"
        made = {"name": name, "created_at": self.clock.now_utc()}
        self.strategies[strategy_id] = {**STRATEGY_DEFAULTS, **made, **columns, "id": strategy_id}
        return strategy_id

    def add_run(self, run_id: int | None = None, **columns: Any) -> int:
        """A row of backtest_runs, as another service or intake makes it. Raises KeyError for one without strategy."""
        self.strategies[columns["strategy_id"]]
        number = run_id if run_id is not None else self.next_run_id()
        made = {**dict.fromkeys(METRIC_COLUMNS), "created_at": self.clock.now_utc()}
        self.runs[number] = {**RUN_DEFAULTS, **made, **columns, "id": number}
        return number

    def add_optimization(self, optimization_id: int | None = None, **columns: Any) -> int:
        """A row of optimization_runs, as another service or intake makes it."""
        self.strategies[columns["strategy_id"]]
        number = optimization_id if optimization_id is not None else self.next_id("optimizations")
        made = {**SEARCH_DEFAULTS, "created_at": self.clock.now_utc()}
        self.optimizations[number] = {**made, **columns, "id": number}
        return number

    def change_run(self, run_id: int, **columns: Any) -> None:
        self.runs[run_id] = {**self.runs[run_id], **columns}

    def delete_run(self, run_id: int) -> None:
        del self.runs[run_id]
        self.trades.pop(run_id, None)

    def delete_strategy(self, strategy_id: int) -> None:
        del self.strategies[strategy_id]
        for run_id in [row["id"] for row in self.runs.values() if row["strategy_id"] == strategy_id]:
            self.delete_run(run_id)
        for number in [row["id"] for row in self.optimizations.values() if row["strategy_id"] == strategy_id]:
            del self.optimizations[number]

    @asynccontextmanager
    async def holding(self, run_id: int) -> AsyncIterator[None]:
        """Keep a run's row locked, as a client in a long transaction does."""
        self.held.add(run_id)
        try:
            yield
        finally:
            self.held.discard(run_id)
            self.released.set()

    @asynccontextmanager
    async def holding_strategy(self, strategy_id: int) -> AsyncIterator[None]:
        """Keep a strategy's row locked, as a client in a long transaction does."""
        self.held_strategies.add(strategy_id)
        try:
            yield
        finally:
            self.held_strategies.discard(strategy_id)

    async def wait_for_row(self, run_id: int) -> None:
        while run_id in self.held:
            self.released.clear()
            await self.released.wait()

    # --- events and endings, inside a transaction -------------------------------------------------------------------

    def store_events(self, events: Iterable[OutgoingEvent], owner: str, lease_seconds: float) -> list[OutgoingEvent]:
        """Keep events for `owner` to relay; the same events with their row ids."""
        stored = []
        for event in events:
            row_id = self.next_id("outbox")
            numbered = replace(event, row_id=row_id)
            self.outbox[row_id] = {
                "event": numbered,
                "owner": owner,
                "lease_until": self.lease_until(lease_seconds),
            }
            stored.append(numbered)
        return stored

    def take_over(self, run_ids: Collection[int], owner: str, lease_seconds: float) -> list[OutgoingEvent]:
        """Make `owner` the one who relays all unsent events of these runs; by run, sequence rising."""
        return self.lease_events(
            [row_id for row_id, row in self.outbox.items() if row["event"].run_id in run_ids], owner, lease_seconds
        )

    def lease_events(self, row_ids: Iterable[int], owner: str, lease_seconds: float) -> list[OutgoingEvent]:
        until = self.lease_until(lease_seconds)
        for row_id in row_ids:
            self.outbox[row_id] = {**self.outbox[row_id], "owner": owner, "lease_until": until}
        events: list[OutgoingEvent] = [self.outbox[row_id]["event"] for row_id in row_ids]
        return sorted(events, key=lambda event: (event.run_id or 0, event.sequence, event.row_id))

    def standing_of(self, execution: Row) -> Standing:
        specification = self.requests[execution["request_id"]]["specification"]
        facts = facts_of(execution["run_id"], execution["request_id"], specification)[0]
        return standing_of({**execution, "cancel_reason": self.kept_cancel(execution)}, facts)

    def kept_cancel(self, execution: Row) -> str | None:
        """The reason noted at the execution, or kept for its request, or for its run where the request named it."""
        if execution["cancel_reason"] is not None:
            return str(execution["cancel_reason"])
        named = (execution["run_id"],) if execution["is_named"] else ()
        for target in (*named, execution["request_id"]):
            if target in self.cancels:
                return self.cancels[target] or REASON_REQUESTED
        return None

    def end_runs(
        self, endings: Sequence[Ending], writer: EventWriter, owner: str, lease_seconds: float
    ) -> tuple[OutgoingEvent, ...]:
        """As `postgres.endings.end_runs`."""
        unsent: list[OutgoingEvent] = []
        for ending in endings:
            self._end_execution(ending)
            if ending.has_row:
                self._end_row(ending)
            run_id = ending.facts.run_id
            unsent += self.take_over({run_id}, owner, lease_seconds)
        for event in unsent:
            if event.kind is EventKind.PROGRESS:
                del self.outbox[event.row_id]
        terminal = [
            writer.terminal(ending.facts, ending.sequence, ending.attempt, final_progress(ending), ending.outcome)
            for ending in endings
        ]
        kept = [event for event in unsent if event.kind is not EventKind.PROGRESS]
        return (*kept, *self.store_events(terminal, owner, lease_seconds))

    def _end_execution(self, ending: Ending) -> None:
        run_id = ending.facts.run_id
        execution = self.executions[run_id]
        completed = ending.outcome if isinstance(ending.outcome, Completed) else None
        self.executions[run_id] = {
            **execution,
            "state": state_of(ending.outcome),
            "sequence": ending.sequence,
            "epoch": ending.epoch,
            "owner": None,
            "lease_until": None,
            "finished_at": self.clock.now_utc(),
            "result_digest": completed.result_digest if completed else None,
            "engine_version": completed.engine_version if completed else None,
            "strategy_version": completed.strategy_version if completed else None,
        }
        if completed is not None:
            self.results[run_id] = {
                "metrics": completed.metrics,
                "artifacts": completed.artifacts,
                "duration_seconds": completed.duration_seconds,
            }

    def _end_row(self, ending: Ending) -> None:
        run_id = ending.facts.run_id
        percent = max(self.runs[run_id]["progress_pct"], ending.progress_pct)
        match ending.outcome:
            case Completed() as completed:
                self.change_run(
                    run_id,
                    status="completed",
                    progress_pct=100,
                    error_message=None,
                    data_file_path=completed.data_file_path,
                    **completed.columns,
                )
            case Failed(code, message):
                self.change_run(run_id, status="failed", progress_pct=percent, error_message=f"{code}: {message}")
            case Cancelled():
                self.change_run(run_id, status="cancelled", progress_pct=percent)

    def copy_trades(self, run_id: int, trades_csv: bytes) -> None:
        rows = tuple(tuple(row) for row in csv.reader(StringIO(trades_csv.decode())))
        if any(len(row) != len(TRADE_COLUMNS) or row[0] != str(run_id) for row in rows):
            raise ValueError(f"trades of run {run_id} are not rows of backtest_trades")
        self.trades[run_id] = (*self.trades.get(run_id, ()), *rows)
