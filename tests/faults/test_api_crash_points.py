"""The API's process dies between every two steps of a POST, and servers are away: a 202 is a run, and nothing is half
done.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest

from consumer.devstack import StackKind
from tests.faults.api import Api
from tests.faults.checker import check
from tests.faults.field import Field, open_field
from tests.faults.load import ENDLESS, FEBRUARY, SEARCHES, Load
from tests.faults.posts import RUNS
from tests.faults.posts import SEARCHES as SEARCH_PATH
from tests.faults.worker_process import Worker
from tests.faults.worker_program import CrashPoint, Orders
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults]

BODY = {**FEBRUARY, "spread_pips": 0.5, "execution_mode": "close_price", "strategy_id": 1}
POSTS = "consumer.adapters.postgres.posts:"
JOURNAL = "consumer.adapters.postgres.journal:Recording."
OUTBOX = "consumer.adapters.postgres.outbox:PostgresOutbox."
SEND = "consumer.adapters.kafka.publisher:KafkaPublisher.send"
RECORD = '"type":"backtest.requested"'
NEW_RUN, TAKEN = "NewRun(", "Taken("
"""A request whose strategy's code was not asked yet goes through the same functions first, and writes nothing."""

CRASH_POINTS = {
    "nothing written": CrashPoint(f"{POSTS}PostgresPosts._take", "before"),
    "request inserted": CrashPoint(f"{JOURNAL}insert_requests", "after", NEW_RUN),
    "row inserted": CrashPoint(f"{JOURNAL}insert_runs", "after", NEW_RUN),
    "execution queued": CrashPoint(f"{JOURNAL}insert_executions", "after", NEW_RUN),
    "record stored, not committed": CrashPoint(f"{POSTS}store_events", "after", RECORD),
    "committed, not answered": CrashPoint(f"{POSTS}PostgresPosts.take", "after", TAKEN),
    "record about to be sent": CrashPoint(SEND, "before", RECORD),
    "record acknowledged, not forgotten": CrashPoint(SEND, "after", RECORD),
    "record about to be forgotten": CrashPoint(f"{OUTBOX}delete", "before", RECORD),
    "record forgotten": CrashPoint(f"{OUTBOX}delete", "after", RECORD),
}
UNCOMMITTED = {
    "nothing written", "request inserted", "row inserted", "execution queued", "record stored, not committed"
}  # fmt: skip
OFTEN = {"record stored, not committed", "committed, not answered", "record acknowledged, not forgotten"}
"""The others every night: each takes a process of its own."""

SEARCHES_TABLE = "consumer.adapters.postgres.searches:PostgresSearchTransaction."
SEARCH_RECORD = '"type":"optimization.requested"'
SEARCH_POINTS = {
    "search inserted": CrashPoint(f"{SEARCHES_TABLE}insert_search", "after"),
    "record stored, not committed": CrashPoint(f"{SEARCHES_TABLE}store_events", "after", SEARCH_RECORD),
    "committed, not answered": CrashPoint("consumer.optimization.posting:SearchPosts.take", "after", TAKEN),
    "record acknowledged, not forgotten": CrashPoint(SEND, "after", SEARCH_RECORD),
}
CANCEL_POINTS = {
    "nothing written": CrashPoint("consumer.submission:Submission.cancel_run", "before"),
    "noted, not committed": CrashPoint(f"{JOURNAL}_cancel_known", "after"),
    "committed, not answered": CrashPoint("consumer.submission:Submission.cancel_run", "after"),
}


@asynccontextmanager
async def api_in(place: Field, crash: CrashPoint | None = None) -> AsyncIterator[Api]:
    api = await place.start_api(crash=crash)

    async def answers() -> bool:
        assert api.process.is_alive, api.process.log_text()
        return await api.answers()

    await eventually(answers, "the API to answer", seconds=240)
    try:
        yield api
    finally:
        api.process.send(signal.SIGKILL)
        await api.process.ended()


async def post(api: Api, key: str) -> httpx.Response | None:
    return await api.post("/v1/backtest", BODY, key)


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[Field]:
    orders = Orders(session_timeout_ms=1_000)
    async with open_field(tmp_path_factory.mktemp("api-crash-points"), orders, stack_kind) as opened:
        await Load(Random(0)).prepare(opened)
        yield opened


@pytest.fixture(scope="module", autouse=True)
async def worker(place: Field) -> AsyncIterator[Worker]:
    """It runs whatever becomes a run; nothing ever happens to it."""
    started = await place.start_worker(slots=1)
    yield started
    started.send(signal.SIGTERM)
    await started.ended()


@pytest.fixture(scope="module")
async def clean(place: Field) -> AsyncIterator[Api]:
    async with api_in(place) as api:
        yield api


@pytest.mark.parametrize(
    "step", [step if step in OFTEN else pytest.param(step, marks=pytest.mark.nightly) for step in CRASH_POINTS]
)
async def test_an_api_that_dies_between_two_steps_of_a_post_loses_and_doubles_nothing(
    place: Field, clean: Api, step: str
) -> None:
    key = f"post/{step}"
    async with api_in(place, CRASH_POINTS[step]) as dying:
        first = await post(dying, key)
        assert await dying.process.ended(60) == -signal.SIGKILL, dying.process.log_text()
    answer = await post(clean, key)

    assert answer is not None
    assert answer.status_code == 202, answer.text
    if first is not None:
        assert first.content == answer.content
    assert ("Idempotency-Replayed" in answer.headers) is (step not in UNCOMMITTED)
    await became_one_run(place, key, answer.json()["run_id"])


@pytest.mark.nightly
@pytest.mark.parametrize("step", list(SEARCH_POINTS))
async def test_an_api_that_dies_between_two_steps_of_a_posted_search_loses_and_doubles_nothing(
    place: Field, clean: Api, step: str
) -> None:
    key = f"search/{step}"
    async with api_in(place, SEARCH_POINTS[step]) as dying:
        await dying.post(SEARCH_PATH, SEARCHES[0], key)
        assert await dying.process.ended(60) == -signal.SIGKILL, dying.process.log_text()
    number = await place.posts.post(key, SEARCHES[0], path=SEARCH_PATH, first=clean)

    evidence = await place.settle()
    assert (check(evidence), place.posts.findings) == ([], [])
    assert [found for found, row in evidence.searches.items() if row["request_id"] == key] == [number]


@pytest.mark.nightly
@pytest.mark.parametrize("step", list(CANCEL_POINTS))
async def test_an_api_that_dies_between_two_steps_of_a_cancel_ends_the_run_once(
    place: Field, clean: Api, step: str
) -> None:
    number = await place.posts.post(f"cancel/{step}", {**BODY, "strategy_id": ENDLESS}, first=clean)
    assert number is not None
    async with api_in(place, CANCEL_POINTS[step]) as dying:
        await dying.post(f"{RUNS}/{number}/cancel", {"reason": "changed my mind"})
        assert await dying.process.ended(60) == -signal.SIGKILL, dying.process.log_text()
    await place.posts.cancel(number)

    evidence = await place.settle()
    assert (check(evidence), place.posts.findings) == ([], [])
    assert evidence.executions[number]["state"] == "cancelled"


async def test_what_is_posted_while_kafka_is_away_runs_and_goes_out_when_it_is_back(
    place: Field, clean: Api, worker: Worker
) -> None:
    await place.stack.kafka.stop()
    worker.send(signal.SIGSTOP)  # so that the run to be cancelled is still queued
    try:
        answers = [await post(clean, f"kafka-away-{number}") for number in range(3)]
        cancelled = answers[0]
        assert cancelled is not None
        run_id = cancelled.json()["run_id"]
        cancel = await clean.client.post(f"/v1/backtest/{run_id}/cancel", json={"reason": "kafka is away"})
        ready = await clean.client.get("/readyz")
    finally:
        worker.send(signal.SIGCONT)
        await place.stack.kafka.start()

    assert [answer.status_code for answer in answers if answer is not None] == [202] * 3
    assert (cancel.status_code, cancel.json()["status"]) == (202, "cancelled")
    assert ready.status_code == 200
    assert ready.json()["checks"]["kafka"] != "ok"
    for number, answer in enumerate(answers):
        assert answer is not None
        await became_one_run(place, f"kafka-away-{number}", answer.json()["run_id"])


async def test_while_postgres_is_away_a_post_is_503_and_leaves_nothing(place: Field, clean: Api) -> None:
    await place.stack.postgres.stop()
    try:
        answers = await asyncio.gather(*(post(clean, f"postgres-away-{number}") for number in range(5)))
        ready = await clean.client.get("/readyz")
        health = await clean.client.get("/healthz")
    finally:
        await place.stack.postgres.start()

    for answer in answers:
        assert answer is not None
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert (ready.status_code, health.status_code) == (503, 200)
    rows = await place.database("SELECT 1 FROM backtest_requests WHERE request_id LIKE 'postgres-away-%'")
    assert rows == []

    async def taken() -> httpx.Response | None:
        answer = await post(clean, "postgres-away-0")
        return answer if answer is not None and answer.status_code == 202 else None

    answer = await eventually(taken, "the POST once Postgres is back")
    await became_one_run(place, "postgres-away-0", answer.json()["run_id"])


async def became_one_run(place: Field, key: str, run_id: int) -> None:
    """Let the worker finish what there is, and judge: the request is this run, and its record went out."""
    evidence = await place.settle()
    assert check(evidence) == []
    assert evidence.requests[key]["run_id"] == run_id
    assert [row["run_id"] for row in evidence.executions.values() if row["request_id"] == key] == [run_id]
    assert any(f'"id":"{key}"'.encode() in (record.value or b"") for record in evidence.inputs)
