"""What RunQueue promises, asked of the real one and of the one in memory."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.outcomes import Cancelled, Failed, TerminalOutcome
from consumer.ports import Beat, BeatAnswer, BeatResult, Claim, EngineProgress, EventKind, OutgoingEvent
from tests.consumer.messages import ADMIT, body, cancel, completed, event_writer, requested
from tests.ports.stores import MAX_ATTEMPTS, Store, WorkerPorts

FAILED = Failed("no_data", "there are no bars")


async def queue(worker: WorkerPorts, *names: str, source: str = "upstream") -> list[int]:
    """Queue a run of each request id; the run ids."""
    batch = [requested(name, source=source) for name in names]
    return list((await worker.ledger.record_batch(batch, [], [], ADMIT)).new_runs)


async def claim_one(worker: WorkerPorts, *, expired: bool = False) -> Claim:
    [claim] = (await worker.queue.claim(1, expired=expired)).claims
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


# --- claim ----------------------------------------------------------------------------------------------------------


async def test_a_claim_shows_in_the_row_and_brings_its_started_event(store: Store) -> None:
    worker = await store.worker()
    [run_id] = await queue(worker, "a")

    claim = await claim_one(worker)

    assert (claim.run_id, claim.epoch, claim.attempt, claim.deaths, claim.sequence) == (run_id, 1, 1, 0, 1)
    assert claim.specification["symbol"] == "EURUSD"
    [event] = claim.events
    assert (event.kind, event.sequence, event.row_id > 0) == (EventKind.STARTED, 1, True)
    assert (told(event)["type"], told(event)["attempt"]) == ("backtest.started", 1)
    assert await status(store, run_id) == ("running", 0)
    assert await store.unsent() == [("started", run_id, 1, "worker")]


async def test_claims_take_no_more_than_asked_for_and_nothing_twice(store: Store) -> None:
    worker = await store.worker()
    runs = await queue(worker, *"abcde")

    first = await worker.queue.claim(3, expired=True)
    second = await worker.queue.claim(3, expired=True)
    none = await worker.queue.claim(0, expired=True)

    assert [claim.run_id for claim in (*first.claims, *second.claims)] == runs
    assert none.claims == ()


async def test_no_run_is_claimed_by_two_of_many_concurrent_workers(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(6)]
    runs = await queue(workers[0], *(f"request-{number}" for number in range(120)))

    async def claim_until_empty(worker: WorkerPorts) -> list[Claim]:
        claims: list[Claim] = []
        while found := (await worker.queue.claim(5, expired=True)).claims:
            claims += found
        return claims

    taken = await asyncio.gather(*(claim_until_empty(worker) for worker in workers))

    assert sorted(claim.run_id for claims in taken for claim in claims) == runs
    assert all(claim.epoch == 1 for claims in taken for claim in claims)


async def test_a_claim_never_waits_for_a_row_that_a_client_holds(store: Store) -> None:
    worker = await store.worker()
    held, free = await queue(worker, "a", "b")

    async with store.holding(held), asyncio.timeout(5):
        meanwhile = (await worker.queue.claim(5, expired=True)).claims
    afterwards = (await worker.queue.claim(5, expired=True)).claims

    assert [claim.run_id for claim in meanwhile] == [free]
    assert [claim.run_id for claim in afterwards] == [held]


async def test_a_lapsed_lease_is_claimed_first_and_counts_as_a_death(store: Store) -> None:
    dead, alive = await store.worker("dead"), await store.worker("alive")
    first = await queued_and_claimed(dead, "a")
    await queue(alive, "b")
    await store.lapse()

    claim = await claim_one(alive, expired=True)

    assert (claim.run_id, claim.epoch, claim.attempt, claim.deaths) == (first.run_id, 2, 2, 1)
    assert [(event.kind, event.sequence) for event in claim.events] == [
        (EventKind.STARTED, 1),
        (EventKind.STARTED, 2),
    ], "the dead worker's unsent events come along, lower ones first"
    assert {owner for _, _, _, owner in await store.unsent()} == {"alive"}


async def test_lapsed_leases_are_left_alone_unless_they_are_asked_for(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queued_and_claimed(worker)
    await store.lapse()

    assert (await other.queue.claim(5, expired=False)).claims == ()


async def test_a_live_lease_is_not_claimed(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queued_and_claimed(worker)

    assert (await other.queue.claim(5, expired=True)).claims == ()


async def test_a_worker_does_not_claim_what_it_executes_itself(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await store.lapse()

    assert (await worker.queue.claim(5, expired=True, held=[claim.run_id])).claims == ()
    assert (await beat(worker, claim)).answer is BeatAnswer.ALIVE


async def test_a_run_whose_worker_is_gone_too_often_fails_with_crash_loop(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    for _ in range(MAX_ATTEMPTS - 1):
        await store.lapse()
        claim = await claim_one(worker, expired=True)
    await store.lapse()

    result = await worker.queue.claim(5, expired=True)

    assert result.claims == ()
    assert [(ended.run_id, ended.outcome) for ended in result.ended] == [(claim.run_id, "failed")]
    assert told(result.events[-1])["error"]["code"] == "crash_loop"
    run = await store.run(claim.run_id)
    assert run is not None
    assert (run["status"], run["error_message"][:11]) == ("failed", "crash_loop:")
    assert await worker.queue.finish(claim, completed(claim)) is None, "its last worker is fenced"


async def test_a_new_attempt_starts_again_from_no_progress(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await beat(worker, claim, 2, 40)
    await store.lapse()

    await claim_one(worker, expired=True)

    assert await status(store, claim.run_id) == ("running", 0)


async def test_runs_that_are_cancelled_or_gone_are_not_claimed(store: Store) -> None:
    worker = await store.worker()
    by_row, deleted, left = await queue(worker, "a", "b", "c")
    await store.change_run(by_row, status="cancelled")
    await store.delete_run(deleted)

    assert [claim.run_id for claim in (await worker.queue.claim(5, expired=True)).claims] == [left]


# --- heartbeat ------------------------------------------------------------------------------------------------------


async def test_a_heartbeat_renews_a_lease_that_lapsed_with_nobody_claiming(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    claim = await queued_and_claimed(worker)
    await store.lapse()

    assert (await beat(worker, claim)).answer is BeatAnswer.ALIVE
    assert (await other.queue.claim(5, expired=True)).claims == ()


async def test_a_heartbeat_under_a_lower_epoch_is_fenced_and_writes_nothing(store: Store) -> None:
    old, new = await store.worker("old"), await store.worker("new")
    stale = await queued_and_claimed(old)
    await store.lapse()
    claim = await claim_one(new, expired=True)
    before = (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent())

    result = await beat(old, stale, 99, 90)

    assert (result.answer, result.event) == (BeatAnswer.FENCED, None)
    assert (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent()) == before


async def test_a_heartbeat_of_a_run_that_went_back_to_the_queue_is_fenced_and_writes_nothing(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.give_back(claim, died=False)
    before = (await store.execution(claim.run_id), await store.unsent())

    result = await beat(worker, claim, 2, 50)

    assert result.answer is BeatAnswer.FENCED
    assert (await store.execution(claim.run_id), await store.unsent()) == before


async def test_a_heartbeat_of_an_ended_run_is_fenced_and_leaves_no_progress_behind(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, completed(claim))

    assert (await beat(worker, claim, 7, 50)).answer is BeatAnswer.FENCED
    assert [kind for kind, *_ in await store.unsent()] == ["started", "terminal"]
    assert await status(store, claim.run_id) == ("completed", 100)


async def test_unsent_progress_is_replaced_so_that_a_run_has_one_progress_row(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    first = await beat(worker, claim, 2, 10)
    second = await beat(worker, claim, 3, 20)

    assert first.event is not None
    assert second.event is not None
    assert (second.event.row_id, second.event.sequence) == (first.event.row_id, 3)
    assert [(kind, sequence) for kind, _, sequence, _ in await store.unsent()] == [("started", 1), ("progress", 3)]
    assert (await store.execution(claim.run_id))["sequence"] == 3
    assert await status(store, claim.run_id) == ("running", 20)


async def test_progress_never_falls_within_an_attempt(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    await beat(worker, claim, 2, 60)
    await beat(worker, claim, 3, 30)

    assert await status(store, claim.run_id) == ("running", 60)


async def test_a_heartbeat_does_not_wait_for_a_row_that_a_client_holds(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    async with store.holding(claim.run_id), asyncio.timeout(5):
        result = await beat(worker, claim, 2, 40)

    assert (result.answer, result.event is not None) == (BeatAnswer.ALIVE, True)
    finished = await worker.queue.finish(claim, FAILED)
    assert finished is not None
    assert told(finished.events[-1])["progress_pct"] == 40, "not below what the progress event said"


@pytest.mark.parametrize("how", ["row", "deleted"])
async def test_a_run_that_is_cancelled_has_at_the_end_the_progress_that_its_events_told(store: Store, how: str) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await (store.change_run(claim.run_id, status="cancelled") if how == "row" else store.delete_run(claim.run_id))
    await beat(worker, claim, 2, 60)
    await worker.queue.give_back(claim, died=True)

    [event] = [each for each in (await worker.queue.sweep()).events if each.kind is EventKind.TERMINAL]

    assert (told(event)["progress_pct"], told(event)["attempt"]) == (60, 1)
    assert how == "deleted" or await status(store, claim.run_id) == ("cancelled", 60)


async def test_one_statement_beats_for_all_runs_and_answers_each(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, *"abc")
    alive, fenced, cancelled = (await worker.queue.claim(3, expired=False)).claims
    await store.lapse(fenced.run_id)
    await claim_one(other, expired=True)
    await worker.ledger.record_batch([], [cancel(run_id=cancelled.run_id, reason="why not")], [], ADMIT)

    answers = await worker.queue.beat([beat_of(each, 5, 10) for each in (cancelled, fenced, alive)])

    assert {run_id: answer.answer for run_id, answer in answers.items()} == {
        alive.run_id: BeatAnswer.ALIVE,
        fenced.run_id: BeatAnswer.FENCED,
        cancelled.run_id: BeatAnswer.CANCEL,
    }
    assert answers[cancelled.run_id].reason == "why not"


async def test_no_heartbeats_ask_nothing(store: Store) -> None:
    worker = await store.worker()

    assert await worker.queue.beat([]) == {}
    assert await worker.queue.cancels_wanted([]) == {}


# --- cancels --------------------------------------------------------------------------------------------------------


async def test_a_running_run_learns_every_way_of_being_cancelled(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, *"abcdefg")
    claims = (await worker.queue.claim(7, expired=False)).claims
    by_event, by_request, by_row, deleted, raced, fenced, left = claims
    await worker.ledger.record_batch(
        [], [cancel(run_id=by_event.run_id, reason="enough"), cancel(request_id="b")], [], ADMIT
    )
    await store.change_run(by_row.run_id, status="cancelled")
    await store.delete_run(deleted.run_id)
    await store.keep_cancel(None, raced.facts.request_id, None)
    await store.lapse(fenced.run_id)
    await claim_one(other, expired=True)

    answers = await worker.queue.cancels_wanted(claims)

    wanted = {run_id: each.reason for run_id, each in answers.items() if each.answer is BeatAnswer.CANCEL}
    assert wanted == {
        by_event.run_id: "enough",
        by_request.run_id: "requested",
        by_row.run_id: "row",
        deleted.run_id: "run_deleted",
        raced.run_id: "requested",
    }
    assert answers[fenced.run_id].answer is BeatAnswer.FENCED
    assert answers.get(left.run_id, BeatResult(BeatAnswer.ALIVE)).answer is BeatAnswer.ALIVE


async def test_asking_for_cancels_writes_nothing_and_waits_for_nobody(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    before = await store.execution(claim.run_id)

    async with store.holding(claim.run_id), asyncio.timeout(5):
        await worker.queue.cancels_wanted([claim])

    assert await store.execution(claim.run_id) == before


# --- finish ---------------------------------------------------------------------------------------------------------


async def test_a_finish_writes_row_trades_and_terminal_event_and_drops_unsent_progress(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await beat(worker, claim, 2, 50)

    finished = await worker.queue.finish(claim, completed(claim, trades=3))

    assert finished is not None
    run = await store.run(claim.run_id)
    assert run is not None
    assert (run["status"], run["progress_pct"], run["total_trades"], run["win_rate"]) == ("completed", 100, 3, 0.5)
    assert (run["profit_factor"], run["error_message"]) == (None, None)
    assert run["data_file_path"] == "/artifacts/bars/ab.csv"
    assert await store.trades(claim.run_id) == 3
    assert [(event.kind, event.sequence) for event in finished.events] == [
        (EventKind.STARTED, 1),
        (EventKind.TERMINAL, 3),
    ]
    assert (told(finished.events[-1])["type"], told(finished.events[-1])["progress_pct"]) == ("backtest.completed", 100)
    assert [(kind, sequence) for kind, _, sequence, _ in await store.unsent()] == [("started", 1), ("terminal", 3)]
    assert (await store.execution(claim.run_id))["state"] == "completed"


async def test_a_failed_run_has_its_message_in_the_row_no_figures_and_no_trades(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await beat(worker, claim, 2, 30)

    finished = await worker.queue.finish(claim, Failed("strategy_error", "text with NUL \0 and \ud800 half a pair"))

    assert finished is not None
    run = await store.run(claim.run_id)
    assert run is not None
    assert (run["status"], run["total_trades"], run["progress_pct"]) == ("failed", None, 30)
    assert run["error_message"].startswith("strategy_error: text with NUL ")
    error = told(finished.events[-1])["error"]
    assert (error["code"], error["message"]) == ("strategy_error", "text with NUL \0 and \ud800 half a pair")
    assert told(finished.events[-1])["progress_pct"] == 30


@pytest.mark.parametrize(
    ("by", "reason"), [("row", "row"), ("deleted", "run_deleted"), ("event", "enough"), ("kept", "requested")]
)
async def test_a_cancel_that_comes_before_the_finish_wins_and_drops_the_results(
    store: Store, by: str, reason: str
) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    match by:
        case "row":
            await store.change_run(claim.run_id, status="cancelled")
        case "deleted":
            await store.delete_run(claim.run_id)
        case "event":
            await worker.ledger.record_batch([], [cancel(run_id=claim.run_id, reason="enough")], [], ADMIT)
        case "kept":
            await store.keep_cancel(claim.run_id, None, None)

    finished = await worker.queue.finish(claim, completed(claim))

    assert finished is not None
    assert finished.outcome == Cancelled(reason)
    assert (told(finished.events[-1])["type"], told(finished.events[-1])["reason"]) == ("backtest.cancelled", reason)
    assert await store.trades(claim.run_id) == 0
    assert (await store.execution(claim.run_id))["state"] == "cancelled"
    run = await store.run(claim.run_id)
    assert (
        run is None
        if by == "deleted"
        else run is not None
        and (run["status"], run["total_trades"])
        == (
            "cancelled",
            None,
        )
    )


async def test_deleting_the_strategy_cancels_its_runs(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await store.delete_strategy(1)

    finished = await worker.queue.finish(claim, completed(claim))

    assert finished is not None
    assert finished.outcome == Cancelled("run_deleted")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("symbol", "GBPUSD"),
        ("timeframe", "M15"),
        ("start_date", "2024-01-02T00:00:00+00:00"),
        ("end_date", "2024-03-01T00:00:00+00:00"),
        ("initial_balance", 10_000.000001),
        ("spread_pips", 2.0),
        ("execution_mode", "next_open"),
        ("commission_per_lot", 7.0),
        ("tp_partial_close_ratio", 0.25),
        ("context_tfs", '["H4"]'),
        ("context_tfs", "not JSON"),
        ("strategy_id", 2),
    ],
)
async def test_a_row_whose_configuration_was_changed_carries_no_figures_of_the_old_one(
    store: Store, column: str, value: object
) -> None:
    worker = await store.worker()
    await store.add_strategy()
    claim = await queued_and_claimed(worker)
    await store.change_run(claim.run_id, **{column: value})

    finished = await worker.queue.finish(claim, completed(claim))

    assert finished is not None
    error = told(finished.events[-1])["error"]
    assert (error["code"], [problem["field"] for problem in error["details"]]) == ("run_disagrees", [column])
    assert column in error["message"]
    run = await store.run(claim.run_id)
    assert run is not None
    assert (run["status"], run["total_trades"], await store.trades(claim.run_id)) == ("failed", None, 0)


@pytest.mark.parametrize("changed", [{"primary_tf": "D1"}, {"max_llm_calls": 5}, {"context_tfs": " [ ] "}, {}])
async def test_a_row_that_says_the_same_in_what_decides_figures_completes(
    store: Store, changed: dict[str, object]
) -> None:
    worker = await store.worker()
    run_id = await store.add_run(initial_balance=0.1 + 0.2, spread_pips=1e-17, start_date="2024-01-01T02:00:00+02:00")
    await worker.ledger.record_batch([requested("a", run_id=run_id)], [], [], ADMIT)
    claim = await claim_one(worker)
    if changed:
        await store.change_run(run_id, **changed)

    finished = await worker.queue.finish(claim, completed(claim))

    assert finished is not None
    assert finished.outcome == completed(claim)


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
async def test_finishing_again_under_the_same_epoch_gives_the_first_events_again(store: Store, outcome: str) -> None:
    """The answer to a commit was lost, so the worker asks again."""
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    outcomes: dict[str, TerminalOutcome] = {
        "completed": completed(claim),
        "failed": FAILED,
        "cancelled": Cancelled("enough"),
    }
    what = outcomes[outcome]
    first = await worker.queue.finish(claim, what)
    assert first is not None

    again = await worker.queue.finish(claim, what)

    assert again is not None
    assert (type(again.outcome), again.events) == (type(what), first.events)
    assert await store.trades(claim.run_id) == (2 if outcome == "completed" else 0)
    assert len(await store.unsent()) == len(first.events)


async def test_finishing_again_tells_how_the_run_really_ended(store: Store) -> None:
    worker = await store.worker()
    await queue(worker, "a", "b")
    cancelled, changed = (await worker.queue.claim(2, expired=False)).claims
    await worker.ledger.record_batch([], [cancel(run_id=cancelled.run_id, reason="enough")], [], ADMIT)
    await store.change_run(changed.run_id, spread_pips=9.0)
    for claim in (cancelled, changed):
        await worker.queue.finish(claim, completed(claim))

    again = [await worker.queue.finish(claim, completed(claim)) for claim in (cancelled, changed)]

    assert again[0] is not None
    assert again[0].outcome == Cancelled("enough")
    assert again[1] is not None
    assert isinstance(again[1].outcome, Failed)
    assert again[1].outcome.code == "run_disagrees"


async def test_a_finish_under_a_lower_epoch_writes_nothing(store: Store) -> None:
    old, new = await store.worker("old"), await store.worker("new")
    stale = await queued_and_claimed(old)
    await store.lapse()
    claim = await claim_one(new, expired=True)
    before = (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent())

    for outcome in (completed(stale), FAILED, Cancelled("no")):
        assert await old.queue.finish(stale, outcome) is None

    assert (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent()) == before
    assert await store.trades(claim.run_id) == 0
    assert await new.queue.finish(claim, completed(claim)) is not None
    assert await old.queue.finish(stale, completed(stale)) is None
    assert await store.trades(claim.run_id) == 2


async def test_a_finish_of_a_run_that_was_given_back_writes_nothing(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.give_back(claim, died=False)

    assert await worker.queue.finish(claim, completed(claim)) is None
    assert (await store.execution(claim.run_id))["state"] == "queued"
    assert (await status(store, claim.run_id), await store.trades(claim.run_id)) == (("pending", 0), 0)


async def test_a_finish_that_the_store_refuses_leaves_nothing_behind(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    before = (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent())

    with pytest.raises(Exception):  # noqa: B017, PT011 - each store has its own word for a row that is none
        await worker.queue.finish(claim, completed(claim, trades_csv=b"no trade\n"))

    assert (await store.execution(claim.run_id), await store.run(claim.run_id), await store.unsent()) == before
    assert await worker.queue.finish(claim, completed(claim)) is not None


async def test_a_finish_waits_for_a_client_that_holds_the_row_and_heeds_what_it_wrote(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    async with store.holding(claim.run_id):
        finishing = asyncio.create_task(worker.queue.finish(claim, completed(claim)))
        await asyncio.wait([finishing], timeout=0.1)
        assert not finishing.done()
        assert (await beat(worker, claim)).answer is BeatAnswer.ALIVE, "its heartbeat goes on"
    finished = await finishing

    assert finished is not None
    assert await store.trades(claim.run_id) == 2


# --- back to the queue ----------------------------------------------------------------------------------------------


async def test_a_run_given_back_stands_at_its_old_place_and_no_death_is_counted(store: Store) -> None:
    worker = await store.worker()
    first, second = await queue(worker, "a", "b")
    claim = await claim_one(worker)

    assert await worker.queue.give_back(claim, died=False)

    assert await status(store, first) == ("pending", 0)
    again, other = (await worker.queue.claim(2, expired=False)).claims
    assert [(each.run_id, each.epoch, each.attempt, each.deaths) for each in (again, other)] == [
        (first, 2, 2, 0),
        (second, 1, 1, 0),
    ]


async def test_a_death_of_the_child_is_counted_when_its_run_is_given_back(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)

    await worker.queue.give_back(claim, died=True)

    assert (await claim_one(worker)).deaths == 1


async def test_only_the_owner_can_give_a_run_back(store: Store) -> None:
    old, new = await store.worker("old"), await store.worker("new")
    stale = await queued_and_claimed(old)
    await store.lapse()
    claim = await claim_one(new, expired=True)

    assert not await old.queue.give_back(stale, died=True)
    assert (await store.execution(claim.run_id))["state"] == "running"
    assert await new.queue.give_back(claim, died=False)
    assert not await new.queue.give_back(claim, died=False)


async def test_runs_that_a_worker_owns_without_knowing_go_back_to_the_queue(store: Store) -> None:
    worker, other = await store.worker("worker"), await store.worker("other")
    await queue(worker, "a", "b", "c")
    known, lost = (await worker.queue.claim(2, expired=False)).claims
    foreign = await claim_one(other)

    assert await worker.queue.forget_unknown([known.run_id]) == 1

    states = [(await store.execution(claim.run_id))["state"] for claim in (known, lost, foreign)]
    assert states == ["running", "queued", "running"]
    again = await claim_one(other)
    assert (again.run_id, again.deaths) == (lost.run_id, 0)


# --- sweep ----------------------------------------------------------------------------------------------------------


async def test_a_sweep_ends_queued_runs_that_are_cancelled_in_any_way_without_a_slot(store: Store) -> None:
    worker = await store.worker()
    by_row, deleted, raced_by_run, raced_by_request, left = await queue(worker, *"abcde")
    await store.change_run(by_row, status="cancelled")
    await store.delete_run(deleted)
    await store.keep_cancel(raced_by_run, None, "enough")
    await store.keep_cancel(None, "d", None)

    result = await worker.queue.sweep()

    assert {told(event)["run_id"]: told(event)["reason"] for event in result.events} == {
        by_row: "row",
        deleted: "run_deleted",
        raced_by_run: "enough",
        raced_by_request: "requested",
    }
    assert sorted(ended.run_id for ended in result.ended) == sorted([by_row, deleted, raced_by_run, raced_by_request])
    assert {ended.outcome for ended in result.ended} == {"cancelled"}
    assert (await store.execution(left))["state"] == "queued"
    assert (await worker.queue.sweep()).ended == ()


async def test_a_sweep_ends_a_cancelled_run_whose_worker_is_gone_and_fences_it(store: Store) -> None:
    gone, alive = await store.worker("gone"), await store.worker("alive")
    claim = await queued_and_claimed(gone)
    await store.change_run(claim.run_id, status="cancelled")
    assert (await alive.queue.sweep()).ended == (), "its worker will hear of it"
    await store.lapse()

    result = await alive.queue.sweep()

    assert [(event.kind, event.sequence) for event in result.events] == [
        (EventKind.STARTED, 1),
        (EventKind.TERMINAL, 2),
    ]
    assert (await beat(gone, claim)).answer is BeatAnswer.FENCED
    assert await gone.queue.finish(claim, completed(claim)) is None


async def test_concurrent_sweeps_end_each_run_once(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(4)]
    runs = await queue(workers[0], *(f"request-{number}" for number in range(40)))
    for run_id in runs:
        await store.change_run(run_id, status="cancelled")

    results = await asyncio.gather(*(worker.queue.sweep() for worker in workers))
    results.append(await workers[0].queue.sweep())

    assert sorted(ended.run_id for result in results for ended in result.ended) == runs
    assert [kind for kind, *_ in await store.unsent()] == ["terminal"] * 40


async def test_a_sweep_leaves_rows_that_a_client_holds_to_the_next_one(store: Store) -> None:
    worker = await store.worker()
    [run_id] = await queue(worker, "a")
    await store.change_run(run_id, status="cancelled")

    async with store.holding(run_id), asyncio.timeout(5):
        assert (await worker.queue.sweep()).ended == ()
    assert [ended.run_id for ended in (await worker.queue.sweep()).ended] == [run_id]
