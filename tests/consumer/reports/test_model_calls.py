"""What was asked of a model, what it answered, and what came of it, from tables in memory."""

import json

import pytest

from consumer.adapters.memory.history import MemoryHistory
from consumer.errors import ArtifactsUnavailable, NoSuchRun
from consumer.ports.advice import Call, CallFailed, CallOutcome, Question, Reply
from consumer.reports.model_calls import model_calls
from tests.consumer.queue_steps import queued_and_claimed
from tests.consumer.stores import MemoryStore, parsed_times
from tests.support.messages import completed

BAR = parsed_times({"start_date": "2024-01-02T00:00:00+00:00"})["start_date"]
LATER = parsed_times({"start_date": "2024-01-03T00:00:00+00:00"})["start_date"]
BUY = {"action": "BUY", "confidence": 0.5, "reason": "up"}
KEPT = {"model": "openai:test", "settings": {}, "messages": [{"author": "user", "content": "What now?"}]}


class Kept:
    """Implements `KeptMessages`: of one key."""

    def read_messages(self, key: str) -> bytes:
        if key != "a" * 64:
            raise ArtifactsUnavailable(key)
        return json.dumps(KEPT).encode()


async def asked(store: MemoryStore) -> int:
    """A run with a call that decided, one that said nothing of use, one that failed and one whose answer was lost."""
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    outcomes: list[CallOutcome | None] = [Reply(json.dumps(BUY)), Reply("no"), CallFailed("status 500"), None]
    for number, (letter, outcome) in enumerate(zip("abcd", outcomes, strict=True), start=1):
        question = Question(BAR if number == 1 else LATER, "", ())
        call = Call(claim.run_id, claim.epoch, number, question, letter * 64, "openai:test")
        await worker.calls.begin(call)
        if outcome is not None:
            await worker.calls.settle(call, outcome, 10, shared=True)
    await worker.queue.finish(claim, completed(claim, trades=2))
    return claim.run_id


async def test_each_call_tells_what_was_asked_what_was_answered_and_what_came_of_it() -> None:
    store = MemoryStore()
    decided, useless, failed, lost = await model_calls(MemoryHistory(store.tables), Kept(), await asked(store))

    assert decided.asked == KEPT["messages"]
    assert decided.decided is not None
    assert (decided.decided.action, decided.decided.reason, decided.problem) == ("BUY", "up", "")
    assert decided.positions == (1, 2)
    assert (useless.decided, useless.asked, useless.positions) == (None, None, ())
    assert useless.problem
    assert failed.problem == "status 500"
    assert "lost" in lost.problem


async def test_calls_come_page_by_page_without_what_was_asked() -> None:
    store = MemoryStore()
    run_id = await asked(store)
    page = await model_calls(MemoryHistory(store.tables), None, run_id, limit=2, after=1)

    assert [(each.row["number"], each.asked) for each in page] == [(2, None), (3, None)]


async def test_a_run_that_is_not_there_has_no_calls() -> None:
    with pytest.raises(NoSuchRun):
        await model_calls(MemoryHistory(MemoryStore().tables), None, 4711)
