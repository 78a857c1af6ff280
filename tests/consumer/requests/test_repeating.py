"""What is asked for when a run is repeated."""

from typing import Any

import pytest

from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.tables import MemoryTables
from consumer.errors import NoSuchRun
from consumer.requests.repeating import repeat_run, repeated_request
from engine.errors import InputRefused
from tests.support.builders import NOON, request_data


def test_a_repeated_run_asks_for_what_its_row_and_its_request_say() -> None:
    content = request_data(run_id=9, strategy_params={"fast": 5}, risk_pct=0.01, symbol="GBPUSD")
    request = repeated_request(run_row(), content)
    assert (request.run_id, request.request_id) == (None, None)
    assert (request.symbol, request.timeframe, request.context_tfs) == ("EURUSD", "H1", ["H4"])
    assert (request.strategy_params, request.risk_pct) == ({"fast": 5}, 0.01)


def test_a_repeated_run_has_the_costs_and_limits_of_the_account_again() -> None:
    account = {"slippage_pips": 0.2, "commission_pct": 0.01, "leverage": 30.0, "stop_out_pct": 50.0}
    request = repeated_request(run_row(), request_data(**account))
    assert {name: getattr(request, name) for name in account} == account


def test_a_row_that_another_service_made_can_be_repeated_without_its_request() -> None:
    request = repeated_request(run_row(), {})
    assert (request.strategy_id, request.end_date, request.execution_mode) == (7, NOON, "next_open")
    assert (request.strategy_params, request.volume) == (None, None)


def test_a_row_that_breaks_the_schema_is_refused() -> None:
    with pytest.raises(InputRefused, match="run 9 cannot be asked for again: initial_balance"):
        repeated_request(run_row(initial_balance=-1.0), {})


async def test_a_run_that_is_not_there_cannot_be_repeated() -> None:
    with pytest.raises(NoSuchRun, match="there is no run 4711"):
        await repeat_run(MemoryHistory(MemoryTables()), 4711)


def run_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": 9,
        "strategy_id": 7,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "context_tfs": '["H4"]',
        "start_date": NOON.replace(year=2023),
        "end_date": NOON,
        "initial_balance": 10_000.0,
        "spread_pips": 1.5,
        "execution_mode": "next_open",
        "max_llm_calls": 100,
        "commission_per_lot": 0.0,
        "tp_partial_close_ratio": 0.5,
    }
    return {**row, **changes}
