"""What History promises, asked of Postgres and of the one in memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumer.errors import StartFailed
from consumer.ports.advice import Call, Question
from consumer.ports.history import History, Row, RunFilter, RunOrder
from consumer.ports.outcomes import Failed
from consumer.requests.repeating import repeat_run
from consumer.rules.columns import (
    ALL_RUN_COLUMNS,
    EXECUTION_COLUMNS,
    LLM_CALL_COLUMNS,
    STRATEGY_COLUMNS,
    TRADE_COLUMNS,
)
from engine.errors import InputRefused
from tests.consumer.queue_steps import claim_one, queue, queued_and_claimed
from tests.consumer.search_steps import best_run, delete_row, found, searching
from tests.consumer.stores import PostgresStore, Store
from tests.support.messages import ADMIT, completed, requested

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


async def run_of(store: Store, run_id: int) -> Row:
    async with store.history() as history:
        found = await history.run(run_id)
    assert found is not None
    return found


async def listed(store: Store, wanted: RunFilter) -> list[int]:
    async with store.history() as history:
        return [run["id"] for run in await history.runs(wanted)]


async def test_a_run_is_told_with_its_row_its_strategy_and_its_execution(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker, "asked")
    await worker.queue.finish(claim, completed(claim))
    run = await run_of(store, claim.run_id)
    assert set(run) == {*ALL_RUN_COLUMNS, *EXECUTION_COLUMNS, "strategy_name", "strategy_key"}
    assert (run["status"], run["total_trades"], run["profit_factor"]) == ("completed", 2, None)
    assert (run["strategy_id"], run["strategy_name"], run["strategy_key"]) == (1, "strategy 1", "sma_cross")
    assert (run["request_id"], run["epoch"], run["attempts"]) == ("asked", 1, 1)
    assert (run["result_digest"], run["engine_version"], run["strategy_version"]) == ("ab" * 32, "1", "cd" * 32)
    assert run["queued_at"] <= run["started_at"] <= run["finished_at"]


async def test_the_warnings_of_a_list_of_runs_are_told_at_once(store: Store) -> None:
    worker = await store.worker()
    ended = []
    for request_id, metrics in (("doubted", {"warnings": ["the data end early"]}), ("fine", {"warnings": []})):
        claim = await queued_and_claimed(worker, request_id)
        await worker.queue.finish(claim, completed(claim, metrics=metrics))
        ended.append(claim.run_id)
    async with store.history() as history:
        assert await history.warnings_of([*ended, 4711]) == {ended[0]: ["the data end early"]}
        assert await history.warnings_of([]) == {}


async def test_a_run_that_nobody_asked_for_yet_has_no_execution(store: Store) -> None:
    run_id = await store.add_run()
    run = await run_of(store, run_id)
    assert (run["status"], run["symbol"]) == ("pending", "EURUSD")
    assert {run[name] for name in EXECUTION_COLUMNS} == {None}


async def test_what_is_not_there_is_none(store: Store) -> None:
    async with store.history() as history:
        assert await history.run(4711) is None
        assert await history.request_of(4711) is None
        assert await history.specification_of(4711) is None
        assert await history.strategy(4711) is None
        assert list(await history.trades(4711)) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RunFilter(), "abcd"),
        (RunFilter(symbol="GBPUSD"), "b"),
        (RunFilter(symbol="gbpusd"), "b"),
        (RunFilter(timeframe="M15"), "c"),
        (RunFilter(status="completed"), "ab"),
        (RunFilter(strategy_id=2), "d"),
        (RunFilter(min_trades=5), "b"),
        (RunFilter(min_trades=0), "ab"),
        (RunFilter(created_after=NOON + timedelta(hours=2)), "cd"),
        (RunFilter(created_before=NOON + timedelta(hours=2)), "ab"),
        (RunFilter(words="gbp"), "b"),
        (RunFilter(words="breakout"), "d"),
        (RunFilter(words="BREAKOUT eurusd"), "d"),
        (RunFilter(words="breakout gbp"), ""),
        (RunFilter(words="100%"), ""),
        (RunFilter(words="_"), ""),
        (RunFilter(status="completed", symbol="EURUSD"), "a"),
    ],
)
async def test_filters_leave_out_what_they_name(store: Store, wanted: RunFilter, found: str) -> None:
    runs = await four_runs(store)
    assert await listed(store, wanted) == [runs[name] for name in reversed(found)]


async def test_a_word_may_be_a_runs_number(store: Store) -> None:
    runs = await four_runs(store)
    assert await listed(store, RunFilter(words=str(runs["c"]))) == [runs["c"]]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (RunOrder(), "dcba"),
        (RunOrder(descending=False), "abcd"),
        (RunOrder("total_trades"), "badc"),
        (RunOrder("total_trades", descending=False), "abcd"),
    ],
)
@pytest.mark.parametrize("page", [1, 2, 3, 50])
async def test_pages_of_any_size_give_every_run_once_in_order_nulls_last(
    store: Store, order: RunOrder, names: str, page: int
) -> None:
    runs = await four_runs(store)
    async with store.history() as history:
        assert await paged(history, order, page) == [runs[name] for name in names]


async def test_a_place_stays_good_when_the_run_that_stood_there_is_gone(store: Store) -> None:
    runs = await four_runs(store)
    order = RunOrder()
    async with store.history() as history:
        first = await history.runs(order=order, limit=2)
        await store.delete_run(runs["c"])
        rest = await history.runs(order=order, after=order.place_of(first[-1]))
    assert [run["id"] for run in rest] == [runs["b"], runs["a"]]


async def test_an_order_that_is_no_column_is_refused(store: Store) -> None:
    async with store.history() as history:
        with pytest.raises(ValueError, match="error_message"):
            await history.runs(order=RunOrder("error_message; DROP TABLE strategies"))
        with pytest.raises(ValueError, match="sorted"):
            await history.runs(order=RunOrder("error_message"))


async def test_what_a_completed_run_printed_is_kept_whatever_becomes_of_its_row(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    metrics = {"total_trades": 2, "net_profit": 1.5, "null_reasons": {"sharpe_ratio": "one day"}, "warnings": ["short"]}
    await worker.queue.finish(claim, completed(claim, metrics=metrics, artifacts={"equity": "/a/equity.parquet"}))
    await store.delete_run(claim.run_id)
    async with store.history() as history:
        result = await history.result_of(claim.run_id)
    assert result == {"metrics": metrics, "artifacts": {"equity": "/a/equity.parquet"}, "duration_seconds": 0.25}


async def test_a_run_that_did_not_complete_printed_nothing(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, Failed("no_data", "none"))
    async with store.history() as history:
        assert await history.result_of(claim.run_id) is None
        assert await history.result_of(4711) is None


async def test_trades_come_as_booked_and_page_by_page(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    await worker.queue.finish(claim, completed(claim, trades=5))
    async with store.history() as history:
        whole = await history.trades(claim.run_id)
        first = await history.trades(claim.run_id, limit=2)
        rest = await history.trades(claim.run_id, after=first[-1]["id"])
    assert [trade["position_id"] for trade in whole] == [1, 2, 3, 4, 5]
    assert [*first, *rest] == list(whole)
    assert set(whole[0]) == {"id", *TRADE_COLUMNS}
    assert (whole[0]["profit"], whole[0]["stop_loss"], whole[0]["source"]) == (1000.0, None, "rule")
    assert whole[0]["entry_time"] == datetime(2024, 1, 2, tzinfo=UTC)


async def test_the_request_behind_a_run_and_what_it_executes_are_kept(store: Store) -> None:
    worker = await store.worker()
    [run_id] = (
        await worker.journal.record_batch([requested("a", volume=0.3, strategy_params={"fast": 7})], [], [], ADMIT)
    ).new_runs
    async with store.history() as history:
        content = await history.request_of(run_id)
        specification = await history.specification_of(run_id)
    assert content is not None
    assert specification is not None
    assert (content["volume"], content["strategy_params"]) == (0.3, {"fast": 7})
    assert (specification["symbol"], specification["strategy_key"]) == ("EURUSD", "sma_cross")


async def test_the_best_run_of_a_search_is_told_as_a_run_that_was_executed(store: Store) -> None:
    worker = await searching(store)
    claim = await worker.gathering(strategy_params={"stop_loss_pips": 20.0}, volume=0.3, slippage_pips=0.2)
    run_id = await worker.keeper.best_run_id(claim)
    assert run_id is not None
    await worker.keeper.end(claim, found(best_run=best_run(run_id, claim)))
    async with store.history() as history:
        row = await history.run(run_id)
        [listed] = await history.runs()
        specification = await history.specification_of(run_id)
        again = await repeat_run(history, run_id)
    assert row is not None
    assert (row["status"], row["epoch"], row["request_id"]) == ("completed", 1, None)
    assert listed == row
    assert specification is not None
    assert specification["strategy_params"] == {"stop_loss_pips": 20.0, "fast": 5, "slow": 20}
    assert specification["symbol"] == "EURUSD"
    assert again.strategy_params == specification["strategy_params"]
    assert (again.volume, again.slippage_pips, again.symbol) == (0.3, 0.2, "EURUSD")

    await delete_row(store, claim.facts.optimization_id)
    async with store.history() as history:
        with pytest.raises(InputRefused, match="best of a search that was deleted"):
            await repeat_run(history, run_id)


async def test_accepted_requests_are_found_by_state_and_time_the_oldest_first(store: Store) -> None:
    worker = await store.worker()
    first, second, third = await queue(worker, "a", "b", "c")
    claim = await claim_one(worker)
    await worker.queue.finish(claim, Failed("no_data", "none"))
    await worker.journal.record_batch([requested("refused", strategy_id=999)], [], [], ADMIT)
    async with store.history() as history:
        every = await history.accepted_requests()
        failed = await history.accepted_requests(state="failed")
        since = await history.accepted_requests(since=datetime(2020, 1, 1, tzinfo=UTC))
        until = await history.accepted_requests(until=datetime(2020, 1, 1, tzinfo=UTC))
    assert [(each["request_id"], each["run_id"]) for each in every] == [("a", first), ("b", second), ("c", third)]
    assert (every[0]["source"], every[0]["data"]["symbol"]) == ("upstream", "EURUSD")
    assert [each["request_id"] for each in failed] == ["a"]
    assert (len(since), len(until)) == (3, 0)


async def test_requests_that_were_taken_before_are_known_by_their_content(store: Store) -> None:
    worker = await store.worker()
    accepted, refused = requested("a"), requested("refused", strategy_id=999)
    await worker.journal.record_batch([accepted, refused], [], [], ADMIT)
    async with store.history() as history:
        known = await history.known_requests(["a", "refused", "never"])
    assert known == {"a": accepted.content_hash, "refused": refused.content_hash}


async def test_rejections_say_why_the_newest_first(store: Store) -> None:
    worker = await store.worker()
    await worker.journal.record_batch([requested("one", strategy_id=999, symbol="EURUSD")], [], [], ADMIT)
    await pass_time(store)
    await worker.journal.record_batch([requested("two", strategy_id=998)], [], [], ADMIT)
    async with store.history() as history:
        both = await history.rejected_requests(limit=10)
        newest = await history.rejected_requests(limit=1)
    assert [each["request_id"] for each in both] == ["two", "one"]
    assert [each["request_id"] for each in newest] == ["two"]
    assert (both[1]["source"], both[1]["data"]["strategy_id"]) == ("upstream", 999)
    assert [(each["field"], each["code"]) for each in both[1]["problems"]] == [("strategy_id", "unknown_strategy")]
    assert both[1]["problems"][0]["message"]


async def test_strategies_are_told_with_every_column(store: Store) -> None:
    added = await store.add_strategy(name="second", risk_pct=0.01, custom_prompt="be careful")
    async with store.history() as history:
        rows = await history.strategies()
        one = await history.strategy(added)
    assert [row["name"] for row in rows] == ["strategy 1", "second"]
    assert tuple(rows[0]) == STRATEGY_COLUMNS
    assert one == rows[1]
    assert (rows[1]["risk_pct"], rows[1]["custom_prompt"], rows[1]["on_opposite"]) == (0.01, "be careful", "reverse")


async def test_a_row_with_a_date_that_python_has_not_can_still_be_listed(postgres_store: PostgresStore) -> None:
    run_id = await postgres_store.add_run()
    await postgres_store.outside.execute("UPDATE backtest_runs SET end_date = 'infinity' WHERE id = $1", run_id)
    run = await run_of(postgres_store, run_id)
    assert (run["start_date"], run["end_date"]) == (datetime(2024, 1, 1, tzinfo=UTC), None)


async def test_history_writes_nothing(postgres_store: PostgresStore) -> None:
    async with postgres_store.history() as history:
        connection: Any = history
        with pytest.raises(Exception, match="read-only"):
            await connection.connection.execute("DELETE FROM strategies")


async def test_a_database_before_its_migration_says_what_to_do(
    postgres_store: PostgresStore,
) -> None:
    await postgres_store.outside.execute("ALTER TABLE backtest_executions RENAME TO gone")
    try:
        with pytest.raises(StartFailed, match="backtest migrate"):
            async with postgres_store.history() as history:
                await history.runs()
    finally:
        await postgres_store.outside.execute("ALTER TABLE gone RENAME TO backtest_executions")


async def four_runs(store: Store) -> dict[str, int]:
    """a to d, made an hour apart: 0 and 9 trades, and two that never ended; d is of another strategy."""
    other = await store.add_strategy(name="London breakout 50")
    columns: dict[str, dict[str, Any]] = {
        "a": {"status": "completed", "total_trades": 0},
        "b": {"status": "completed", "total_trades": 9, "symbol": "GBPUSD"},
        "c": {"status": "failed", "timeframe": "M15"},
        "d": {"strategy_id": other},
    }
    return {
        name: await store.add_run(created_at=NOON + timedelta(hours=hours), **given)
        for hours, (name, given) in enumerate(columns.items())
    }


async def paged(history: History, order: RunOrder, size: int) -> list[int]:
    found: list[int] = []
    page = await history.runs(order=order, limit=size)
    while page:
        found += [run["id"] for run in page]
        page = await history.runs(order=order, limit=size, after=order.place_of(page[-1]))
    return found


async def pass_time(store: Store) -> None:
    """Postgres's clock goes on by itself."""
    tables = getattr(store, "tables", None)
    if tables is not None:
        tables.clock.advance(1.0)


async def test_calls_to_models_come_by_number_and_page_by_page(store: Store) -> None:
    worker = await store.worker()
    claim = await queued_and_claimed(worker)
    asked = Question(datetime(2024, 1, 2, tzinfo=UTC), "risk", ())
    for number in (1, 2, 3):
        await worker.calls.begin(Call(claim.run_id, claim.epoch, number, asked, str(number) * 64, "openai:test"))
    async with store.history() as history:
        assert [row["number"] for row in await history.llm_calls(claim.run_id)] == [1, 2, 3]
        [row] = await history.llm_calls(claim.run_id, after=1, limit=1)
        assert await history.llm_calls(4711) == []
    assert set(row) == set(LLM_CALL_COLUMNS)
    assert (row["number"], row["bar_time"], row["role"], row["state"]) == (2, asked.bar_time, "risk", "asked")


async def test_the_newest_completed_run_of_a_specification_is_found(store: Store) -> None:
    worker = await store.worker()
    for name in ("a", "b"):
        await worker.queue.finish(claim := await queued_and_claimed(worker, name), completed(claim))
    waiting = await queued_and_claimed(worker, "c")
    async with store.history() as history:
        specification = await history.specification_of(claim.run_id)
        assert specification is not None
        found = await history.run_of_specification(1, specification)
        other = await history.run_of_specification(1, {**specification, "spread_pips": 9.0})
    assert found is not None
    assert (found["id"], other) == (claim.run_id, None)
    assert waiting.run_id > claim.run_id
