"""Steps of searches beside runs: whose turn it is, what a step's end means, cancels and drains."""

import asyncio
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from consumer.adapters.memory.tables import Weather
from consumer.ports import EngineTask, StrategyRow
from consumer.ports.outcomes import ChildDied, EngineOutcome, Failed
from consumer.ports.searches import SearchAdmitted, StepDone, StepOutcome, StepTask
from tests.consumer.memory_worker import LEASE_SECONDS, MemoryWorker, World, result_of, settle, until
from tests.support.messages import ADMIT, ADMIT_SEARCH, body, requested, search, search_cancel

FIGURES = {"total_trades": 2}
COLUMNS = {
    "best_params": {"fast": 5},
    "best_value": 1.0,
    "robust_params": None,
    "results": [],
    "statistics": {},
    "results_file_path": "/results.parquet",
}


@dataclass
class Gates:
    """An engine that ends runs and steps when the test says so."""

    total: int = 40
    seconds_each: float = 0.05
    best: dict[str, Any] | None = None
    deadly: int | None = None
    """A combination that ends its process."""
    run_outcome: EngineOutcome | None = None
    started: list[str] = field(default_factory=list)
    waiting: list[asyncio.Event] = field(default_factory=list)
    is_open: bool = False

    async def run(self, task: EngineTask, _: Any) -> EngineOutcome:
        await self._wait("run" if task.optimization_id is None else f"best of {task.optimization_id}")
        return self.run_outcome or result_of(task)

    async def step(self, task: StepTask) -> StepOutcome:
        kind, first, last = task.step["kind"], task.step["first"], task.step["last"]
        await self._wait(kind)
        if kind == "survey":
            return StepDone({"total": self.total, "released": self.total, "plan": {}})
        if kind == "gather":
            told: dict[str, Any] = {
                "result_digest": "ab" * 32,
                "engine_version": "1",
                "warnings": [],
                "best": self.best,
            }
            return StepDone({"columns": COLUMNS, **told})
        if self.deadly is not None and first <= self.deadly < last:
            raise RuntimeError("SIGSEGV")
        answer = {"file": "f", "failed": 0, "seconds": self.seconds_each * (last - first)}
        return StepDone({**answer, "best_value": 1.0, "best_params": {"fast": 5}})

    async def _wait(self, what: str) -> None:
        self.started.append(what)
        if not self.is_open:
            gate = asyncio.Event()
            self.waiting.append(gate)
            await gate.wait()

    def let_one_go(self) -> None:
        self.waiting.pop(0).set()


def worker_with(gates: Gates, slots: int = 1, world: World | None = None, name: str = "worker") -> MemoryWorker:
    return MemoryWorker(world or World(), name, script=gates.run, slots=slots, step_script=gates.step)


async def queue_search(worker: MemoryWorker, **data: Any) -> int:
    [number] = (await worker.search_journal.record_searches([search("search", **data)], ADMIT_SEARCH)).new_runs
    return number


async def queue_runs(worker: MemoryWorker, count: int) -> None:
    batch = [requested(f"request-{number}") for number in range(count)]
    await worker.journal.record_batch(batch, [], [], ADMIT)


async def turn(worker: MemoryWorker) -> None:
    """What a worker's loop does when work has arrived."""
    await worker.steps.look()
    await worker.dispatcher.claim_once()
    await worker.steps.claim_once()
    await settle()


async def finish(worker: MemoryWorker) -> None:
    """Take steps until nothing is left."""
    for _ in range(60):
        await turn(worker)


def state(world: World, number: int) -> dict[str, Any]:
    return {**world.tables.searches[number], "row": world.tables.optimizations.get(number)}


async def test_a_search_is_taken_to_its_end() -> None:
    gates = Gates(is_open=True, best={"specification": admitted_engine(), "figures": FIGURES})
    worker = worker_with(gates, slots=2)
    number = await queue_search(worker)

    await finish(worker)

    found = state(worker.world, number)
    assert (found["state"], found["done"], found["row"]["status"]) == ("completed", 40, "completed")
    best = worker.world.tables.runs[found["row"]["best_run_id"]]
    assert (best["status"], best["symbol"], best["total_trades"]) == ("completed", "EURUSD", 2)
    assert gates.started[0] == "survey"
    assert gates.started[-2:] == ["gather", f"best of {number}"]
    assert worker.steps.active == {}
    assert worker.dispatcher.slots_lent == 0


async def test_without_a_search_nothing_is_claimed_nor_lent() -> None:
    worker = worker_with(Gates())
    worker.world.tables.weather[:] = []
    await worker.steps.look()
    assert not worker.steps.has_work
    worker.world.tables.weather.append(Weather.REFUSED)
    await worker.steps.claim_once()  # asks nothing, so that no weather comes over it
    assert worker.world.tables.weather == [Weather.REFUSED]
    assert worker.dispatcher.slots_lent == 0


async def test_a_run_that_waits_comes_before_the_next_step() -> None:
    gates = Gates()
    worker = worker_with(gates)
    await queue_search(worker)
    await turn(worker)
    await queue_runs(worker, 1)
    await turn(worker)
    assert gates.started == ["survey"]

    worker.world.clock.advance(1.0)
    gates.let_one_go()
    await settle()
    await turn(worker)

    assert gates.started == ["survey", "run"]


async def test_where_runs_leave_no_slot_a_search_has_its_turn_for_as_long_as_its_last_step_took() -> None:
    gates = Gates()
    worker = worker_with(gates)
    await queue_search(worker)
    await turn(worker)
    await queue_runs(worker, 10)
    worker.world.clock.advance(1.0)  # the step takes a second
    gates.let_one_go()
    await settle()
    for _ in range(3):
        await turn(worker)
        worker.world.clock.advance(0.4)
        gates.let_one_go()
        await settle()
    assert gates.started == ["survey", "run", "run", "run"]

    await turn(worker)

    assert gates.started[-1] == "range"
    assert worker.dispatcher.slots_lent == 1


async def test_runs_are_not_claimed_ahead_while_a_slot_is_lent() -> None:
    gates = Gates()
    worker = worker_with(gates, slots=2)
    worker.dispatcher.mean_run_seconds = 0.01
    await queue_search(worker)
    await turn(worker)
    await queue_runs(worker, 10)
    await turn(worker)
    assert gates.started == ["survey", "run"]
    assert len(worker.dispatcher.active) == 1


async def test_a_combination_that_ends_its_process_does_not_end_the_search() -> None:
    worker = worker_with(Gates(is_open=True, deadly=7))
    number = await queue_search(worker)
    await finish(worker)
    found = state(worker.world, number)
    assert (found["state"], found["done"], found["failed"]) == ("completed", 40, 1)


async def test_a_best_run_with_other_figures_fails_the_search() -> None:
    best = {"specification": admitted_engine(), "figures": {"total_trades": 3}}
    worker = worker_with(Gates(is_open=True, best=best))
    number = await queue_search(worker)
    await finish(worker)
    found = state(worker.world, number)
    assert found["row"]["error_message"].startswith("results_disagree: ")
    assert (found["row"]["best_run_id"], worker.world.tables.runs) == (None, {})


@pytest.mark.parametrize(
    ("outcome", "state_then"),
    [(Failed("no_data", "gone"), "failed"), (ChildDied("SIGKILL"), "failed")],
)
async def test_a_best_run_that_comes_to_nothing_fails_the_search(outcome: EngineOutcome, state_then: str) -> None:
    best = {"specification": admitted_engine(), "figures": FIGURES}
    worker = worker_with(Gates(is_open=True, best=best, run_outcome=outcome))
    number = await queue_search(worker)
    await finish(worker)
    assert state(worker.world, number)["state"] == state_then


async def test_a_cancel_stops_the_step_and_ends_the_search() -> None:
    gates = Gates()
    worker = worker_with(gates)
    number = await queue_search(worker)
    await turn(worker)
    worker.world.tables.optimizations[number] = {**worker.world.tables.optimizations[number], "status": "cancelled"}

    await worker.steps.look_for_cancels()
    await until(lambda: not worker.steps.active)

    assert state(worker.world, number)["state"] == "cancelled"
    for _ in range(3):
        await worker.relay.publish_once()
    ended = [body(row.value) for row in worker.world.broker.records("optimization.completed")]
    assert [each["reason"] for each in ended] == ["row"]


async def test_a_cancel_by_event_ends_the_search_and_fences_whoever_is_at_it() -> None:
    gates = Gates()
    worker, other = worker_with(gates), None
    number = await queue_search(worker)
    await turn(worker)
    other = worker_with(Gates(), world=worker.world, name="other")
    await other.search_journal.keep_cancels([search_cancel(request_id="search", reason="enough")])
    assert state(worker.world, number)["state"] == "cancelled"

    await worker.steps.look_for_cancels()
    await until(lambda: not worker.steps.active)

    assert [row["event"].kind for row in worker.world.tables.outbox.values()] == ["started", "terminal"]


async def test_a_worker_that_dies_is_taken_over_after_two_sweeps_and_the_search_goes_on() -> None:
    first = worker_with(Gates())
    number = await queue_search(first)
    await turn(first)
    await first.crash()
    second = worker_with(Gates(is_open=True), world=first.world, name="second")
    first.world.clock.advance(LEASE_SECONDS + 1)

    await second.steps.sweep()
    await finish(second)
    assert state(second.world, number)["state"] == "running"
    await second.steps.sweep()
    await finish(second)

    assert state(second.world, number)["state"] == "completed"


async def test_a_drain_gives_steps_back_without_a_death() -> None:
    worker = worker_with(Gates())
    number = await queue_search(worker)
    await turn(worker)

    await worker.steps.drain(0.0, 1.0)

    shard = worker.world.tables.shards[number, 0]
    assert (shard["state"], shard["deaths"], shard["owner"]) == ("queued", 0, None)
    await turn(worker)
    assert worker.steps.active == {}


async def test_a_store_that_is_away_for_a_moment_loses_no_step(no_retry_pauses: None) -> None:
    gates = Gates(is_open=True)
    worker = worker_with(gates)
    number = await queue_search(worker)
    for weather in (Weather.REFUSED, Weather.ANSWER_LOST, Weather.FINE, Weather.ANSWER_LOST):
        worker.world.tables.weather.append(weather)
        await turn(worker)
    await finish(worker)
    found = state(worker.world, number)
    assert (found["state"], found["done"]) == ("completed", 40)
    kinds = [row["event"].kind for row in worker.world.tables.outbox.values()]
    assert kinds.count("terminal") == 1


def admitted_engine() -> dict[str, Any]:
    """The engine's part of a search's specification."""
    strategy = World().tables.strategies[1]
    row = StrategyRow(**{each.name: strategy[each.name] for each in fields(StrategyRow)})
    decision = ADMIT_SEARCH(search("search").request, row, None, ())
    assert isinstance(decision, SearchAdmitted)
    return dict(decision.specification["engine"])
