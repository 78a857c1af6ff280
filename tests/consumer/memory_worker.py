"""A worker of real parts over the in-memory ports, taken step by step by a test in place of the worker's loops."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from consumer.adapters.memory.broker import MemoryBroker, MemoryPublisher, MemorySource
from consumer.adapters.memory.checker import InMemoryChecker
from consumer.adapters.memory.engine import InMemoryEnginePool, Script, StepScript
from consumer.adapters.memory.journal import MemoryJournal
from consumer.adapters.memory.outbox import MemoryOutbox
from consumer.adapters.memory.queue import MemoryQueue
from consumer.adapters.memory.searches import MemorySearchTables
from consumer.adapters.memory.tables import ManualClock, MemoryTables
from consumer.dispatch import Dispatcher
from consumer.errors import Unavailable
from consumer.execute_run import RunPorts
from consumer.execute_step import StepPorts
from consumer.intake import Intake
from consumer.optimization.journal import SearchRecorder
from consumer.optimization.keeper import SearchKeeper
from consumer.outbox_relay import OutboxRelay
from consumer.ports import EngineProgress, EngineTask, Record, StrategyCheck, Verdict
from consumer.ports.outcomes import Completed, EngineOutcome
from consumer.preparation.strategy_verdict import verdict_of
from consumer.search_dispatch import SearchDispatcher
from consumer.telemetry import Telemetry
from tests.support.messages import (
    ADMISSION,
    SEARCH_ADMISSION,
    STRATEGY,
    event_writer,
    search_event_writer,
    trade_row,
)

LEASE_SECONDS = 15.0
MAX_ATTEMPTS = 3


@dataclass(slots=True)
class World:
    """What survives workers: database, broker, clock. The database holds one strategy, number 1."""

    clock: ManualClock = field(default_factory=ManualClock)
    tables: MemoryTables = field(init=False)
    broker: MemoryBroker = field(default_factory=MemoryBroker)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(self.clock)
        self.tables.add_strategy(**STRATEGY)

    def produce(self, record: Record) -> Record:
        """Append a record to the log of its topic and partition, as it is."""
        log = self.broker.logs.setdefault((record.topic, record.partition), [])
        stored = replace(record, offset=len(log), timestamp_ms=int(self.clock.now_utc().timestamp() * 1000))
        log.append(stored)
        self.broker.arrived.set()
        return stored


class MemoryWorker:
    """One worker of `world`; every step of the worker's loops is a method."""

    def __init__(
        self,
        world: World,
        name: str = "worker",
        script: Script | None = None,
        slots: int = 2,
        ask: Callable[[StrategyCheck], Awaitable[Verdict]] | None = None,
        step_script: StepScript | None = None,
    ) -> None:
        writer = event_writer(world.clock)
        telemetry = Telemetry()
        arrived = asyncio.Event()
        self.world = world
        self.name = name
        self.source = MemorySource(world.broker)
        self.engine = InMemoryEnginePool(script or completes, slots, step_script)
        self.journal = MemoryJournal(world.tables, writer, name, LEASE_SECONDS)
        self.queue = MemoryQueue(world.tables, writer, name, LEASE_SECONDS, MAX_ATTEMPTS)
        self.outbox = MemoryOutbox(world.tables, name, LEASE_SECONDS)
        self.relay = OutboxRelay(self.outbox, MemoryPublisher(world.broker), telemetry, world.clock, LEASE_SECONDS)
        self.dispatcher = Dispatcher(
            RunPorts(self.queue, self.engine, self.relay, world.clock, MAX_ATTEMPTS), writer, telemetry, arrived, slots
        )
        tables, searching = MemorySearchTables(world.tables, name, LEASE_SECONDS), search_event_writer(world.clock)
        self.searches = SearchKeeper(tables, searching, name, LEASE_SECONDS, MAX_ATTEMPTS, 0.5)
        self.search_journal = SearchRecorder(tables, self.searches, searching, writer)
        self.steps = SearchDispatcher(
            StepPorts(self.searches, self.engine, self.engine, self.relay, world.clock),
            self.dispatcher,
            telemetry,
            arrived,
        )
        self.intake = Intake(
            source=self.source,
            journal=self.journal,
            searches=self.search_journal,
            relay=self.relay,
            writer=writer,
            judge=ADMISSION,
            judge_search=SEARCH_ADMISSION,
            checker=InMemoryChecker(ask or ask_in_place),
            telemetry=telemetry,
            work_arrived=arrived,
            max_queued=1000,
            clock=world.clock,
        )

    async def read(self) -> None:
        """Record what is unread, and let it be committed."""
        batch = self.source.poll()
        if batch is not None:
            await self.intake.take(batch)
            await self.intake.settle()

    async def step(self, name: str) -> None:
        """One step by name; a server that is away is what the worker makes of it: nothing, until the next time."""
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "read": self.read,
            "claim": self.dispatcher.claim_once,
            "beat": self.dispatcher.beat_once,
            "look": self.steps.look,
            "take": self.steps.claim_once,
            "cancels": self.dispatcher.look_for_cancels,
            "sweep": self.dispatcher.sweep,
            "waiting": self.intake.record_waiting,
            "publish": self.relay.publish_once,
            "keep": self.relay.keep,
        }
        with contextlib.suppress(Unavailable):
            await steps[name]()

    async def crash(self) -> None:
        """Be gone between two steps: memory is lost, tables and topics stay as they are."""
        tasks = self.dispatcher.tasks | self.steps.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.engine.close()
        await self.source.stop()

    async def finish_everything(self) -> None:
        """Work until nothing is left to do."""
        for _ in range(30):
            for name in ("read", "waiting", "claim", "cancels", "beat", "sweep", "keep", "publish"):
                await self.step(name)
                await settle()
        while self.relay.sent or any(self.relay.waiting.values()):
            await self.step("publish")


async def ask_in_place(check: StrategyCheck) -> Verdict:
    return verdict_of(check)


async def settle() -> None:
    """Let every task go as far as it can without a step of the test."""
    for _ in range(30):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks go on, one step of the loop at a time, until the condition holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come true")


async def completes(task: EngineTask, on_progress: Callable[[EngineProgress], None]) -> EngineOutcome:
    """An engine that reports twice and completes with two trades."""
    for done in (40, 90):
        on_progress(progress(done))
        await asyncio.sleep(0)
    return result_of(task)


def progress(done: int, total: int = 100) -> EngineProgress:
    return EngineProgress(done, total, datetime(2024, 1, 2, tzinfo=UTC), 10_000.0, 1)


def result_of(task: EngineTask) -> Completed:
    return Completed(
        columns={"total_trades": 2, "win_rate": 0.5},
        metrics={"total_trades": 2},
        trades_csv=trade_row(task.run_id, 1) + trade_row(task.run_id, 2),
        trade_count=2,
        data_file_path="/artifacts/bars/ab.csv",
        artifacts={"trades": f"/artifacts/runs/{task.run_id}/{task.epoch}/trades.csv"},
        result_digest="ab" * 32,
        engine_version="1",
        strategy_version="cd" * 32,
        warnings=(),
        duration_seconds=0.1,
    )
