"""What SearchQueue promises of steps, leases and ends, asked of both stores."""

import asyncio

import asyncpg
import pytest

from consumer.ports import BeatAnswer, EventKind
from consumer.ports.outcomes import Failed
from consumer.ports.searches import Asked, RangeDone, ShardClaim, StepDied, Surveyed
from consumer.rules.searches import ShardState
from tests.consumer.search_steps import (
    Searching,
    best_run,
    change_row,
    delete_row,
    found,
    kept,
    lapse,
    row,
    searching,
    set_status,
    unsent,
)
from tests.consumer.stores import MAX_ATTEMPTS, MemoryStore, PostgresStore, Store
from tests.support.messages import body, search_cancel


async def test_the_first_claim_is_the_survey_and_shows_in_the_row_with_its_started_event(store: Store) -> None:
    worker = await searching(store)
    [number] = await worker.queue("a")

    change = await worker.keeper.claim(3)

    [claim] = change.claims
    assert (claim.kind, claim.epoch, claim.facts.optimization_id, claim.plan) == ("survey", 1, number, {})
    assert claim.specification["search"]["method"] == "grid"
    [event] = change.events
    assert (event.kind, event.key, event.sequence) == (EventKind.STARTED, f"opt-{number}".encode(), 1)
    told = body(event.value)
    assert (told["type"], told["status"], told["attempt"]) == ("optimization.started", "running", 1)
    shown = await row(store, number)
    assert shown is not None
    assert (shown["status"], shown["started_at"] is not None) == ("running", True)


async def test_all_combinations_are_given_out_once_and_counted_once(store: Store) -> None:
    workers = [await searching(store, f"worker {number}") for number in range(3)]
    [number] = await workers[0].queue("a")
    await workers[0].keeper.finish(await workers[0].claim_one(), Surveyed(100, 100, {}))
    taken: list[tuple[int, int]] = []

    async def work(worker: Searching) -> ShardClaim | None:
        while True:
            claims = (await worker.keeper.claim(1)).claims
            if not claims:
                if (await kept(store, number))["done"] == 100:
                    return None
                await asyncio.sleep(0)
                continue
            [claim] = claims
            if claim.kind == "gather":
                return claim
            taken.append((claim.first, claim.last))
            assert await worker.keeper.finish(claim, RangeDone("file", 0, 0.001)) is not None

    gathers = [claim for claim in await asyncio.gather(*map(work, workers)) if claim is not None]

    assert len(gathers) == 1
    covered = sorted(at for first, last in taken for at in range(first, last))
    assert covered == list(range(100))
    assert [(each["first"], each["last"]) for each in gathers[0].results] == sorted(taken)


async def test_a_result_told_twice_is_counted_once(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed()

    await worker.keeper.finish(claim, RangeDone("file", 1, 0.1))
    again = await worker.keeper.finish(claim, RangeDone("file", 1, 0.1))

    assert again is not None
    counts = await kept(store, claim.facts.optimization_id)
    assert (counts["done"], counts["failed"]) == (6, 1)


async def test_a_step_whose_worker_is_gone_is_taken_over_and_its_owner_fenced(store: Store) -> None:
    slow, other = await searching(store, "slow"), await searching(store, "other")
    claim = await slow.surveyed()
    await lapse(store)

    [taken] = (await other.keeper.claim(1, lapsed=await other.keeper.lapsed())).claims

    assert (taken.key, taken.epoch, taken.deaths) == (claim.key, claim.epoch + 1, 1)
    assert (await slow.keeper.beat([claim]))[claim.key].answer is BeatAnswer.FENCED
    assert await slow.keeper.finish(claim, RangeDone("late", 0, 0.1)) is None
    assert await slow.keeper.died(claim, StepDied("late")) is None
    assert await slow.keeper.end(claim, Failed("late", "late")) is None
    assert not await slow.keeper.give_back(claim)
    assert await other.keeper.finish(taken, RangeDone("file", 0, 0.1)) is not None


async def test_without_its_fence_a_step_would_be_counted_twice_but_for_the_tables_own_check(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await searching(store, "slow"), await searching(store, "other")
    claim = await slow.surveyed()
    await lapse(store)
    [taken] = (await other.keeper.claim(1, lapsed=await other.keeper.lapsed())).claims
    await other.keeper.finish(taken, RangeDone("file", 0, 0.1))
    monkeypatch.setattr(ShardState, "is_owned_by", lambda _shard, _claim: True)

    if isinstance(store, PostgresStore):
        with pytest.raises(asyncpg.CheckViolationError):
            await slow.keeper.finish(claim, RangeDone("late", 0, 0.1))
    else:
        await slow.keeper.finish(claim, RangeDone("late", 0, 0.1))
        assert (await kept(store, claim.facts.optimization_id))["done"] == 12


async def test_a_lease_renewed_since_it_was_seen_is_left_alone(store: Store) -> None:
    owner, other = await searching(store, "owner"), await searching(store, "other")
    claim = await owner.surveyed()
    await lapse(store)
    seen = await other.keeper.lapsed()

    assert (await owner.keeper.beat([claim]))[claim.key].answer is BeatAnswer.ALIVE

    assert (await other.keeper.claim(1, lapsed=seen)).claims == ()


async def test_a_range_under_which_workers_die_is_halved_in_the_end(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed()
    for _ in range(MAX_ATTEMPTS - 1):
        await lapse(store)
        [claim] = (await worker.keeper.claim(1, lapsed=await worker.keeper.lapsed())).claims
    await lapse(store)

    assert (await worker.keeper.claim(0, lapsed=await worker.keeper.lapsed())).claims == ()
    halves = (await worker.keeper.claim(2, lapsed=await worker.keeper.lapsed())).claims

    assert sorted((each.first, each.last) for each in halves) == [(0, 3), (3, 6)]
    assert await worker.keeper.finish(claim, RangeDone("late", 0, 0.1)) is None


async def test_a_combination_that_ends_its_process_is_a_result_and_the_search_goes_on(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed()
    number = claim.facts.optimization_id
    pending = [claim]
    while pending[-1].kind == "range":
        claim = pending.pop()
        if claim.first <= 2 < claim.last:
            await worker.keeper.died(claim, StepDied("SIGSEGV", at=2))
        else:
            await worker.keeper.finish(claim, RangeDone("file", 0, 0.1))
        pending.append(await worker.claim_one())

    gather = pending[-1]
    assert gather.kind == "gather"
    errors = {each["first"]: each["error"] for each in gather.results if each["error"]}
    assert list(errors) == [2]
    assert errors[2].startswith(f"crash_loop: gave up after {MAX_ATTEMPTS} deaths")
    counts = await kept(store, number)
    assert (counts["done"], counts["failed"]) == (6, 1)


async def test_slots_are_shared_among_searches_and_max_workers_is_held(store: Store) -> None:
    worker = await searching(store)
    first, second = await worker.queue("a", "b", max_workers=1)
    for _ in range(2):
        await worker.keeper.finish(await worker.claim_one(), Surveyed(1000, 1000, {}))

    claims = (await worker.keeper.claim(4)).claims

    assert sorted(claim.facts.optimization_id for claim in claims) == [first, second]
    assert await worker.keeper.open_searches() == 0
    await worker.keeper.finish(claims[0], RangeDone("file", 0, 0.1))
    assert await worker.keeper.open_searches() == 1


async def test_tpe_asks_for_its_next_batch_when_the_one_before_is_counted(store: Store) -> None:
    worker = await searching(store)
    await worker.queue("a", method="tpe", samples=20)
    await worker.keeper.finish(await worker.claim_one(), Surveyed(20, 16, {"batch": 0}))
    kinds = []
    claim = await worker.claim_one()
    for _ in range(20):
        kinds.append((claim.kind, claim.first, claim.last))
        if claim.kind == "ask":
            assert [each["last"] for each in claim.results][-1] == 16
            await worker.keeper.finish(claim, Asked(20, 20, {"batch": 1}))
        elif claim.kind == "range":
            await worker.keeper.finish(claim, RangeDone("file", 0, 0.01))
        else:
            break
        claim = await worker.claim_one()
    assert [kind for kind, *_ in kinds][-1] == "gather"
    assert ("ask", 0, 0) in kinds
    assert claim.plan == {"batch": 1}


async def test_a_step_given_back_is_taken_again_without_a_death(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed()

    assert await worker.keeper.give_back(claim)

    again = await worker.claim_one()
    assert (again.key, again.epoch, again.deaths) == (claim.key, claim.epoch + 1, 0)


async def test_steps_whose_claim_nobody_knows_of_are_forgotten(store: Store) -> None:
    worker, other = await searching(store), await searching(store, "other")
    claim = await worker.surveyed()

    assert await other.keeper.forget_unknown([]) == 0
    assert await worker.keeper.forget_unknown([claim.key]) == 0
    assert await worker.keeper.forget_unknown([]) == 1
    assert (await other.claim_one()).key == claim.key


async def test_progress_is_told_in_order_and_replaced_while_it_is_unsent(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed(total=1000)
    number = claim.facts.optimization_id

    first = await worker.keeper.finish(claim, RangeDone("file", 0, 8.0, 1.5, {"fast": 5}))
    second = await worker.keeper.finish(await worker.claim_one(), RangeDone("file", 0, 1.0, 1.0, {"fast": 10}))

    assert first is not None
    assert second is not None
    told = body(second.events[-1].value)
    assert told["type"] == "optimization.progress"
    assert told["combinations_total"] == 1000
    assert told["combinations_done"] == (await kept(store, number))["done"]
    assert (told["best_value"], told["best_params"]) == (1.5, {"fast": 5})
    assert second.events[-1].sequence == first.events[-1].sequence + 1
    waiting = await unsent(store, number)
    assert [kind for kind, _ in waiting] == ["started", "progress"]
    shown = await row(store, number)
    assert shown is not None
    assert (shown["total_combinations"], shown["completed_combinations"]) == (1000, told["combinations_done"])


async def test_progress_is_told_no_more_often_than_asked_for(store: Store) -> None:
    worker = await searching(store, progress_seconds=3600.0)
    claim = await worker.surveyed(total=1000)

    change = await worker.keeper.finish(claim, RangeDone("file", 0, 8.0))

    assert change is not None
    assert change.events == ()


async def test_the_end_is_one_write_of_row_best_run_and_terminal_event(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering()
    number = claim.facts.optimization_id
    run_id = await worker.keeper.best_run_id(claim)
    assert run_id is not None

    change = await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))

    assert change is not None
    [ended] = change.ended
    assert ended.outcome == "completed"
    terminal = change.events[-1]
    told = body(terminal.value)
    assert (terminal.kind, told["type"]) == (EventKind.TERMINAL, "optimization.completed")
    assert (told["best_run_id"], told["best_params"]) == (run_id, {"fast": 5, "slow": 20})
    assert [kind for kind, _ in await unsent(store, number)] == ["started", "terminal"]
    shown = await row(store, number)
    assert shown is not None
    assert (shown["status"], shown["progress_pct"], shown["best_run_id"]) == ("completed", 100, run_id)
    assert shown["statistics"] == '{"trials": 6}'
    assert shown["completed_at"] is not None
    best = await store.run(run_id)
    assert best is not None
    assert (best["status"], await store.trades(run_id)) == ("completed", 2)
    assert await worker.keeper.open_searches() == 0


async def test_the_best_run_has_one_number_however_often_it_is_begun(store: Store) -> None:
    worker, other = await searching(store), await searching(store, "other")
    claim = await worker.gathering()
    run_id = await worker.keeper.best_run_id(claim)
    assert await worker.keeper.give_back(claim)
    again = await other.claim_one()

    assert (run_id, await other.keeper.best_run_id(again)) == (run_id, run_id)
    assert await worker.keeper.best_run_id(claim) is None  # fenced


async def test_an_end_told_twice_writes_nothing_more(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering()
    run_id = await worker.keeper.best_run_id(claim)
    assert run_id is not None
    await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))

    again = await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))

    assert again is not None
    assert again.ended == ()
    assert [event.kind for event in again.events] == [EventKind.STARTED, EventKind.TERMINAL]
    assert await store.runs() == [run_id]


async def test_a_failure_ends_the_search_with_its_message_and_without_results(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.surveyed()

    change = await worker.keeper.end(claim, Failed("no_data", "there are no bars"))

    assert change is not None
    told = body(change.events[-1].value)
    assert (told["type"], told["error"]["code"]) == ("optimization.failed", "no_data")
    shown = await row(store, claim.facts.optimization_id)
    assert shown is not None
    assert (shown["status"], shown["error_message"]) == ("failed", "no_data: there are no bars")
    assert (shown["best_params"], shown["statistics"], shown["results"]) == (None, None, None)


async def test_a_search_whose_survey_kills_its_process_each_time_fails(store: Store) -> None:
    worker = await searching(store)
    await worker.queue("a")
    changes = [await worker.keeper.died(await worker.claim_one(), StepDied("SIGKILL")) for _ in range(MAX_ATTEMPTS)]
    change = changes[-1]
    assert change is not None
    assert [ended.outcome for ended in change.ended] == ["failed"]
    assert body(change.events[-1].value)["error"]["code"] == "crash_loop"


@pytest.mark.parametrize("how", ["number", "request", "row", "deletion", "strategy"])
async def test_a_cancel_reaches_whoever_is_at_work_and_ends_the_search_once(store: Store, how: str) -> None:
    worker, other = await searching(store), await searching(store, "other")
    claim = await worker.surveyed(total=1000)
    number = claim.facts.optimization_id
    reason = {"row": "row"}.get(how, "run_deleted")
    match how:
        case "number":
            await other.recorder.keep_cancels([search_cancel(optimization_id=number, reason="enough")])
        case "request":
            await other.recorder.keep_cancels([search_cancel(request_id="search-1", reason="enough")])
        case "row":
            await set_status(store, number, "cancelled")
        case "deletion":
            await delete_row(store, number)
        case _:
            await store.delete_strategy(1)

    found_out = (await worker.keeper.cancels_wanted([claim]))[claim.key]
    change = await other.keeper.sweep()

    # A cancel by event has ended the search where it was recorded; by then its owner is fenced.
    assert found_out.answer in {BeatAnswer.CANCEL, BeatAnswer.FENCED}
    assert await worker.keeper.finish(claim, RangeDone("late", 0, 0.1)) is None
    state = await kept(store, number)
    assert state["state"] == "cancelled"
    if how not in {"number", "request"}:
        assert body(change.events[-1].value)["reason"] == reason
    assert [kind for kind, _ in await unsent(store, number)] == ["started", "terminal"]
    assert (await other.keeper.sweep()).ended == ()
    assert (await worker.keeper.claim(3)).claims == ()


async def test_a_cancel_that_comes_while_the_result_is_written_wins(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering()
    await set_status(store, claim.facts.optimization_id, "cancelled")
    run_id = await worker.keeper.best_run_id(claim)
    assert run_id is not None

    change = await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))

    assert change is not None
    assert body(change.events[-1].value)["reason"] == "row"
    assert await store.run(run_id) is None
    shown = await row(store, claim.facts.optimization_id)
    assert shown is not None
    assert (shown["best_params"], shown["completed_combinations"]) == (None, 6)


async def test_a_row_changed_since_its_request_has_no_results_of_another_configuration(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering()
    number = claim.facts.optimization_id
    await change_row(store, number, initial_balance=5.0, param_grid='{"fast": [9]}')

    change = await worker.keeper.end(claim, found())

    assert change is not None
    told = body(change.events[-1].value)
    assert (told["status"], told["error"]["code"]) == ("failed", "run_disagrees")
    assert {each["field"] for each in told["error"]["details"]} == {"initial_balance", "param_grid"}
    shown = await row(store, number)
    assert shown is not None
    assert shown["best_params"] is None


async def test_trials_before_are_those_of_the_same_strategy_and_symbol_on_overlapping_ranges(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering(name="first")
    run_id = await worker.keeper.best_run_id(claim)
    assert run_id is not None
    await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))
    await store.add_run(status="completed")
    await store.add_run(status="completed", symbol="GBPUSD")
    await store.add_run(status="failed")
    await store.add_run(
        status="completed", start_date="2020-01-01T00:00:00+00:00", end_date="2020-02-01T00:00:00+00:00"
    )
    same_code = await store.add_strategy()
    await store.add_run(status="completed", strategy_id=same_code)
    if isinstance(store, MemoryStore):
        store.tables.clock.advance(1.0)

    [later] = await worker.queue("second")
    claim = await worker.claim_one()

    assert claim.facts.optimization_id == later
    assert await worker.keeper.trials_before(claim) == 6 + 2
