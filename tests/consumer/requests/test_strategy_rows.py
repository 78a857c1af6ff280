"""Making and changing rows of `strategies`, on tables in memory."""

import json
from typing import Any

import pytest

from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.memory.checker import InMemoryChecker
from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.strategy_rows import MemoryStrategies
from consumer.adapters.memory.tables import MemoryTables
from consumer.errors import NameTaken, NoSuchStrategy
from consumer.ports import StrategyCheck, Verdict
from consumer.preparation.strategy_verdict import verdict_of
from consumer.requests.strategy_rows import RowJudge, add_strategy, edit_strategy
from consumer.rules.admission import Admission
from schemas.problems import InvalidRequestError

ROW = {"name": "mine", "strategy_key": "sma_cross"}


async def ask(check: StrategyCheck) -> Verdict:
    return verdict_of(check)


JUDGE = RowJudge(Admission(read_instruments(None), "USD"), InMemoryChecker(ask))


async def added(tables: MemoryTables, **columns: Any) -> int:
    return await add_strategy(MemoryStrategies(tables), {**ROW, **columns}, JUDGE)


async def edited(tables: MemoryTables, strategy_id: int, **changes: Any) -> None:
    await edit_strategy(MemoryHistory(tables), MemoryStrategies(tables), strategy_id, changes, JUDGE)


async def test_a_row_is_stored_with_its_json_as_text() -> None:
    tables = MemoryTables()
    row_id = await added(
        tables, strategy_params={"fast": 5, "slow": 20}, symbols=["EURUSD"], context_tfs=["H4"], skip_hours=[22, 23]
    )
    row = tables.strategies[row_id]
    assert json.loads(row["strategy_params"]) == {"fast": 5, "slow": 20}
    assert (row["symbols"], row["context_tfs"], row["skip_hours"], row["skip_weekdays"]) == (
        '["EURUSD"]', '["H4"]', "[22, 23]", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "field", "code"),
    [
        ({"strategy_key": "no_such"}, "strategy_key", "unknown_strategy"),
        ({"strategy_key": None}, "strategy_key", "unknown_strategy"),
        ({"strategy_params": {"fast": -1}}, "strategy_params.fast", "invalid_params"),
        ({"strategy_params": {"fats": 3}}, "strategy_params.fats", "invalid_params"),
        ({"strategy_key": "rules", "strategy_params": {"buy": "x > 1"}}, "buy", "invalid_params"),
        ({"strategy_key": "rules", "strategy_params": {}}, "buy", "invalid_params"),
        ({"execution_mode": "llm_only"}, "execution_mode", "mode_unavailable"),
        ({"symbols": ["EURUSD", "NOSUCH"]}, "symbols.1", "unknown_symbol"),
        ({"primary_tf": "H7"}, "primary_tf", "unknown_timeframe"),
        ({"context_tfs": ["H4", "H7"]}, "context_tfs.1", "unknown_timeframe"),
        ({"symbols": ["EURUSD"], "lot_size": 0.015}, "lot_size", "invalid_params"),
        ({"skip_hours_timezone": "Mars/Olympus"}, "skip_hours_timezone", "invalid_params"),
    ],
)
async def test_a_row_that_could_not_run_is_refused_by_its_column_before_anybody_asks(
    columns: dict[str, Any], field: str, code: str
) -> None:
    tables = MemoryTables()
    with pytest.raises(InvalidRequestError) as caught:
        await added(tables, **columns)
    assert [(problem.field, problem.code) for problem in caught.value.problems] == [(field, code)]
    assert tables.strategies == {}


async def test_a_row_may_hold_rules() -> None:
    tables = MemoryTables()
    document = {"params": {"n": 3}, "buy": "close > sma(close, n)"}
    row_id = await added(tables, strategy_key="rules", strategy_params=document)
    assert json.loads(tables.strategies[row_id]["strategy_params"]) == document
    with pytest.raises(InvalidRequestError, match=r"buy: column 9: unknown name 'y'"):
        await edited(tables, row_id, strategy_params={"buy": "close > y"})


async def test_a_row_for_a_symbol_in_another_case_is_told_the_spelling_it_may_have_meant() -> None:
    with pytest.raises(InvalidRequestError, match=r"symbols\.0 'eurusd' is in no .*; did you mean 'EURUSD'\?"):
        await added(MemoryTables(), symbols=["eurusd"])


async def test_an_inactive_row_is_held_to_the_same_and_may_be_stored() -> None:
    tables = MemoryTables()
    row_id = await added(tables, is_active=False)
    assert tables.strategies[row_id]["is_active"] is False
    with pytest.raises(InvalidRequestError):
        await added(tables, name="other", is_active=False, strategy_key="no_such")


async def test_a_change_keeps_the_rest_and_must_leave_the_whole_row_right() -> None:
    tables = MemoryTables()
    row_id = await added(tables, strategy_params={"fast": 5, "slow": 20}, risk_pct=0.01)
    await edited(tables, row_id, risk_pct=None, lot_size=0.3)
    row = tables.strategies[row_id]
    assert (row["risk_pct"], row["lot_size"], json.loads(row["strategy_params"])) == (
        None,
        0.3,
        {"fast": 5, "slow": 20},
    )
    with pytest.raises(InvalidRequestError, match="strategy_params"):
        await edited(tables, row_id, strategy_params={"fast": 30, "slow": 20})
    assert tables.strategies[row_id] == row


async def test_a_row_that_another_service_broke_can_be_mended_column_by_column() -> None:
    tables = MemoryTables()
    row_id = tables.add_strategy(name="theirs", strategy_key="sma_cross", symbols="EURUSD", primary_tf="H1")
    with pytest.raises(InvalidRequestError, match="symbols"):
        await edited(tables, row_id, primary_tf="H4")
    await edited(tables, row_id, symbols=["EURUSD"])
    assert tables.strategies[row_id]["symbols"] == '["EURUSD"]'


async def test_names_are_taken_once_and_rows_that_are_not_there_cannot_be_changed() -> None:
    tables = MemoryTables()
    await added(tables)
    with pytest.raises(NameTaken):
        await added(tables)
    with pytest.raises(NoSuchStrategy, match="no strategy 99"):
        await edited(tables, 99, is_active=False)
