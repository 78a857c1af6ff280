"""What SearchJournal promises of requests and cancels of searches, asked of both stores."""

from typing import Any

import pytest

from consumer.ports import EventKind, StrategyCheck
from consumer.ports.searches import SearchUnchecked
from tests.consumer.search_steps import add_row, kept, lapse, row, searching, set_status, unsent
from tests.consumer.stores import Store
from tests.support.messages import ADMIT, ADMIT_SEARCH, body, requested, search, search_cancel


async def test_a_new_request_becomes_a_pending_row_and_a_queued_search(store: Store) -> None:
    worker = await searching(store)

    result = await worker.record(search("a", seed=3, walk_forward={"train_days": 10, "test_days": 5}, max_workers=2))

    assert result.outcomes == {"accepted": 1}
    [number] = result.new_runs
    made = await row(store, number)
    assert made is not None
    assert (made["status"], made["method"], made["seed"], made["min_trades"]) == ("pending", "grid", 3, 30)
    assert made["timeframe"] == "H1"
    assert made["walk_forward"] == '{"train_days": 10, "test_days": 5, "anchored": false, "purge_days": 0}'
    search_of = await kept(store, number)
    assert (search_of["state"], search_of["max_workers"], search_of["is_named"]) == ("queued", 2, False)
    request = await store.request("a")
    assert request is not None
    assert (request["optimization_id"], request["run_id"], request["outcome"]) == (number, None, "accepted")


async def test_the_same_again_is_a_duplicate_and_other_content_a_dead_letter(store: Store) -> None:
    worker = await searching(store)
    await worker.record(search("a"))

    result = await worker.record(search("a"), search("a", seed=1), search("b"), search("b"), search("b", seed=1))

    assert result.outcomes == {"accepted": 1, "duplicate": 2, "dead_lettered": 2}
    assert [event.kind for event in result.events] == [EventKind.DEAD_LETTER] * 2


async def test_an_id_is_one_for_runs_and_searches(store: Store) -> None:
    worker, runs = await searching(store), await store.worker()
    await worker.record(search("a"))
    await runs.journal.record_batch([requested("b")], [], [], ADMIT)

    of_search = await worker.record(search("b"))
    of_run = await runs.journal.record_batch([requested("a")], [], [], ADMIT)

    assert of_search.outcomes == {"dead_lettered": 1}
    assert of_run.outcomes == {"dead_lettered": 1}


async def test_a_rejection_is_told_once_and_makes_no_row(store: Store) -> None:
    worker = await searching(store)

    result = await worker.record(search("a", symbol="NOSUCH", param_grid={"fast": []}))
    again = await worker.record(search("a", symbol="NOSUCH", param_grid={"fast": []}))

    assert (result.outcomes, again.outcomes) == ({"rejected": 1}, {"duplicate": 1})
    [event] = result.events
    assert (event.kind, event.key) == (EventKind.SEARCH_REJECTED, b"request/a")
    told = body(event.value)
    assert (told["type"], told["optimization_id"], told["symbol"]) == ("optimization.rejected", None, "NOSUCH")
    assert {each["field"]: each["code"] for each in told["error"]["details"]} == {
        "symbol": "unknown_symbol",
        "param_grid.fast": "invalid_request",
    }
    assert await row(store, 1) is None


async def test_a_pending_row_is_the_configuration_and_executes_once(store: Store) -> None:
    worker = await searching(store)
    number = await add_row(store, seed=9)

    first = await worker.record(search("a", optimization_id=number, seed=9))
    second = await worker.record(search("b", optimization_id=number))

    assert first.new_runs == (number,)
    assert body(second.events[0].value)["error"]["code"] == "run_not_pending"
    claim = await worker.claim_one()
    assert claim.specification["search"]["seed"] == 9
    assert (await kept(store, number))["is_named"] is True


@pytest.mark.parametrize(
    ("columns", "event", "expected"),
    [
        ({}, {"seed": 4}, {"seed": "run_disagrees"}),
        ({}, {"param_grid": {"fast": [5]}}, {"param_grid": "run_disagrees"}),
        ({"param_grid": "nonsense"}, {}, {"param_grid": "invalid_request"}),
        ({"param_grid": '{"fast": []}'}, {}, {"param_grid.fast": "invalid_request"}),
        ({"method": "random"}, {}, {"samples": "invalid_request"}),
        ({"walk_forward": '{"train": 3}'}, {}, {"walk_forward.train": "invalid_request"}),
        ({"execution_mode": "guess"}, {}, {"execution_mode": "invalid_request"}),
        ({"volume": 0.123456}, {}, {"volume": "invalid_request"}),
        ({"status": "completed"}, {}, {"optimization_id": "run_not_pending"}),
    ],
)
async def test_a_row_that_does_not_fit_is_rejected_by_column(
    store: Store, columns: dict[str, Any], event: dict[str, Any], expected: dict[str, str]
) -> None:
    worker = await searching(store)
    number = await add_row(store, **columns)

    result = await worker.record(search("a", optimization_id=number, **event))

    details = body(result.events[0].value)["error"]["details"]
    assert {each["field"]: each["code"] for each in details} == expected
    untouched = await row(store, number)
    assert untouched is not None
    assert untouched["status"] == columns.get("status", "pending")


async def test_a_cancel_that_comes_before_its_request_wins(store: Store) -> None:
    worker = await searching(store)
    number = await add_row(store)
    cancels = [search_cancel(request_id="a", reason="too late"), search_cancel(optimization_id=number)]
    assert (await worker.recorder.keep_cancels(cancels)).outcomes == {"cancel_kept": 2}

    by_request = await worker.record(search("a"))
    by_number = await worker.record(search("b", optimization_id=number))

    for result, reason in ((by_request, "too late"), (by_number, "requested")):
        told = body(result.events[-1].value)
        assert (told["type"], told["reason"], told["sequence"]) == ("optimization.cancelled", reason, 1)
    assert (await worker.keeper.claim(5)).claims == ()


async def test_a_number_cancelled_before_a_search_has_it_cancels_only_who_names_it(store: Store) -> None:
    worker = await searching(store)
    [first] = await worker.queue("a")
    guess = await worker.recorder.keep_cancels([search_cancel(optimization_id=first + 1, reason="a guess")])

    result = await worker.record(search("b"))

    assert (guess.events, result.new_runs, result.events) == ((), (first + 1,), ())
    # Now that it stands there, its number is no guess any more.
    told = await worker.recorder.keep_cancels([search_cancel(optimization_id=first + 1, reason="enough")])
    [event] = told.events
    assert (body(event.value)["optimization_id"], body(event.value)["reason"]) == (first + 1, "enough")
    assert (await kept(store, first))["state"] == "queued"


async def test_a_row_cancelled_before_its_request_ends_cancelled(store: Store) -> None:
    worker = await searching(store)
    number = await add_row(store, status="cancelled")

    result = await worker.record(search("a", optimization_id=number))

    assert body(result.events[-1].value)["reason"] == "row"
    assert await unsent(store, number) == [("terminal", 1)]


async def test_what_is_unchecked_is_left_out_with_all_that_repeats_it(store: Store) -> None:
    worker = await searching(store)
    unchecked = SearchUnchecked(StrategyCheck("slow", "{}"))

    result = await worker.recorder.record_searches([search("a"), search("a", seed=1)], lambda *_: unchecked)

    assert (result.outcomes, len(result.unchecked)) == ({}, 2)
    assert await store.request("a") is None


async def test_a_request_whose_strategy_a_client_holds_waits_and_is_decided_later(store: Store) -> None:
    worker = await searching(store)
    async with store.holding_strategy(1):
        result = await worker.record(search("a"))
        assert result.outcomes == {"waiting": 1}
        assert (await worker.recorder.record_waiting(ADMIT_SEARCH)).outcomes == {}
        assert (await worker.record(search("a"))).outcomes == {"duplicate": 1}
        runs = await store.worker()
        assert (await runs.journal.record_waiting(ADMIT)).outcomes == {}

    decided = await worker.recorder.record_waiting(ADMIT_SEARCH)

    assert decided.outcomes == {"accepted": 1}
    assert (await worker.claim_one()).facts.request_id == "a"
    assert (await worker.recorder.record_waiting(ADMIT_SEARCH)).outcomes == {}


async def test_a_change_of_the_row_after_acceptance_does_not_reach_the_search(store: Store) -> None:
    worker = await searching(store)
    [number] = await worker.queue("a")
    await set_status(store, number, "running")
    await lapse(store)

    claim = await worker.claim_one()

    assert claim.specification["engine"]["strategy_params"] == {}
    assert claim.specification["search"]["param_grid"]["fast"] == [5, 10]
