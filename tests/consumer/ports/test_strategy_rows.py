"""What StrategyRows promises, asked of Postgres and of the one in memory."""

import pytest

from consumer.errors import NameTaken
from consumer.ports.history import Row
from tests.consumer.stores import Store


async def row_of(store: Store, strategy_id: int) -> Row:
    async with store.history() as history:
        found = await history.strategy(strategy_id)
    assert found is not None
    return found


async def test_what_is_left_out_takes_the_tables_defaults(store: Store) -> None:
    async with store.strategy_rows() as rows:
        added = await rows.add({"name": "mine", "strategy_key": "sma_cross"})
    row = await row_of(store, added)
    assert (row["name"], row["strategy_key"], row["strategy_params"]) == ("mine", "sma_cross", "{}")
    assert (row["primary_tf"], row["execution_mode"], row["is_active"]) == ("M15", "rule_only", True)
    assert row["created_at"] is not None


async def test_a_change_leaves_the_other_columns_alone(store: Store) -> None:
    async with store.strategy_rows() as rows:
        added = await rows.add({"name": "mine", "risk_pct": 0.02})
        assert await rows.change(added, {"name": "renamed", "is_active": False})
        assert await rows.change(added, {"name": "renamed"}), "its own name is not taken"
    row = await row_of(store, added)
    assert (row["name"], row["is_active"], row["risk_pct"]) == ("renamed", False, 0.02)


async def test_a_row_that_is_not_there_is_not_changed(store: Store) -> None:
    async with store.strategy_rows() as rows:
        assert await rows.change(4711, {"is_active": False}) is False


async def test_a_name_is_taken_once(store: Store) -> None:
    async with store.strategy_rows() as rows:
        added = await rows.add({"name": "mine"})
        with pytest.raises(NameTaken, match="'mine'"):
            await rows.add({"name": "mine"})
        with pytest.raises(NameTaken, match="'strategy 1'"):
            await rows.change(added, {"name": "strategy 1"})


@pytest.mark.parametrize("columns", [{}, {"nmae": "mine"}, {"name = 'x' --": "mine"}])
async def test_columns_that_the_table_does_not_have_are_refused(store: Store, columns: dict[str, str]) -> None:
    async with store.strategy_rows() as rows:
        with pytest.raises(ValueError, match="no columns"):
            await rows.add(columns)
