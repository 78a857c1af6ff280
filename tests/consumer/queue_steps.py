"""Steps that the suites of RunQueue share."""

from datetime import UTC, datetime
from typing import Any

from consumer.ports import Beat, BeatResult, Claim, EngineProgress, OutgoingEvent
from consumer.ports.outcomes import Failed
from tests.consumer.stores import Store, WorkerPorts
from tests.support.messages import ADMIT, body, event_writer, requested

FAILED = Failed("no_data", "there are no bars")


async def queue(worker: WorkerPorts, *names: str, source: str = "upstream") -> list[int]:
    """Queue a run of each request id; the run ids."""
    batch = [requested(name, source=source) for name in names]
    return list((await worker.journal.record_batch(batch, [], [], ADMIT)).new_runs)


async def claim_one(worker: WorkerPorts, *, expired: bool = False) -> Claim:
    lapsed = await worker.queue.lapsed() if expired else ()
    [claim] = (await worker.queue.claim(1, lapsed=lapsed)).claims
    return claim


async def queued_and_claimed(worker: WorkerPorts, name: str = "a") -> Claim:
    await queue(worker, name)
    return await claim_one(worker)


def beat_of(claim: Claim, sequence: int | None = None, percent: int = 0) -> Beat:
    """A heartbeat; with a sequence, one that carries progress."""
    if sequence is None:
        return Beat(claim)
    at = EngineProgress(percent, 100, datetime(2024, 1, 2, tzinfo=UTC), 10_000.0, 0)
    return Beat(claim, percent, event_writer().progress(claim.facts, sequence, claim.attempt, at, None))


async def beat(worker: WorkerPorts, claim: Claim, sequence: int | None = None, percent: int = 0) -> BeatResult:
    return (await worker.queue.beat([beat_of(claim, sequence, percent)]))[claim.run_id]


async def status(store: Store, run_id: int) -> tuple[str, int]:
    run = await store.run(run_id)
    assert run is not None
    return run["status"], run["progress_pct"]


def told(event: OutgoingEvent) -> dict[str, Any]:
    return body(event.value)
