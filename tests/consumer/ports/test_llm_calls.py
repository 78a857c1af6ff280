"""What CallLedger promises: a call is there before it is sent, fenced by its run's epoch, and never forgotten."""

from dataclasses import replace
from datetime import UTC, datetime

from consumer.ports import Claim
from consumer.ports.advice import AdviceFigures, Call, CallFailed, CallsMade, KnownAnswer, Question, Reply
from consumer.ports.outcomes import Cancelled
from tests.consumer.queue_steps import claim_one, queue, queued_and_claimed
from tests.consumer.stores import Store

KEY = "ab" * 32
OTHER_KEY = "cd" * 32
QUESTION = Question(datetime(2024, 1, 2, tzinfo=UTC), "decide", (("user", "What now?"),))
HOLD = Reply('{"action": "HOLD"}', 120, 12, 0.25)


def call_of(claim: Claim, number: int = 1, key: str = KEY) -> Call:
    return Call(claim.run_id, claim.epoch, number, QUESTION, key, "openai:test")


async def test_a_call_is_there_before_it_is_sent_and_with_its_answer_afterwards(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    assert await worker.calls.begin(call_of(claim))
    [row] = await worker.calls.calls_of(claim.run_id)
    assert (row["number"], row["state"], row["bar_time"], row["role"]) == (1, "asked", QUESTION.bar_time, "decide")
    assert await worker.calls.answers([KEY], None) == {}

    told = await worker.calls.settle(call_of(claim), HOLD, 1500, shared=True)
    assert told == KnownAnswer(HOLD.text, claim.run_id)
    [row] = await worker.calls.calls_of(claim.run_id)
    assert (row["state"], row["answer"], row["latency_ms"], row["cost"]) == ("answered", HOLD.text, 1500, 0.25)
    assert await worker.calls.answers([KEY, OTHER_KEY], None) == {KEY: KnownAnswer(HOLD.text, claim.run_id)}


async def test_a_call_whose_answer_was_lost_counts(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    for number, key in ((1, KEY), (2, OTHER_KEY), (3, OTHER_KEY)):
        assert await worker.calls.begin(call_of(claim, number, key))
    await worker.calls.settle(call_of(claim), HOLD, 10, shared=True)
    await worker.calls.settle(call_of(claim, 2, OTHER_KEY), CallFailed("429"), 10, shared=True)

    assert await worker.calls.made(claim.run_id) == CallsMade(3, 2, AdviceFigures(3, 0, 0.25, 120, 12))
    assert (await worker.calls.made(claim.run_id + 1)).figures == AdviceFigures()


async def test_a_number_under_which_nothing_was_begun_is_no_call_and_is_not_given_again(store: Store) -> None:
    """Of calls that begin together a later one may stand there when the worker dies before the earlier one does."""
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    for number, key in ((1, KEY), (3, OTHER_KEY)):
        assert await worker.calls.begin(call_of(claim, number, key))

    made = await worker.calls.made(claim.run_id)
    assert (made.last_number, made.unanswered, made.figures.llm_calls_used) == (3, 2, 2)


async def test_a_cost_that_is_not_known_makes_the_sum_unknown(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    await worker.calls.begin(call_of(claim))
    await worker.calls.settle(call_of(claim), replace(HOLD, cost=None), 10, shared=True)

    assert (await worker.calls.made(claim.run_id)).figures.llm_cost is None


async def test_a_fenced_worker_begins_no_call_and_what_it_has_paid_for_is_kept(store: Store) -> None:
    fenced, taker = await store.worker("fenced"), await store.worker("taker")
    old = await queued_and_claimed(fenced)
    assert await fenced.calls.begin(call_of(old))
    await store.lapse()
    new = await claim_one(taker, expired=True)

    assert not await fenced.calls.begin(call_of(old, 2, OTHER_KEY))
    assert await taker.calls.begin(call_of(new, 2))
    assert await fenced.calls.settle(call_of(old), HOLD, 10, shared=True) == KnownAnswer(HOLD.text, old.run_id)
    assert await taker.calls.answers([KEY], None) == {KEY: KnownAnswer(HOLD.text, old.run_id)}
    assert [row["state"] for row in await taker.calls.calls_of(old.run_id)] == ["answered", "asked"]


async def test_no_call_begins_for_a_run_that_has_ended(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, Cancelled("requested"))

    assert not await worker.calls.begin(call_of(claim))
    assert await worker.calls.calls_of(claim.run_id) == []


async def test_a_call_may_be_begun_again_while_it_is_the_same_one(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    assert await worker.calls.begin(call_of(claim))
    assert await worker.calls.begin(call_of(claim))
    assert not await worker.calls.begin(call_of(claim, key=OTHER_KEY))
    assert len(await worker.calls.calls_of(claim.run_id)) == 1


async def test_of_two_answers_to_one_question_the_first_counts(store: Store) -> None:
    worker = await store.worker()
    first, second = await _two_runs(store)
    for claim in (first, second):
        await worker.calls.begin(call_of(claim))

    await worker.calls.settle(call_of(second), HOLD, 10, shared=True)
    told = await worker.calls.settle(call_of(first), Reply("{}"), 10, shared=True)

    assert told == KnownAnswer(HOLD.text, second.run_id)
    assert await worker.calls.settle(call_of(second), Reply("again"), 10, shared=True) == told


async def test_a_run_that_shares_nothing_has_its_own_answers_only(store: Store) -> None:
    worker = await store.worker()
    first, second = await _two_runs(store)
    for claim, answer in ((first, "first"), (second, "second")):
        await worker.calls.begin(call_of(claim))
        await worker.calls.settle(call_of(claim), Reply(answer), 10, shared=False)

    assert await worker.calls.answers([KEY], second.run_id) == {KEY: KnownAnswer("second", second.run_id)}
    assert await worker.calls.answers([KEY], None) == {KEY: KnownAnswer("first", first.run_id)}


async def test_a_limit_is_of_one_specification(store: Store) -> None:
    worker = await store.worker()
    for _ in range(2):
        await worker.calls.note_limit("ef" * 32, KEY)

    assert await worker.calls.is_limit("ef" * 32, KEY)
    assert not await worker.calls.is_limit("ef" * 32, OTHER_KEY)
    assert not await worker.calls.is_limit("aa" * 32, KEY)


async def test_text_that_a_table_cannot_hold_is_kept_without_it(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.calls.begin(call_of(claim))

    told = await worker.calls.settle(call_of(claim), Reply("a\0b\ud800"), 10, shared=True)

    assert told is not None
    assert "\0" not in told.text
    assert told.text.startswith("a")


async def _two_runs(store: Store) -> tuple[Claim, Claim]:
    worker = await store.worker("other")
    await queue(worker, "a", "b")
    return await claim_one(worker), await claim_one(worker)
