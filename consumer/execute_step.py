"""One step of a search, top to bottom: engine, result counted or search ended, events out. The last one runs the best
combination as an ordinary run, which must agree.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never

import structlog

from consumer.active_runs import StopWhy
from consumer.errors import ArtifactsUnavailable, StoreUnavailable
from consumer.execute_run import MAX_MESSAGE_CHARACTERS
from consumer.outbox_relay import OutboxRelay
from consumer.ports import Clock, EnginePool, EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import Cancelled, ChildDied, Completed, Failed, Stopped
from consumer.ports.searches import (
    Asked,
    BestRun,
    Found,
    RangeDone,
    SearchChange,
    SearchOutcome,
    SearchQueue,
    ShardClaim,
    StepDied,
    StepDone,
    StepOutcome,
    StepPool,
    StepResult,
    StepTask,
    Surveyed,
    Surveying,
)
from consumer.retries import retry_while_unavailable
from consumer.rules.columns import COLUMN_OF_FIELD
from schemas.requested import ROW_DEFAULTS

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ActiveStep:
    """One claimed step, and why it must stop."""

    claim: ShardClaim
    claimed_at: float
    """Monotonic seconds."""
    stop: StopSignal = field(default_factory=StopSignal)
    stop_why: StopWhy | None = None
    cancel_reason: str = ""

    def end(self, why: StopWhy, reason: str = "") -> None:
        """The first reason counts, but for a fence, which outranks all: a fenced worker writes nothing."""
        if self.stop_why is None or why is StopWhy.FENCED:
            self.stop_why, self.cancel_reason = why, reason
        self.stop.set()


@dataclass(frozen=True, slots=True)
class StepPorts:
    """What taking a step needs. pool and engine are the same processes."""

    queue: SearchQueue
    pool: StepPool
    engine: EnginePool
    relay: OutboxRelay
    clock: Clock
    remove_parts: Callable[[int], None] = lambda _: None
    """Removes the files that the steps of a search have left for each other; called in a thread, once it has ended."""


async def execute_step(step: ActiveStep, ports: StepPorts) -> SearchChange | None:
    """Take one claimed step to its end here. None: fenced, or given back."""
    outcome = await take(step, ports)
    if step.claim.kind == "gather" and isinstance(outcome, StepDone):
        return await conclude(step, outcome, ports)
    match outcome:
        case StepDone(answer):
            result = result_of(step.claim, answer)
            if isinstance(result, Failed):
                return await end(step, result, ports)
            return await told(ports, lambda: ports.queue.finish(step.claim, result))
        case Failed():
            return await end(step, outcome, ports)
        case StepDied() if step.stop_why is None:
            return await told(ports, lambda: ports.queue.died(step.claim, outcome))
        case StepDied() | Stopped():  # a child that was told to stop may die of it
            return await stopped(step, ports)
        case _:
            assert_never(outcome)


async def take(step: ActiveStep, ports: StepPorts) -> StepOutcome:
    """Let an engine child take it; a defect on our side fails the search rather than the worker."""
    claim = step.claim
    try:
        work: dict[str, Any] = {
            "kind": claim.kind,
            "first": claim.first,
            "last": claim.last,
            "search": claim.specification["search"],
            "plan": claim.plan,
            "results": claim.results,
            "trials_before": 0,
        }
        if claim.kind == "gather":
            work["trials_before"] = await retry_while_unavailable(
                lambda: ports.queue.trials_before(claim), StoreUnavailable
            )
        task = StepTask(claim.facts.optimization_id, claim.number, claim.epoch, claim.specification["engine"], work)
        return await ports.pool.take_step(task, step.stop)
    except Exception as error:
        log.exception("step_failed", optimization_id=claim.facts.optimization_id, shard=claim.number)
        return Failed("internal_error", f"{type(error).__name__}: {error}")


def result_of(claim: ShardClaim, answer: Any) -> StepResult | Failed:
    """What a child said, as the step's result."""
    try:
        match claim.kind:
            case "survey":
                if "surveying" in answer:
                    return Surveying(dict(answer["surveying"]))
                return Surveyed(int(answer["total"]), int(answer["released"]), dict(answer["plan"]))
            case "ask":
                return Asked(int(answer["total"]), int(answer["released"]), dict(answer["plan"]))
            case "range":
                value, params = answer["best_value"], answer["best_params"]
                return RangeDone(str(answer["file"]), int(answer["failed"]), float(answer["seconds"]), value, params)
            case "gather":
                return Failed("internal_error", "a gather has no result of its own")
    except (KeyError, TypeError, ValueError) as error:
        return Failed("internal_error", f"a {claim.kind} of a search cannot be read: {error!r}")


async def conclude(step: ActiveStep, done: StepDone, ports: StepPorts) -> SearchChange | None:
    """Run the best, hold it to its figures, and end the search with what was found."""
    answer, best_run = done.answer, None
    if answer["best"] is not None:
        run_id = await retry_while_unavailable(lambda: ports.queue.best_run_id(step.claim), StoreUnavailable)
        if run_id is None:
            return None
        specification = dict(answer["best"]["specification"])
        task = EngineTask(run_id, step.claim.epoch, specification, step.claim.facts.optimization_id)
        outcome = await ports.engine.run(task, _unheard, step.stop)
        match outcome:
            case Completed():
                if (differing := _differing(answer["best"]["figures"], outcome)) is not None:
                    return await end(step, differing, ports)
                best_run = BestRun(run_id, run_columns(step.claim, answer["best"]["specification"]), outcome)
            case Failed():
                return await end(step, outcome, ports)
            case ChildDied(description) if step.stop_why is None:
                return await told(ports, lambda: ports.queue.died(step.claim, StepDied(description)))
            case ChildDied() | Stopped():
                return await stopped(step, ports)
            case _:
                assert_never(outcome)
    began = step.claim.started_at or ports.clock.now_utc()
    found = Found(
        columns=answer["columns"],
        result_digest=answer["result_digest"],
        engine_version=answer["engine_version"],
        warnings=tuple(answer["warnings"]),
        duration_seconds=max(0.0, (ports.clock.now_utc() - began).total_seconds()),
        best_run=best_run,
    )
    return await end(step, found, ports)


def _differing(figures: Any, run: Completed) -> Failed | None:
    """The failure of a search whose best combination, run as an ordinary run, is another one."""
    names = [name for name, value in figures.items() if run.metrics.get(name) != value]
    if not names:
        return None
    first = names[0]
    message = (
        f"the best combination, run alone, has other figures: {', '.join(names)};"
        f" {first} is {run.metrics.get(first)!r}, not {figures[first]!r}"
    )
    return Failed("results_disagree", message)


def run_columns(claim: ShardClaim, specification: Any) -> dict[str, Any]:
    """Configuration columns of the best run's row."""
    columns = {column: specification[name] for name, column in COLUMN_OF_FIELD.items()}
    columns["context_tfs"] = json.dumps(columns["context_tfs"])
    for name in ("start_date", "end_date"):
        columns[name] = datetime.fromisoformat(columns[name])
    own = {
        "strategy_id": claim.facts.strategy_id,
        "primary_tf": columns["timeframe"],
        "max_llm_calls": ROW_DEFAULTS["max_llm_calls"],
    }
    return {**columns, **own}


async def stopped(step: ActiveStep, ports: StepPorts) -> SearchChange | None:
    """The step has no result because it was told to stop, or because no child could be started."""
    match step.stop_why:
        case StopWhy.CANCELLED:
            return await end(step, Cancelled(step.cancel_reason), ports)
        case StopWhy.FENCED:
            return None
        case StopWhy.DRAINED | None:
            await retry_while_unavailable(lambda: ports.queue.give_back(step.claim), StoreUnavailable)
            return None
        case _:
            assert_never(step.stop_why)


async def end(step: ActiveStep, outcome: SearchOutcome, ports: StepPorts) -> SearchChange | None:
    """End the search, however long Postgres is away."""
    if isinstance(outcome, Failed) and len(outcome.message) > MAX_MESSAGE_CHARACTERS:
        outcome = Failed(outcome.code, f"{outcome.message[:MAX_MESSAGE_CHARACTERS]}...", outcome.details)
    try:
        return await told(ports, lambda: ports.queue.end(step.claim, outcome))
    except Exception as error:
        if isinstance(outcome, Failed):
            raise
        log.exception("search_result_refused", optimization_id=step.claim.facts.optimization_id)
        return await end(step, Failed("internal_error", f"the result could not be stored: {error}"), ports)


async def told(ports: StepPorts, write: Any) -> SearchChange | None:
    """Write, however long Postgres is away, and hand the events to the relay."""
    change: SearchChange | None = await retry_while_unavailable(write, StoreUnavailable)
    if change is not None:
        ports.relay.add(change.events)
        for ended in change.ended:
            await clear_up(ended.facts.optimization_id, ports)
    return change


async def clear_up(optimization_id: int, ports: StepPorts) -> None:
    """Remove what steps of a search that has ended left for each other. Who was at one may leave more; retention has
    the rest.
    """
    try:
        await asyncio.to_thread(ports.remove_parts, optimization_id)
    except ArtifactsUnavailable as error:
        log.warning("parts_left", optimization_id=optimization_id, error=str(error))


def _unheard(_progress: EngineProgress) -> None:
    """Of the best run nobody is told how far it is."""
