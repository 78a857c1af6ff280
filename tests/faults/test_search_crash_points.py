"""The worker dies between every two steps of a search's way, and no combination is lost or counted twice.

As test_crash_points.py has it for runs.
"""

import signal
from collections.abc import AsyncIterator
from random import Random

import pytest

from consumer.devstack import StackKind
from tests.faults.checker import check, searches_equal_a_quiet_one
from tests.faults.field import Field, event, open_field
from tests.faults.load import SEARCH_REQUESTED, SEARCHES, Load
from tests.faults.search_invariants import search_digests
from tests.faults.worker_program import CrashPoint, Orders

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KEEPER = "consumer.optimization.keeper:SearchKeeper."
TABLES = "consumer.adapters.postgres.searches:PostgresSearchTransaction."
SEND = "consumer.adapters.kafka.publisher:KafkaPublisher.send"
ENDED = '"type":"optimization.completed"'

CRASH_POINTS = {
    "range: counted, not committed": CrashPoint(f"{KEEPER}_write", "after", "kind='range'"),
    "range: committed, answer not heard": CrashPoint(f"{KEEPER}finish", "after", "RangeDone("),
    "gather: best run inserted, not committed": CrashPoint(f"{TABLES}insert_best_run", "after"),
}
FURTHER_POINTS = {
    "intake: search inserted, not committed": CrashPoint(f"{TABLES}insert_search", "after"),
    "intake: recorded, offset not marked": CrashPoint(
        "consumer.optimization.journal:SearchRecorder.record_searches", "after", "'accepted': "
    ),
    "claim: step taken, not committed": CrashPoint(f"{TABLES}save", "after"),
    "claim: committed, engine not told": CrashPoint(f"{KEEPER}claim", "after", "ShardClaim("),
    "survey: result in hand": CrashPoint(f"{KEEPER}finish", "before", "Surveyed("),
    "range: result in hand": CrashPoint(f"{KEEPER}finish", "before", "RangeDone("),
    "gather: result in hand": CrashPoint(f"{KEEPER}end", "before", "Found("),
    "gather: all written, not committed": CrashPoint(f"{KEEPER}_end", "after", "Found("),
    "gather: committed, not relayed": CrashPoint(f"{KEEPER}end", "after", "Found("),
    "relay: terminal event about to be sent": CrashPoint(SEND, "before", ENDED),
    "relay: terminal event acknowledged, not forgotten": CrashPoint(SEND, "after", ENDED),
}
"""By night: each takes a worker's start."""


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[Field]:
    """One system for all points: what the earlier ones left is judged again by every later one."""
    orders = Orders(session_timeout_ms=1_000)
    async with open_field(tmp_path_factory.mktemp("search-crash-points"), orders, stack_kind) as opened:
        await Load(Random(0)).prepare(opened)
        yield opened


@pytest.fixture(scope="module")
async def quiet(place: Field) -> dict[str, str]:
    worker = await place.start_worker(slots=1)
    await place.send(event(SEARCH_REQUESTED, "quiet", SEARCHES[0]))
    found = search_digests(await place.settle())
    worker.send(signal.SIGTERM)
    await worker.ended()
    assert len(found) == 1
    return found


@pytest.mark.parametrize(
    "step", [*CRASH_POINTS, *(pytest.param(step, marks=pytest.mark.nightly) for step in FURTHER_POINTS)]
)
async def test_a_worker_that_dies_between_two_steps_loses_and_doubles_no_combination(
    place: Field, quiet: dict[str, str], step: str
) -> None:
    await place.send(event(SEARCH_REQUESTED, f"crash/{step}", SEARCHES[0]))
    point = {**CRASH_POINTS, **FURTHER_POINTS}[step]
    crashing = await place.start_worker(crash=point, slots=1, waits=True)
    clean = await place.start_worker(slots=1, waits=True)
    crashing.go()
    assert await crashing.ended(120) == -signal.SIGKILL, crashing.log_text()

    clean.go()
    evidence = await place.settle()
    clean.send(signal.SIGTERM)
    assert await clean.ended() == 0

    assert check(evidence) == []
    assert searches_equal_a_quiet_one(evidence, quiet) == []
    assert {search["state"] for search in evidence.searches.values()} == {"completed"}
