"""What RunQueue promises of the end of a run."""

import asyncio

import pytest

from consumer.errors import StoreUnavailable
from consumer.ports import BeatAnswer, EventKind
from consumer.ports.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from tests.consumer.queue_steps import FAILED, beat, claim_one, queue, queued_and_claimed, status, told
from tests.consumer.stores import PostgresStore, Store
from tests.support.messages import ADMIT, cancel, completed, requested


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
            await worker.journal.record_batch([], [cancel(run_id=claim.run_id, reason="enough")], [], ADMIT)
        case "kept":
            await store.keep_cancel(None, claim.facts.request_id, None)

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
    await worker.journal.record_batch([requested("a", run_id=run_id)], [], [], ADMIT)
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
    cancelled, changed = (await worker.queue.claim(2)).claims
    await worker.journal.record_batch([], [cancel(run_id=cancelled.run_id, reason="enough")], [], ADMIT)
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


async def test_a_sequence_of_trades_at_its_end_fails_no_run(postgres_store: PostgresStore) -> None:
    worker = await postgres_store.worker()
    claim = await queued_and_claimed(worker)
    await postgres_store.outside.execute("ALTER SEQUENCE backtest_trades_id_seq RESTART 2147483647")

    with pytest.raises(StoreUnavailable, match=r"no number left.*backtest_trades_id_seq"):
        await worker.queue.finish(claim, completed(claim, trades=2))

    assert (await postgres_store.execution(claim.run_id))["state"] == "running"
    await postgres_store.outside.execute("ALTER SEQUENCE backtest_trades_id_seq RESTART")
    assert await worker.queue.finish(claim, completed(claim, trades=2)) is not None
    assert await postgres_store.trades(claim.run_id) == 2


async def test_numbers_of_trades_that_another_service_took_by_hand_are_passed_over(
    postgres_store: PostgresStore,
) -> None:
    worker = await postgres_store.worker()
    first, second = await queued_and_claimed(worker, "a"), await queued_and_claimed(worker, "b")
    assert await worker.queue.finish(first, completed(first, trades=50)) is not None
    await postgres_store.outside.execute("ALTER SEQUENCE backtest_trades_id_seq RESTART 10")

    async with asyncio.timeout(10):
        finished = await worker.queue.finish(second, completed(second, trades=3))

    assert finished is not None
    assert isinstance(finished.outcome, Completed)
    assert await postgres_store.trades(second.run_id) == 3
