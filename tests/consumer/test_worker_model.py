"""Whole workers over the in-memory ports, in random order, with lost answers, lost acknowledgements and crashes between
any two steps: what subscribers and tables show at the end is what a quiet day shows.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.adapters.memory.broker import MemoryBroker, Trouble
from consumer.adapters.memory.tables import Weather
from consumer.ports import EngineProgress, EngineTask
from consumer.ports.outcomes import EngineOutcome, Failed
from schemas.topics import Topic
from tests.consumer.memory_worker import LEASE_SECONDS, MemoryWorker, World, progress, result_of, settle
from tests.support.messages import body, cancel_record, raw_record, requested_record

STEPS = ("read", "claim", "beat", "cancels", "sweep", "publish", "keep")

Action = tuple[str, int]

UPSTREAM = ("request", "request", "request", "repeat", "conflict", "refused", "poison", "cancel")
OUTSIDE = ("row", "delete", "go on", "go on", "late", "crash", "together")
COURSES = ("work", "work", "end", "take over", "come back", "come back")
TROUBLE = ("away", "answer lost", "ack lost", "send lost")

actions = st.lists(
    st.tuples(st.sampled_from([*STEPS, *STEPS, *UPSTREAM, *OUTSIDE, *COURSES, *TROUBLE]), st.integers(0, 5)),
    min_size=10,
    max_size=70,
)


@dataclass(slots=True)
class Engines:
    """Engine children that go on when the test says so, and then report, end, or die."""

    gates: list[asyncio.Event] = field(default_factory=list)

    async def __call__(self, task: EngineTask, on_progress: Callable[[EngineProgress], None]) -> EngineOutcome:
        gate = asyncio.Event()
        self.gates.append(gate)
        on_progress(progress(20))
        await gate.wait()
        gate.clear()
        on_progress(progress(60))
        await gate.wait()
        match task.run_id % 4:
            case 0:
                return Failed("no_data", "there are no bars")
            case 1 if task.epoch == 1:
                raise RuntimeError("this child dies")
            case _:
                return result_of(task)

    def go_on(self) -> None:
        for gate in self.gates:
            gate.set()


class Day:
    """Two workers, and what happens to them."""

    def __init__(self) -> None:
        self.world = World(broker=MemoryBroker(partitions=2))
        self.engines = Engines()
        self.started = 0
        self.requests = 0
        self.workers = [self.new_worker(), self.new_worker()]

    def new_worker(self) -> MemoryWorker:
        self.started += 1
        return MemoryWorker(self.world, f"worker-{self.started}", self.engines)

    async def do(self, action: str, number: int) -> None:
        if action in STEPS:
            await self.workers[number % 2].step(action)
        elif action in UPSTREAM:
            self.send(action, number)
        elif action in OUTSIDE:
            await self.happen(action, number)
        elif action in COURSES:
            await self.go_through(action, number)
        else:
            self.trouble(action)
        await settle()

    def send(self, action: str, number: int) -> None:
        """What producers do."""
        match action:
            case "request":
                self.requests += 1
                record = requested_record(f"request-{self.requests}", source=f"source {number % 2}")
            case "repeat":
                record = requested_record(f"request-{number}")
            case "conflict":
                record = requested_record(f"request-{number}", symbol="GBPUSD")
            case "refused":
                record = requested_record(f"refused-{number}", symbol="NOSUCH")
            case "poison":
                record = raw_record(b"\x00\xff" * number)
            case _:
                record = cancel_record(request_id=f"request-{number}", reason="enough")
        self.world.produce(record)

    async def happen(self, action: str, number: int) -> None:
        """What other services, engines, time and bad luck do."""
        tables = self.world.tables
        match action:
            case "row" if number in tables.runs and tables.runs[number]["status"] in {"pending", "running"}:
                tables.change_run(number, status="cancelled")
            case "delete" if number in tables.runs:
                tables.delete_run(number)
            case "go on":
                self.engines.go_on()
            case "late":
                self.world.clock.advance(LEASE_SECONDS + 1)
            case "crash":
                await self.workers[number % 2].crash()
                self.workers[number % 2] = self.new_worker()
            case _:
                await asyncio.gather(*(worker.step(step) for worker in self.workers for step in STEPS))

    async def go_through(self, action: str, number: int) -> None:
        """Several steps, without which a random plan would seldom come far."""
        worker, other = self.workers[number % 2], self.workers[1 - number % 2]
        match action:
            case "work":
                self.send("request", number)
                await self.start(worker)
            case "end":
                await self.engines_go_on()
            case "take over":
                self.world.clock.advance(LEASE_SECONDS + 1)
                await self.start(worker)
            case _:  # the other worker comes back and does not know that its runs were taken over
                self.send("request", number)
                await self.start(other)
                self.world.clock.advance(LEASE_SECONDS + 1)
                await self.start(worker)
                if number >= 2:
                    await other.step("beat")
                    await other.step("publish")
                if number >= 4:
                    await self.engines_go_on()

    async def start(self, worker: MemoryWorker) -> None:
        for step in ("read", "sweep", "claim"):
            await worker.step(step)
            await settle()

    async def engines_go_on(self) -> None:
        for _ in range(2):
            self.engines.go_on()
            await settle()

    def trouble(self, action: str) -> None:
        """What comes over the next transaction or delivery."""
        match action:
            case "away":
                self.world.tables.weather.append(Weather.REFUSED)
            case "answer lost":
                self.world.tables.weather.append(Weather.ANSWER_LOST)
            case "ack lost":
                self.world.broker.trouble.append(Trouble.UNANSWERED)
            case _:
                self.world.broker.trouble.append(Trouble.LOST)

    async def end(self) -> None:
        """Fine weather, and a third worker when the other two are gone."""
        self.world.tables.weather.clear()
        self.world.broker.trouble.clear()
        for worker in self.workers:
            await worker.crash()
        last = self.new_worker()
        for _ in range(4):
            self.world.clock.advance(LEASE_SECONDS + 1)
            self.engines.go_on()
            for name in STEPS:
                await last.step(name)
                self.engines.go_on()
                await settle()
        done = asyncio.create_task(last.finish_everything())
        while not done.done():
            self.engines.go_on()
            await asyncio.sleep(0)
        await done
        await last.crash()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
async def test_whatever_happens_each_request_ends_once_and_in_order(no_retry_pauses: None, plan: list[Action]) -> None:
    day = Day()
    async with asyncio.timeout(60):
        for action, number in plan:
            await day.do(action, number)
        await day.end()

    check_tables(day.world)
    check_events(day.world)
    check_intake(day.world)


def check_tables(world: World) -> None:
    tables = world.tables
    assert {row["state"] for row in tables.executions.values()} <= {"completed", "failed", "cancelled"}
    assert tables.outbox == {}, "everything was sent"
    for request in tables.requests.values():
        assert (request["outcome"] == "accepted") == (request["run_id"] in tables.executions)
    for run_id, row in tables.runs.items():
        state = tables.executions[run_id]["state"]
        assert row["status"] == state
        assert len(tables.trades.get(run_id, ())) == (2 if state == "completed" else 0)
        assert row["total_trades"] == (2 if state == "completed" else None)


def check_events(world: World) -> None:
    """By run: one terminal event, the same bytes on both topics; started and terminal never after a higher sequence;
    progress never falls within an attempt.
    """
    seen: dict[int, dict[int, bytes]] = defaultdict(dict)
    for record in world.broker.records(Topic.PROGRESS):
        event, value = body(record.value), record.value or b""
        run_id, sequence = event["run_id"], event["sequence"]
        if sequence not in seen[run_id] and event["type"] != "backtest.progress":
            assert sequence > max(seen[run_id], default=0), "started or terminal after a higher sequence"
        assert seen[run_id].setdefault(sequence, value) == value, "one event has one form"
    completed: dict[int, set[bytes]] = defaultdict(set)
    for record in world.broker.records(Topic.COMPLETED):
        if body(record.value)["type"] != "backtest.rejected":
            completed[body(record.value)["run_id"]].add(record.value or b"")
    for run_id, execution in world.tables.executions.items():
        events = [body(value) for _, value in sorted(seen[run_id].items())]
        terminal = [event for event in events if event["type"] not in {"backtest.started", "backtest.progress"}]
        assert [event["type"] for event in terminal] == [f"backtest.{execution['state']}"]
        assert events[-1] is terminal[0], "nothing follows the end"
        assert completed[run_id] == {seen[run_id][terminal[0]["sequence"]]}
        for earlier, later in pairwise(events):
            assert later["attempt"] >= earlier["attempt"]
            assert later["attempt"] > earlier["attempt"] or later["progress_pct"] >= earlier["progress_pct"]


def check_intake(world: World) -> None:
    """Everything was read; each rejection was told once; every poison record lies in the dead-letter topic."""
    for partition, log in world.broker.logs.items():
        if partition[0] in {Topic.REQUESTED, Topic.CANCEL_REQUESTED}:
            assert world.broker.committed["group", partition] == len(log)
    rejected: dict[str, set[bytes]] = defaultdict(set)
    for record in world.broker.records(Topic.COMPLETED):
        event: dict[str, Any] = body(record.value)
        if event["type"] == "backtest.rejected":
            rejected[event["request_id"]].add(record.value or b"")
    assert set(rejected) == {name for name, row in world.tables.requests.items() if row["outcome"] == "rejected"}
    assert all(len(values) == 1 for values in rejected.values())
    letters = [(record.value, dict(record.headers)) for record in world.broker.records(Topic.DEAD_LETTER)]
    places = {(headers["dlq-partition"], headers["dlq-offset"]) for _, headers in letters}
    for record in world.broker.records(Topic.REQUESTED):
        if not is_json(record.value):
            assert (str(record.partition).encode(), str(record.offset).encode()) in places


def is_json(value: bytes | None) -> bool:
    try:
        json.loads(value or b"")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("plan", [[("request", 0), ("read", 0), ("claim", 0), ("beat", 0)]])
async def test_a_quiet_day_checks_out(no_retry_pauses: None, plan: list[Action]) -> None:
    """The checks themselves look at something: there is a run, with events on both topics."""
    day = Day()
    for action, number in plan:
        await day.do(action, number)
    await day.end()

    check_tables(day.world)
    check_events(day.world)
    check_intake(day.world)
    assert len(day.world.tables.executions) == 1
    assert len(day.world.broker.records(Topic.COMPLETED)) == 1
    assert len(day.world.broker.records(Topic.PROGRESS)) >= 2
