"""What PostJournal promises, asked of the real one and of the one in memory."""

import asyncio
import json
from typing import Any

from consumer.adapters.memory.journal import MemoryJournal
from consumer.adapters.memory.posts import MemoryPosts
from consumer.adapters.postgres.endings import EventOwner
from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.posts import PostgresPosts
from consumer.decoding import decode_request, read_request
from consumer.ports import EventKind, Record, Refused, RequestToRecord, StrategyCheck, Unchecked
from consumer.ports.posting import Conflict, Held, PostJournal, PostResult, Taken
from tests.consumer.stores import PostgresStore, Store, WorkerPorts
from tests.support.messages import ADMIT, body, cancel, event_writer, requested

DATA: dict[str, Any] = {
    "strategy_id": 1, "symbol": "EURUSD", "timeframe": "H1", "start_date": "2024-01-01T00:00:00Z",
    "end_date": "2024-02-01T00:00:00Z",
}  # fmt: skip


def posted(request_id: str, **data: Any) -> RequestToRecord:
    return read_request({**DATA, **data}, (), request_id, "backtest-api/alice")


def posts_of(worker: WorkerPorts) -> PostJournal:
    journal = worker.journal
    if isinstance(journal, MemoryJournal):
        return MemoryPosts(journal)
    assert isinstance(journal, PostgresJournal)
    return PostgresPosts(journal.pool, event_writer(), EventOwner(journal.owner, journal.lease_seconds))


async def take(worker: WorkerPorts, *requests: RequestToRecord) -> PostResult:
    return await posts_of(worker).take(requests, ADMIT)


async def test_what_is_taken_is_a_pending_row_a_queued_execution_and_a_record_that_names_it(store: Store) -> None:
    worker = await store.worker()

    result = await take(worker, posted("a", spread_pips=2.0))

    [answer] = result.answers
    assert answer == Taken(1, is_repeat=False)
    run = await store.run(1)
    assert run is not None
    assert (run["status"], run["spread_pips"]) == ("pending", 2.0)
    assert (await store.execution(1))["state"] == "queued"
    assert await store.unsent() == [("requested", None, 0, "worker")]
    [event] = result.events
    assert (event.kind, event.key) == (EventKind.REQUESTED, b"1")
    envelope = json.loads(event.value or b"")
    assert (envelope["id"], envelope["source"], envelope["type"]) == ("a", "backtest-api/alice", "backtest.requested")
    assert (envelope["data"]["run_id"], envelope["data"]["request_id"]) == (1, "a")


async def test_the_record_that_goes_out_and_the_same_from_the_topic_are_duplicates(store: Store) -> None:
    worker = await store.worker()
    [event] = (await take(worker, posted("a"))).events
    emitted = decode_request(Record("backtest.requested", 0, 5, event.key, event.value, event.headers))
    same = requested("a", **DATA)
    other = requested("a", **{**DATA, "symbol": "GBPUSD"})
    naming_another = requested("a", **DATA, run_id=2)

    result = await worker.journal.record_batch([emitted, same, other, naming_another], (), (), ADMIT)

    assert result.outcomes == {"duplicate": 2, "dead_lettered": 2}
    assert await store.runs() == [1]


async def test_a_repeat_is_the_same_run_and_other_content_a_conflict(store: Store) -> None:
    worker, other = await store.worker(), await store.worker("other")
    await take(worker, posted("a"))

    repeated = await take(other, posted("a"), posted("b"))
    rival = await take(other, posted("a", spread_pips=9.0))

    assert list(repeated.answers) == [Taken(1, is_repeat=True), Taken(2, is_repeat=False)]
    assert (list(rival.answers), list(rival.events)) == ([Conflict()], [])


async def test_a_refusal_leaves_nothing(store: Store) -> None:
    worker = await store.worker()

    result = await take(worker, posted("a", symbol="NOSUCH", spread_pips=-1.0), posted("b"))

    refused, taken = result.answers
    assert isinstance(refused, Refused)
    assert {each.field for each in refused.problems} == {"symbol", "spread_pips"}
    assert taken == Taken(1, is_repeat=False)
    assert await store.request("a") is None
    assert list((await take(worker, posted("a"))).answers) == [Taken(2, is_repeat=False)]


async def test_what_a_topic_had_first_is_answered_with_what_became_of_it(store: Store) -> None:
    worker = await store.worker()
    await worker.journal.record_batch(
        [requested("a", **DATA), requested("b", **{**DATA, "symbol": "NOSUCH"})], (), (), ADMIT
    )

    accepted, rejected = (await take(worker, posted("a"), posted("b", symbol="NOSUCH"))).answers

    assert accepted == Taken(1, is_repeat=True)
    assert isinstance(rejected, Refused)
    assert [each.code for each in rejected.problems] == ["unknown_symbol"]


async def test_what_its_id_was_cancelled_before_ends_at_once(store: Store) -> None:
    worker = await store.worker()
    await worker.journal.record_batch([], [cancel(request_id="a", reason="too late")], [], ADMIT)

    result = await take(worker, posted("a"))

    assert list(result.answers) == [Taken(1, is_repeat=False)]
    told = [body(event.value) for event in result.events if event.kind is EventKind.TERMINAL]
    assert [(each["type"], each["reason"]) for each in told] == [("backtest.cancelled", "too late")]
    run = await store.run(1)
    assert run is not None
    assert run["status"] == "cancelled"


async def test_a_strategy_that_a_client_holds_or_whose_code_was_not_asked_leaves_nothing(store: Store) -> None:
    worker = await store.worker()
    async with store.holding_strategy(1):
        held = await take(worker, posted("a"))
    unchecked = await posts_of(worker).take([posted("a")], lambda *_: Unchecked(StrategyCheck("slow", "{}")))

    assert list(held.answers) == [Held()]
    assert list(unchecked.answers) == [Unchecked(StrategyCheck("slow", "{}"))]
    assert await store.request("a") is None
    assert await store.runs() == []


async def test_many_processes_that_take_one_request_make_one_run(postgres_store: PostgresStore) -> None:
    workers = [await postgres_store.worker(str(number)) for number in range(6)]

    results = await asyncio.gather(*(take(worker, posted("a"), posted(f"own-{n}")) for n, worker in enumerate(workers)))

    of_a = [result.answers[0] for result in results]
    assert {answer.number for answer in of_a if isinstance(answer, Taken)} == {of_a[0].number}  # type: ignore[union-attr]
    assert sum(not answer.is_repeat for answer in of_a if isinstance(answer, Taken)) == 1
    assert len(await postgres_store.runs()) == 7
