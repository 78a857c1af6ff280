"""What RequestJournal promises, asked of the real one and of the one in memory."""

import asyncio
from typing import Any

import pytest

from consumer.errors import StoreUnavailable
from consumer.ports import (
    BeatAnswer,
    Decision,
    EventKind,
    IntakeResult,
    OutgoingEvent,
    RequestToRecord,
    StrategyCheck,
    Unchecked,
)
from consumer.ports.outcomes import Completed
from tests.consumer.stores import PostgresStore, Store, WorkerPorts
from tests.support.messages import ADMIT, STRATEGY, body, cancel, completed, event_writer, raw_record, requested


async def record(worker: WorkerPorts, *requests: RequestToRecord, **others: Any) -> IntakeResult:
    return await worker.journal.record_batch(requests, others.get("cancels", ()), others.get("dead_letters", ()), ADMIT)


def kinds(events: tuple[OutgoingEvent, ...]) -> list[EventKind]:
    return [event.kind for event in events]


async def test_a_new_request_becomes_a_pending_row_a_queued_execution_and_no_event(store: Store) -> None:
    worker = await store.worker()

    result = await record(worker, requested("a", spread_pips=2.0))

    [run_id] = result.new_runs
    run = await store.run(run_id)
    assert run is not None
    assert (run["status"], run["symbol"], run["timeframe"], run["primary_tf"]) == ("pending", "EURUSD", "H1", "H1")
    assert (run["spread_pips"], run["initial_balance"], run["max_llm_calls"]) == (2.0, 10_000.0, 100)
    assert (await store.execution(run_id))["state"] == "queued"
    assert (result.outcomes, result.events) == ({"accepted": 1}, ())
    assert await worker.journal.queued_count() == 1


async def test_a_request_seen_with_the_same_content_is_a_duplicate_and_writes_nothing(store: Store) -> None:
    worker = await store.worker()
    first = await record(worker, requested("a"))

    again = await record(worker, requested("a"))

    assert (again.outcomes, again.events, again.new_runs) == ({"duplicate": 1}, (), ())
    assert await store.runs() == list(first.new_runs)


async def test_a_request_seen_with_other_content_is_dead_lettered_as_a_conflict(store: Store) -> None:
    worker = await store.worker()
    await record(worker, requested("a"))
    other = requested("a", symbol="GBPUSD")

    result = await record(worker, other)

    [letter] = result.events
    assert result.outcomes == {"dead_lettered": 1}
    assert (letter.kind, letter.value) == (EventKind.DEAD_LETTER, other.record.value)
    assert dict(letter.headers)["dlq-reason"] == b"conflict"
    assert len(await store.runs()) == 1


async def test_repeats_within_a_batch_are_a_duplicate_and_a_conflict_of_its_first(store: Store) -> None:
    worker = await store.worker()

    result = await record(worker, requested("a"), requested("a"), requested("a", symbol="GBPUSD"), requested("b"))

    assert result.outcomes == {"accepted": 2, "duplicate": 1, "dead_lettered": 1}
    assert [(await store.run(run_id) or {})["symbol"] for run_id in result.new_runs] == ["EURUSD", "EURUSD"]


async def test_the_first_made_durable_wins_among_concurrent_workers(store: Store) -> None:
    """Two workers, the same ids in opposite orders, half of them with other content: each id becomes one run."""
    one, other = await store.worker("one"), await store.worker("other")
    ids = [f"request-{number}" for number in range(40)]

    async def offer(worker: WorkerPorts, symbol: str, order: list[str]) -> list[IntakeResult]:
        batches = [order[start : start + 8] for start in range(0, len(order), 8)]
        return [
            await record(
                worker, *(requested(name, symbol=symbol if name[-1] in "02468" else "EURUSD") for name in batch)
            )
            for batch in batches
        ]

    results = await asyncio.gather(offer(one, "EURUSD", ids), offer(other, "GBPUSD", ids[::-1]))

    outcomes = [result.outcomes for results_of_one in results for result in results_of_one]
    totals = {name: sum(each.get(name, 0) for each in outcomes) for name in ("accepted", "duplicate", "dead_lettered")}
    assert totals == {"accepted": 40, "duplicate": 20, "dead_lettered": 20}
    assert len(await store.runs()) == 40
    assert await one.journal.queued_count() == 40


async def test_a_refused_request_is_remembered_with_one_rejection_and_no_row(store: Store) -> None:
    worker = await store.worker()

    result = await record(worker, requested("a", symbol="NOSUCH", strategy_id=99))
    again = await record(worker, requested("a", symbol="NOSUCH", strategy_id=99))

    [event] = result.events
    told = body(event.value)
    assert (told["type"], told["error"]["code"]) == ("backtest.rejected", "unknown_strategy")
    assert [problem["field"] for problem in told["error"]["details"]] == ["strategy_id", "symbol"]
    assert (result.outcomes, again.outcomes, again.events) == ({"rejected": 1}, {"duplicate": 1}, ())
    assert await store.runs() == []


async def test_the_rejection_of_a_request_named_1_does_not_take_the_place_of_the_result_of_run_1(store: Store) -> None:
    """On the compacted topic the last record of a key stays."""
    worker = await store.worker()
    [run_id] = (await record(worker, requested("a"))).new_runs
    [claim] = (await worker.queue.claim(1)).claims
    finished = await worker.queue.finish(claim, completed(claim, 0))
    assert finished is not None
    [result] = [event for event in finished.events if event.kind is EventKind.TERMINAL]

    [rejection] = (await record(worker, requested(str(run_id), symbol="NOSUCH"))).events

    assert (result.key, rejection.key) == (b"1", b"request/1")


async def test_a_request_that_breaks_the_schema_is_rejected_whatever_text_and_numbers_it_holds(store: Store) -> None:
    worker = await store.worker()
    data: dict[str, Any] = {"symbol": "\x00\ud800", "strategy_id": 2**70, "spread_pips": -1, "\x00": "\udfff"}
    poison = requested("a", **data)

    result = await record(worker, poison)

    assert result.outcomes == {"rejected": 1}
    assert body(result.events[0].value)["error"]["code"] == "invalid_request"


async def test_a_batch_of_all_kinds_is_recorded_in_one_go(store: Store) -> None:
    worker = await store.worker()
    letter = event_writer().dead_letter(raw_record(b"\x00\xff"), "undecodable", "not JSON")  # type: ignore[arg-type]  # a StrEnum's value

    result = await record(
        worker,
        requested("a"),
        requested("b", symbol="NOSUCH"),
        requested("c"),
        cancels=[cancel(request_id="c")],
        dead_letters=[letter],
    )

    assert result.outcomes == {"accepted": 2, "rejected": 1, "dead_lettered": 1, "cancel_kept": 1}
    assert sorted(kinds(result.events)) == ["dead_letter", "rejected", "terminal"]
    assert len(await store.unsent()) == 3


async def test_a_failing_batch_leaves_nothing_behind(store: Store) -> None:
    worker = await store.worker()

    def refuse(*_: object) -> Any:
        raise RuntimeError("a defect in admission")

    with pytest.raises(RuntimeError):
        await worker.journal.record_batch([requested("a")], [cancel(request_id="b")], [], refuse)

    assert await store.request("a") is None
    assert (await record(worker, requested("b"))).outcomes == {"accepted": 1}
    assert await worker.journal.queued_count() == 1, "the cancel of b was rolled back too"


def admit_but_slow(*asked: Any) -> Decision:
    """Admission that has no verdict yet on EURUSD."""
    return Unchecked(StrategyCheck("slow", "{}")) if asked[0].symbol == "EURUSD" else ADMIT(*asked)


async def test_an_unchecked_request_is_left_out_with_its_repeats_and_the_others_are_recorded(store: Store) -> None:
    worker = await store.worker()
    unchecked, repeat, conflict = requested("a"), requested("a"), requested("a", symbol="GBPUSD")

    result = await worker.journal.record_batch(
        [unchecked, repeat, conflict, requested("b", symbol="GBPUSD")], [cancel(request_id="c")], [], admit_but_slow
    )

    assert result.outcomes == {"accepted": 1, "cancel_kept": 1}
    assert sorted(request.record.offset for request, _ in result.unchecked) == [
        each.record.offset for each in (unchecked, repeat, conflict)
    ]
    assert {check for _, check in result.unchecked} == {StrategyCheck("slow", "{}")}
    assert (await store.request("a"), result.events) == (None, ())
    left_out = [request for request, _ in result.unchecked if isinstance(request, RequestToRecord)]
    later = await record(worker, *left_out)
    assert later.outcomes == {"accepted": 1, "duplicate": 1, "dead_lettered": 1}


async def test_a_batch_of_unchecked_requests_alone_writes_nothing(store: Store) -> None:
    worker = await store.worker()

    result = await worker.journal.record_batch([requested("a")], [], [], admit_but_slow)

    assert (result.outcomes, result.events, result.new_runs, len(result.unchecked)) == ({}, (), (), 1)
    assert await store.request("a") is None


# --- rows named by run_id -------------------------------------------------------------------------------------------


async def test_a_named_row_is_queued_as_it_stands_with_primary_tf_set_right(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run(timeframe="H4", primary_tf="M15", spread_pips=0.5)

    result = await record(worker, requested("a", run_id=run_id, symbol="EURUSD", spread_pips=0.5))

    assert (result.outcomes, result.new_runs) == ({"accepted": 1}, (run_id,))
    run = await store.run(run_id)
    assert run is not None
    assert (run["primary_tf"], run["status"]) == ("H4", "pending")


@pytest.mark.parametrize("status", ["running", "completed", "failed"])
async def test_a_named_row_that_is_not_pending_is_rejected_and_stays_as_it_is(store: Store, status: str) -> None:
    worker = await store.worker()
    run_id = await store.add_run(status=status)
    before = await store.run(run_id)

    result = await record(worker, requested("a", run_id=run_id))

    assert body(result.events[0].value)["error"]["code"] == "run_not_pending"
    assert await store.run(run_id) == before


async def test_a_named_row_that_does_not_exist_is_rejected(store: Store) -> None:
    worker = await store.worker()

    result = await record(worker, requested("a", run_id=4711))

    told = body(result.events[0].value)
    assert (told["error"]["code"], told["run_id"], told["attempt"], told["sequence"]) == ("run_not_found", 4711, 0, 1)


async def test_a_request_that_disagrees_with_its_row_is_rejected_naming_each_field(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run(spread_pips=1.5)

    result = await record(worker, requested("a", run_id=run_id, spread_pips=2.0, symbol="GBPUSD"))

    error = body(result.events[0].value)["error"]
    assert error["code"] == "run_disagrees"
    assert sorted(problem["field"] for problem in error["details"]) == ["spread_pips", "symbol"]


async def test_of_two_requests_for_a_row_the_first_runs_it_and_the_second_is_rejected(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run()

    in_one_batch = await record(worker, requested("a", run_id=run_id), requested("b", run_id=run_id))
    later = await record(worker, requested("c", run_id=run_id))

    assert in_one_batch.outcomes == {"accepted": 1, "rejected": 1}
    assert body(later.events[0].value)["error"]["code"] == "run_not_pending"


async def test_of_many_concurrent_requests_for_the_same_rows_one_each_is_accepted(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(4)]
    rows = [await store.add_run() for _ in range(10)]

    results = await asyncio.gather(
        *(
            record(
                worker, *(requested(f"{index}-{run_id}", run_id=run_id) for run_id in rows[:: 1 if index % 2 else -1])
            )
            for index, worker in enumerate(workers)
        )
    )

    assert sum(result.outcomes.get("accepted", 0) for result in results) == 10
    assert sum(result.outcomes.get("rejected", 0) for result in results) == 30


async def test_a_client_that_holds_a_named_row_stops_no_batch(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run(timeframe="H1", primary_tf="M15")

    async with store.holding(run_id), asyncio.timeout(5):
        result = await record(worker, requested("a", run_id=run_id), requested("b"))

    assert result.outcomes == {"accepted": 2}


async def test_numbers_that_another_service_took_by_hand_are_passed_over(postgres_store: PostgresStore) -> None:
    worker = await postgres_store.worker()
    for run_id in (1, 2, 3, 50):
        await postgres_store.add_run(id=run_id)

    result = await record(worker, *(requested(f"request-{number}") for number in range(5)))

    assert result.outcomes == {"accepted": 5}
    assert result.new_runs == (4, 5, 6, 7, 8)


async def test_a_row_with_the_greatest_number_there_is_makes_no_request_a_dead_letter(
    postgres_store: PostgresStore,
) -> None:
    worker = await postgres_store.worker()
    for run_id in (2, 2**31 - 1):
        await postgres_store.add_run(id=run_id)

    results = [await record(worker, requested(name)) for name in "abc"]

    assert [result.new_runs for result in results] == [(1,), (3,), (4,)]


async def test_a_table_that_was_restored_without_its_sequence_is_passed_over_at_once(
    postgres_store: PostgresStore,
) -> None:
    worker = await postgres_store.worker()
    await postgres_store.outside.execute(
        "INSERT INTO backtest_runs (id, strategy_id, symbol, timeframe, start_date, end_date)"
        " SELECT id, 1, 'EURUSD', 'H1', now(), now() FROM generate_series(1, 20000) AS id WHERE id <> 777"
    )

    async with asyncio.timeout(10):
        result = await record(worker, requested("a"), requested("b"))

    assert result.new_runs == (777, 20001)


async def test_a_sequence_at_its_end_holds_intake_and_dead_letters_nobody(postgres_store: PostgresStore) -> None:
    worker = await postgres_store.worker()
    await postgres_store.outside.execute("ALTER SEQUENCE backtest_runs_id_seq RESTART 2147483647")
    assert (await record(worker, requested("a"))).new_runs == (2**31 - 1,)

    with pytest.raises(StoreUnavailable, match=r"no number left.*backtest_runs_id_seq"):
        await record(worker, requested("b"), requested("c", symbol="NOSUCH"))

    assert await postgres_store.request("c") is None
    await postgres_store.outside.execute("ALTER SEQUENCE backtest_runs_id_seq RESTART")
    assert (await record(worker, requested("b"))).new_runs == (1,)


# --- locks of other clients -----------------------------------------------------------------------------------------


async def test_a_client_that_holds_a_strategy_stops_only_requests_that_need_a_new_row_for_it(store: Store) -> None:
    worker = await store.worker()
    other, run_id = await store.add_strategy(), await store.add_run()
    batch = [
        requested("waits", strategy_id=1),
        requested("refused", strategy_id=1, symbol="NOSUCH"),
        requested("named", run_id=run_id),
        requested("other", strategy_id=other),
    ]
    async with store.holding_strategy(1), asyncio.timeout(5):
        result = await record(worker, *batch, cancels=[cancel(request_id="x")])
        again = await record(worker, requested("waits", strategy_id=1), requested("waits", strategy_id=other))
        still = await worker.journal.record_waiting(ADMIT)

    assert result.outcomes == {"accepted": 2, "rejected": 1, "waiting": 1, "cancel_kept": 1}
    assert again.outcomes == {"duplicate": 1, "dead_lettered": 1}, "the first made durable counts, also while it waits"
    assert still.outcomes == {}
    decided = await worker.journal.record_waiting(ADMIT)
    assert (decided.outcomes, len(decided.new_runs)) == ({"accepted": 1}, 1)
    assert (await worker.journal.record_waiting(ADMIT)).outcomes == {}
    kept = await store.request("waits")
    assert kept is not None
    assert (kept["outcome"], kept["run_id"]) == ("accepted", decided.new_runs[0])


async def test_requests_wait_for_their_own_strategy_alone(store: Store) -> None:
    worker = await store.worker()
    other = await store.add_strategy()
    async with store.holding_strategy(1):
        async with store.holding_strategy(other):
            await record(worker, requested("a", strategy_id=1), requested("b", strategy_id=other))
        decided = await worker.journal.record_waiting(ADMIT)

    assert decided.outcomes == {"accepted": 1}
    assert ((await store.request("b")) or {})["outcome"] == "accepted"


async def test_a_request_that_waits_is_cancelled_by_its_id_and_rejected_where_its_strategy_goes(store: Store) -> None:
    worker = await store.worker()
    other = await store.add_strategy()
    async with store.holding_strategy(1), store.holding_strategy(other):
        await record(worker, requested("a", strategy_id=1), requested("b", strategy_id=other))
        await record(worker, cancels=[cancel(request_id="a", reason="too late")])
    await store.delete_strategy(other)

    decided = await worker.journal.record_waiting(ADMIT)

    told = {body(event.value)["request_id"]: body(event.value) for event in decided.events}
    assert (told["a"]["type"], told["a"]["reason"]) == ("backtest.cancelled", "too late")
    assert (told["b"]["type"], told["b"]["error"]["code"]) == ("backtest.rejected", "unknown_strategy")
    assert told["b"]["symbol"] == "EURUSD"


async def test_a_client_that_put_a_row_in_by_hand_and_does_not_commit_stops_no_batch(
    postgres_store: PostgresStore,
) -> None:
    worker = await postgres_store.worker()
    async with postgres_store.outside.acquire() as connection, connection.transaction(), asyncio.timeout(10):
        await connection.execute(
            "INSERT INTO backtest_runs (id, strategy_id, symbol, timeframe, start_date, end_date)"
            " VALUES (2, 1, 'EURUSD', 'H1', now(), now())"
        )
        result = await record(worker, *(requested(name) for name in "abc"))

    assert result.outcomes == {"accepted": 3}
    assert 2 not in result.new_runs


async def test_many_workers_decide_each_waiting_request_once(store: Store) -> None:
    workers = [await store.worker(f"worker {number}") for number in range(4)]
    async with store.holding_strategy(1):
        await record(workers[0], *(requested(f"request-{number}") for number in range(40)))

    results = await asyncio.gather(*(worker.journal.record_waiting(ADMIT) for worker in workers))
    results += await asyncio.gather(*(worker.journal.record_waiting(ADMIT) for worker in workers))

    assert sum(result.outcomes.get("accepted", 0) for result in results) == 40
    assert len(await store.runs()) == 40


# --- cancels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [None, "changed my mind"])
async def test_a_cancel_that_came_before_its_request_wins(store: Store, reason: str | None) -> None:
    worker = await store.worker()
    await record(worker, cancels=[cancel(request_id="a", reason=reason)])

    result = await record(worker, requested("a"))

    [event] = result.events
    told = body(event.value)
    assert (told["type"], told["reason"]) == ("backtest.cancelled", reason or "requested")
    assert (told["sequence"], told["attempt"], told["progress_pct"]) == (1, 0, 0)
    assert result.new_runs == ()
    run = await store.run(told["run_id"])
    assert run is not None
    assert run["status"] == "cancelled"


async def test_a_cancel_of_a_row_that_came_before_its_request_wins(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run()
    await record(worker, cancels=[cancel(run_id=run_id)])

    result = await record(worker, requested("a", run_id=run_id))

    assert body(result.events[0].value)["reason"] == "requested"
    assert (await store.execution(run_id))["state"] == "cancelled"


async def test_cancels_of_numbers_that_no_run_has_yet_end_none_of_the_runs_that_get_them(store: Store) -> None:
    worker = await store.worker()
    await record(worker, cancels=[cancel(run_id=1), cancel(run_id=2)])

    result = await record(worker, *(requested(name) for name in "abc"), cancels=[cancel(run_id=3)])

    assert result.new_runs == (1, 2, 3)
    assert (await worker.queue.sweep()).ended == ()
    claims = (await worker.queue.claim(3)).claims
    assert {answer.answer for answer in (await worker.queue.cancels_wanted(claims)).values()} == {BeatAnswer.ALIVE}
    for claim in claims:
        ended = await worker.queue.finish(claim, completed(claim, 0))
        assert ended is not None
        assert isinstance(ended.outcome, Completed)


async def test_a_cancel_in_the_batch_of_its_request_wins(store: Store) -> None:
    worker = await store.worker()

    result = await record(worker, requested("a"), cancels=[cancel(request_id="a")])

    assert kinds(result.events) == [EventKind.TERMINAL]
    assert await worker.journal.queued_count() == 0


async def test_a_row_cancelled_before_its_request_arrives_ends_cancelled(store: Store) -> None:
    worker = await store.worker()
    run_id = await store.add_run(status="cancelled")

    result = await record(worker, requested("a", run_id=run_id))

    assert result.outcomes == {"accepted": 1}
    assert body(result.events[0].value)["reason"] == "row"
    assert (await store.execution(run_id))["state"] == "cancelled"


@pytest.mark.parametrize("by", ["run_id", "request_id"])
async def test_a_cancel_ends_a_queued_run_at_once(store: Store, by: str) -> None:
    worker = await store.worker()
    [run_id] = (await record(worker, requested("a"))).new_runs

    result = await record(worker, cancels=[cancel(**{by: run_id if by == "run_id" else "a"}, reason="enough")])

    [event] = result.events
    assert body(event.value)["reason"] == "enough"
    assert (await store.execution(run_id))["state"] == "cancelled"
    assert (await worker.queue.claim(5, lapsed=await worker.queue.lapsed())).claims == ()


async def test_a_cancel_of_a_running_run_is_noted_and_of_several_the_first_counts(store: Store) -> None:
    worker = await store.worker()
    await record(worker, requested("a"))
    [claim] = (await worker.queue.claim(1)).claims

    result = await record(worker, cancels=[cancel(run_id=claim.run_id, reason="first")])
    await record(worker, cancels=[cancel(request_id="a", reason="second")])

    assert result.events == ()
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    assert body(finished.events[-1].value)["reason"] == "first"


async def test_a_cancel_of_a_finished_run_changes_nothing(store: Store) -> None:
    worker = await store.worker()
    await record(worker, requested("a"))
    [claim] = (await worker.queue.claim(1)).claims
    await worker.queue.finish(claim, completed(claim))
    before = await store.run(claim.run_id)

    result = await record(worker, cancels=[cancel(run_id=claim.run_id), cancel(request_id="a")])

    assert (result.outcomes, result.events) == ({"cancel_kept": 2}, ())
    assert await store.run(claim.run_id) == before


async def test_a_cancel_of_a_queued_run_whose_row_a_client_holds_is_left_to_the_sweep(store: Store) -> None:
    worker = await store.worker()
    [run_id] = (await record(worker, requested("a"))).new_runs

    async with store.holding(run_id), asyncio.timeout(5):
        held = await record(worker, cancels=[cancel(run_id=run_id)])
        meanwhile = await worker.queue.sweep()
    swept = await worker.queue.sweep()

    assert (held.events, meanwhile.ended) == ((), ())
    assert [ended.outcome for ended in swept.ended] == ["cancelled"]


async def test_cancels_and_requests_recorded_at_the_same_time_lose_no_cancel(store: Store) -> None:
    """Whichever transaction comes first, every run ends cancelled, at intake or by the sweep."""
    one, other = await store.worker("one"), await store.worker("other")
    ids = [f"request-{number}" for number in range(30)]

    async def request_all() -> None:
        for start in range(0, 30, 3):
            await record(one, *(requested(name) for name in ids[start : start + 3]))

    async def cancel_all() -> None:
        for start in range(0, 30, 3):
            await record(other, cancels=[cancel(request_id=name) for name in ids[start : start + 3]])

    await asyncio.gather(request_all(), cancel_all())
    await one.queue.sweep()

    states = [(await store.execution(run_id))["state"] for run_id in await store.runs()]
    assert states == ["cancelled"] * 30
    assert [kind for kind, *_ in await store.unsent()] == ["terminal"] * 30


# --- turns ----------------------------------------------------------------------------------------------------------


async def test_with_one_source_runs_are_claimed_in_the_order_they_came(store: Store) -> None:
    worker = await store.worker()
    first = await record(worker, *(requested(f"a{number}") for number in range(5)))
    second = await record(worker, *(requested(f"b{number}") for number in range(5)))

    claims = (await worker.queue.claim(10)).claims

    assert [claim.run_id for claim in claims] == [*first.new_runs, *second.new_runs]


async def test_claims_rotate_over_sources(store: Store) -> None:
    """One request of a quiet source does not wait for the hundred of a loud one; two sources take turns."""
    worker = await store.worker()
    await record(worker, *(requested(f"loud-{number}", source="loud") for number in range(100)))
    await worker.queue.claim(10)
    await record(worker, *(requested(f"quiet-{number}", source="quiet") for number in range(3)))

    claims = (await worker.queue.claim(6)).claims

    names = [claim.facts.request_id.partition("-")[0] for claim in claims]
    assert sorted(names[:2]) == sorted(names[2:4]) == sorted(names[4:]) == ["loud", "quiet"]


async def test_a_strategy_that_is_not_there_any_more_rejects_a_request_for_its_row(store: Store) -> None:
    worker = await store.worker()
    strategy_id = await store.add_strategy(**STRATEGY)
    run_id = await store.add_run(strategy_id=strategy_id)
    await store.delete_strategy(strategy_id)

    result = await record(worker, requested("a", run_id=run_id))

    assert body(result.events[0].value)["error"]["code"] == "run_not_found"
