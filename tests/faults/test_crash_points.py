"""The worker dies between every two steps of intake, claim, progress, finish and relay, and nothing is lost or doubled.

Each point kills a real worker (SIGKILL, by itself, in the middle) that is otherwise the product as it is; then a clean
worker takes over, and the checker looks at everything that was ever sent here.
"""

import signal
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from consumer.devstack import StackKind
from consumer.ports import Delivery
from tests.faults.checker import check, digests, processes_with, results_equal_a_quiet_run
from tests.faults.field import Field, event, open_field
from tests.faults.load import BY_MODEL, CANCEL_REQUESTED, ENOUGH, FEBRUARY, REQUESTED, TIGHT, Load
from tests.faults.worker_process import Worker
from tests.faults.worker_program import CrashPoint, Orders
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults]

COMMON = {**FEBRUARY, "spread_pips": 0.5, "execution_mode": "close_price"}
JOURNAL = "consumer.adapters.postgres.journal:"
QUEUE = "consumer.adapters.postgres.queue:"
OUTBOX = "consumer.adapters.postgres.outbox:PostgresOutbox."
SEND = "consumer.adapters.kafka.publisher:KafkaPublisher.send"
SOURCE = "consumer.adapters.kafka.source:"
NEW_RUN, ACCEPTED = "NewRun(", "'accepted': "
"""What is put off until its strategy's code was asked goes through the same functions first, and writes nothing."""
STARTED, PROGRESS, COMPLETED = (f'"type":"backtest.{kind}"' for kind in ("started", "progress", "completed"))

CRASH_POINTS = {
    "intake: read, nothing recorded": CrashPoint(f"{JOURNAL}PostgresJournal.record_batch", "before", "crash"),
    "intake: request inserted": CrashPoint(f"{JOURNAL}Recording.insert_requests", "after", NEW_RUN),
    "intake: row inserted": CrashPoint(f"{JOURNAL}Recording.insert_runs", "after", NEW_RUN),
    "intake: execution queued": CrashPoint(f"{JOURNAL}Recording.insert_executions", "after", NEW_RUN),
    "intake: events stored, not committed": CrashPoint(f"{JOURNAL}store_events", "after", "DEAD_LETTER"),
    "intake: recorded, offset not marked": CrashPoint(f"{JOURNAL}PostgresJournal.record_batch", "after", ACCEPTED),
    "intake: offset marked, not committed": CrashPoint(
        f"{SOURCE}KafkaSource.mark_durable", "after", "backtest.requested"
    ),
    "intake: offset about to be committed": CrashPoint(f"{SOURCE}_commit_once", "before"),
    "intake: offset committed": CrashPoint(f"{SOURCE}_commit_once", "after"),
    "claim: taken, started event not stored": CrashPoint(f"{QUEUE}store_events", "before", STARTED),
    "claim: started event stored, not committed": CrashPoint(f"{QUEUE}store_events", "after", STARTED),
    "claim: committed, engine not told": CrashPoint(f"{QUEUE}PostgresQueue.claim", "after", "Claim("),
    "progress: made, not stored": CrashPoint(f"{QUEUE}PostgresQueue.beat", "before", PROGRESS),
    "progress: stored, not relayed": CrashPoint(f"{QUEUE}PostgresQueue.beat", "after", PROGRESS),
    "progress: about to be sent": CrashPoint(SEND, "before", PROGRESS),
    "progress: acknowledged, not forgotten": CrashPoint(SEND, "after", PROGRESS),
    "finish: result in hand": CrashPoint(f"{QUEUE}PostgresQueue.finish", "before"),
    "finish: trades copied": CrashPoint(f"{QUEUE}copy_trades", "after"),
    "finish: execution locked, its end not written": CrashPoint(f"{QUEUE}end_runs", "before", "Completed("),
    "finish: all written, not committed": CrashPoint(f"{QUEUE}end_runs", "after", COMPLETED),
    "finish: committed, not relayed": CrashPoint(f"{QUEUE}PostgresQueue.finish", "after"),
    "relay: started event about to be sent": CrashPoint(SEND, "before", STARTED),
    "relay: started event acknowledged, not forgotten": CrashPoint(SEND, "after", STARTED),
    "relay: terminal event about to be sent": CrashPoint(SEND, "before", COMPLETED),
    "relay: terminal event acknowledged, not forgotten": CrashPoint(SEND, "after", COMPLETED),
    "relay: terminal event about to be forgotten": CrashPoint(f"{OUTBOX}delete", "before", COMPLETED),
    "relay: terminal event forgotten": CrashPoint(f"{OUTBOX}delete", "after", COMPLETED),
    "cancel: noted, not committed": CrashPoint(f"{JOURNAL}Recording._cancel_known", "after", "crash"),
    "cancel: end of a queued run written, not committed": CrashPoint(f"{JOURNAL}end_runs", "after", "Cancelled("),
}

LEDGER = "consumer.adapters.postgres.llm_calls:PostgresCalls."
CALLER = "consumer.adapters.language_models.caller:LanguageModels.call"

CALL_POINTS = {
    "call: decided on, no row": CrashPoint(f"{LEDGER}begin", "before"),
    "call: a row, not sent": CrashPoint(f"{LEDGER}begin", "after"),
    "call: about to be sent": CrashPoint(CALLER, "before"),
    "call: answered, the answer not kept": CrashPoint(CALLER, "after"),
    "call: about to be kept": CrashPoint(f"{LEDGER}settle", "before"),
    "call: answer written, not committed": CrashPoint(f"{LEDGER}_answer", "after"),
    "call: kept, the engine not told": CrashPoint(f"{LEDGER}settle", "after"),
}
"""Of a run that a model decides in."""

CRASH_SEQUENCES = {
    "relay: terminal event of a dead worker adopted, not sent": (
        CRASH_POINTS["finish: committed, not relayed"],
        CrashPoint(f"{OUTBOX}adopt", "after", "TERMINAL"),
    ),
    "claim: run of a dead worker taken again, engine not told": (
        CRASH_POINTS["claim: committed, engine not told"],
        CrashPoint(f"{QUEUE}PostgresQueue.claim", "after", "attempt=2"),
    ),
}
"""One worker after the other."""

DRAIN_POINTS = {
    "drain: run about to be given back": CrashPoint(f"{QUEUE}PostgresQueue.give_back", "before"),
    "drain: run given back": CrashPoint(f"{QUEUE}PostgresQueue.give_back", "after"),
}

CANCEL_POINTS = {
    "cancel: child stopped, nothing written": CrashPoint(f"{QUEUE}PostgresQueue.finish", "before", "Cancelled("),
    "cancel: end of the run written, not committed": CrashPoint(f"{QUEUE}end_runs", "after", "Cancelled("),
}


OFTEN = {
    "intake: execution queued",
    "intake: recorded, offset not marked",
    "claim: committed, engine not told",
    "progress: stored, not relayed",
    "finish: all written, not committed",
    "finish: committed, not relayed",
    "relay: terminal event acknowledged, not forgotten",
    "cancel: noted, not committed",
    "relay: terminal event of a dead worker adopted, not sent",
    "drain: run given back",
    "cancel: child stopped, nothing written",
}
"""One or two of each kind; the others by night, since each takes the start of two workers."""


def by_night(*steps: str) -> list[Any]:
    """The steps as parameters of a test, those that are not of the OFTEN marked."""
    return [step if step in OFTEN else pytest.param(step, marks=pytest.mark.nightly) for step in steps]


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[Field]:
    """One system for all points: what the earlier ones left is judged again by every later one."""
    orders = Orders(session_timeout_ms=1_000)
    async with open_field(tmp_path_factory.mktemp("crash-points"), orders, stack_kind) as opened:
        load = Load(Random(0))
        await load.prepare(opened)
        yield opened


@pytest.fixture(scope="module")
async def quiet_digests(place: Field) -> dict[str, str]:
    load = Load(Random(0))
    worker = await place.start_worker(slots=1)
    await load.quiet(place, (1, 2))
    await place.send(long_run("quiet"))
    for calls in (ENOUGH, TIGHT):
        await place.send(event(REQUESTED, f"quiet/{calls}", advised(calls)))
    quiet = digests(await place.settle())
    worker.send(signal.SIGTERM)
    await worker.ended()
    return quiet


@pytest.mark.parametrize("step", by_night(*CRASH_POINTS, *CRASH_SEQUENCES))
async def test_a_worker_that_dies_between_two_steps_loses_and_doubles_nothing(
    place: Field, quiet_digests: dict[str, str], step: str
) -> None:
    points = CRASH_SEQUENCES[step] if step in CRASH_SEQUENCES else (CRASH_POINTS[step],)
    await send_one_of_each(place, step)
    crashing = [await place.start_worker(crash=point, slots=1, waits=True) for point in points]
    clean = await place.start_worker(slots=1, waits=True)
    for worker in crashing:
        worker.go()
        assert await worker.ended(120) == -signal.SIGKILL, worker.log_text()
    await finds_all_in_order(clean, place, quiet_digests)


def test_what_is_run_often_is_there() -> None:
    """A step that was renamed would be run by night alone."""
    assert {*CRASH_POINTS, *CRASH_SEQUENCES, *DRAIN_POINTS, *CANCEL_POINTS} >= OFTEN


@pytest.mark.nightly
@pytest.mark.parametrize("calls", [ENOUGH, TIGHT])
@pytest.mark.parametrize("step", list(CALL_POINTS))
async def test_a_worker_that_dies_about_a_call_to_a_model_pays_for_no_answer_twice(
    place: Field, quiet_digests: dict[str, str], step: str, calls: int
) -> None:
    await place.send(event(REQUESTED, f"crash/{step}/{calls}", advised(calls)))
    crashing = await place.start_worker(crash=CALL_POINTS[step], slots=1, waits=True)
    clean = await place.start_worker(slots=1, waits=True)
    crashing.go()
    assert await crashing.ended(120) == -signal.SIGKILL, crashing.log_text()
    await finds_all_in_order(clean, place, quiet_digests)


@pytest.mark.parametrize("step", by_night(*DRAIN_POINTS))
async def test_a_worker_that_dies_while_it_drains_loses_and_doubles_nothing(
    place: Field, quiet_digests: dict[str, str], step: str
) -> None:
    await send_one_of_each(place, step)
    draining = await place.start_worker(crash=DRAIN_POINTS[step], slots=1)
    clean = await place.start_worker(slots=1, waits=True)

    async def is_running() -> bool:
        rows = await place.database("SELECT 1 FROM backtest_executions WHERE state = 'running'")
        return bool(rows)

    await eventually(is_running, "a run under way", seconds=60)
    draining.send(signal.SIGTERM)
    assert await draining.ended(60) == -signal.SIGKILL, draining.log_text()
    await finds_all_in_order(clean, place, quiet_digests)


@pytest.mark.parametrize("step", by_night(*CANCEL_POINTS))
async def test_a_worker_that_dies_while_it_cancels_a_run_loses_and_doubles_nothing(
    place: Field, quiet_digests: dict[str, str], step: str
) -> None:
    request_id = f"crash/{step}/endless"
    await place.send(event(REQUESTED, request_id, {**COMMON, "strategy_id": 5}))
    cancelling = await place.start_worker(crash=CANCEL_POINTS[step], slots=1)
    clean = await place.start_worker(slots=1, waits=True)

    async def is_running() -> bool:
        return any("run=" in each for each in cancelling.titles())

    await eventually(is_running, "the endless run under way", seconds=60)
    await place.send(event(CANCEL_REQUESTED, f"crash/{step}/cancel", {"request_id": request_id}))
    assert await cancelling.ended(60) == -signal.SIGKILL, cancelling.log_text()
    await finds_all_in_order(clean, place, quiet_digests)


async def finds_all_in_order(clean: Worker, place: Field, quiet_digests: dict[str, str]) -> None:
    """Let a worker that waited take over, and judge."""
    clean.go()
    evidence = await place.settle()
    clean.send(signal.SIGTERM)
    assert await clean.ended() == 0
    assert check(evidence) == []
    assert results_equal_a_quiet_run(evidence, quiet_digests) == []

    async def nobody_left() -> bool:
        return not processes_with(place.marker)

    await eventually(nobody_left, "no process left over", seconds=10)


async def send_one_of_each(place: Field, step: str) -> None:
    """A long run, a short one, the short one again, poison, and a run that only its cancel ends."""
    short = event(REQUESTED, f"crash/{step}/short", {**COMMON, "strategy_id": 1})
    await place.send(
        long_run(f"crash/{step}/long"),
        *(short, short),
        event(REQUESTED, f"crash/{step}/short", {**COMMON, "strategy_id": 2}),
        event(CANCEL_REQUESTED, f"crash/{step}/poison", {"nobody": True}),
        event(REQUESTED, f"crash/{step}/endless", {**COMMON, "strategy_id": 5}),
        event(CANCEL_REQUESTED, f"crash/{step}/cancel", {"request_id": f"crash/{step}/endless"}),
    )


def advised(calls: int) -> dict[str, Any]:
    """A run that leaves it to a model, within a budget."""
    return {**COMMON, "strategy_id": BY_MODEL, "max_llm_calls": calls}


def long_run(request_id: str) -> Delivery:
    """A run of most of a second: long enough for progress."""
    return event(REQUESTED, request_id, {**COMMON, "strategy_id": 3, "strategy_params": {"seconds_a_bar": 0.0015}})
