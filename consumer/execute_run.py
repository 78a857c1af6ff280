"""One run, top to bottom: engine, outcome, fenced finish, events out."""

from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from consumer.active_runs import ActiveRun, StopWhy
from consumer.advice.desk import AdviceDesk
from consumer.advice.run_advice import RunAdvice, terms_of
from consumer.errors import StoreUnavailable
from consumer.outbox_relay import OutboxRelay
from consumer.ports import Claim, Clock, EnginePool, EngineTask, FinishResult, RunQueue
from consumer.ports.outcomes import (
    Cancelled,
    ChildDied,
    Completed,
    EngineOutcome,
    Failed,
    Returned,
    RunOutcome,
    Stopped,
    Superseded,
    TerminalOutcome,
)
from consumer.retries import retry_while_unavailable
from consumer.rules.endings import crash_loop

log = structlog.get_logger(__name__)

MAX_MESSAGE_CHARACTERS = 10_000
"""Of a failure, which may be a user's exception: the terminal event has to fit into one record."""


@dataclass(frozen=True, slots=True)
class RunPorts:
    """What executing a run needs."""

    queue: RunQueue
    engine: EnginePool
    relay: OutboxRelay
    clock: Clock
    max_attempts: int
    desk: AdviceDesk | None = None
    """Makes calls to language models; None: no model is configured."""


async def execute_run(run: ActiveRun, ports: RunPorts) -> RunOutcome:
    """Run one claimed backtest to its end here. Fenced: Superseded if another epoch owns the run."""
    engine_outcome = await simulate(run, ports)
    match decide(engine_outcome, run, ports.max_attempts):
        case Superseded() as superseded:
            return superseded
        case Returned(why):
            died = isinstance(engine_outcome, ChildDied) and run.stop_why is None
            return await give_back(run.claim, why, ports, died=died)
        case outcome:
            return await finish(run.claim, outcome, ports)


async def simulate(run: ActiveRun, ports: RunPorts) -> EngineOutcome:
    """Let an engine child run it; a defect on our side fails the run rather than the worker."""
    task = EngineTask(run.claim.run_id, run.claim.epoch, run.claim.specification)
    terms = terms_of(run.claim)
    if terms is not None and ports.desk is None:
        return Failed(
            "mode_unavailable",
            "the run asks a language model, and the worker that runs it has none: BACKTEST_LLM_MODEL is not set in its"
            " process; every worker must be configured alike",
        )
    if terms is not None and ports.desk is not None:
        run.advice = RunAdvice(ports.desk, terms)
    try:
        advise = run.advice.ask if run.advice is not None else None
        outcome = await ports.engine.run(task, run.note_progress, run.stop, advise)
        if isinstance(outcome, Completed) and run.advice is not None:
            outcome = await run.advice.told_with(outcome)
    except Exception as error:
        log.exception("engine_pool_failed", run_id=run.claim.run_id, epoch=run.claim.epoch)
        return Failed("internal_error", f"{type(error).__name__}: {error}")
    match outcome:
        case Completed():
            return replace(outcome, duration_seconds=ports.clock.monotonic() - run.claimed_at)
        case Failed(message=message) if len(message) > MAX_MESSAGE_CHARACTERS:
            return replace(outcome, message=f"{message[:MAX_MESSAGE_CHARACTERS]}...")
        case _:
            return outcome


def decide(outcome: EngineOutcome, run: ActiveRun, max_attempts: int) -> TerminalOutcome | Superseded | Returned:
    """What the engine's answer means for the run. Pure."""
    match outcome:
        case Completed() | Failed():
            return outcome
        case ChildDied(description) if run.stop_why is None:
            deaths = run.claim.deaths + 1
            if deaths >= max_attempts:
                return crash_loop(deaths, description)
            return Returned(description)
        case Stopped() | ChildDied():  # a child that was told to stop may die of it
            match run.stop_why:
                case StopWhy.CANCELLED:
                    return Cancelled(run.cancel_reason)
                case StopWhy.FENCED:
                    return Superseded()
                case StopWhy.DRAINED:
                    return Returned("drain")
                case None:
                    return Returned("no engine child can be started")
                case _:
                    assert_never(run.stop_why)
        case _:
            assert_never(outcome)


async def finish(claim: Claim, outcome: TerminalOutcome, ports: RunPorts) -> RunOutcome:
    """Write the end, however long Postgres is away, and hand its events to the relay."""

    async def attempt() -> FinishResult | None:
        return await ports.queue.finish(claim, outcome)

    try:
        result = await retry_while_unavailable(attempt, StoreUnavailable)
    except Exception as error:
        if isinstance(outcome, Failed):
            raise
        log.exception("result_refused", run_id=claim.run_id, epoch=claim.epoch)
        return await finish(claim, Failed("internal_error", f"the result could not be stored: {error}"), ports)
    if result is None:
        return Superseded()
    ports.relay.add(result.events)
    return result.outcome


async def give_back(claim: Claim, why: str, ports: RunPorts, *, died: bool) -> RunOutcome:
    """Put the run back into the queue for any worker; a death is counted, a drain is not."""

    async def attempt() -> bool:
        return await ports.queue.give_back(claim, died=died)

    given = await retry_while_unavailable(attempt, StoreUnavailable)
    return Returned(why) if given else Superseded()
