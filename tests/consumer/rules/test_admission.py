"""Admission: every code of a rejection that needs no market data, its field, and what a request resolves to."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.ports import Admitted, Refused, RequestToRecord, RunRow, StrategyRow
from consumer.rules.events import EventRenderer
from engine.specification import (
    BALANCES,
    LARGEST_COMMISSION,
    LARGEST_COMMISSION_PCT,
    LARGEST_SLIPPAGE_PIPS,
    LARGEST_SPREAD_PIPS,
    LARGEST_STOP_OUT_PCT,
    LEVERAGES,
    MOST_WARM_UP_BARS,
)
from schemas.problems import MAX_PROBLEMS, REJECTION_CODES
from schemas.rejected import rejection
from schemas.requested import BacktestRequested
from tests.consumer.memory_worker import World
from tests.support.messages import ADMIT, body, requested

STRATEGY = StrategyRow(
    id=1,
    name="cross",
    execution_mode="rule_only",
    strategy_key="sma_cross",
    strategy_params='{"fast": 5}',
    primary_tf="H1",
    context_tfs="[]",
    symbols="[]",
    lot_size=None,
    risk_pct=None,
    sl_pips=None,
    tp_pips=None,
    on_opposite="reverse",
    stop_to_entry=True,
    skip_hours=None,
    skip_weekdays=None,
    skip_hours_timezone=None,
    is_active=True,
)
ROW = RunRow(
    id=7,
    strategy_id=1,
    symbol="EURUSD",
    timeframe="H1",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    end_date=datetime(2024, 2, 1, tzinfo=UTC),
    initial_balance=10_000.0,
    spread_pips=1.5,
    execution_mode="close_price",
    primary_tf="M15",
    context_tfs='["H4"]',
    max_llm_calls=100,
    commission_per_lot=0.0,
    tp_partial_close_ratio=0.5,
    status="pending",
    has_execution=False,
)


def strategy(**changes: Any) -> StrategyRow:
    return replace(STRATEGY, **changes)


def row(**changes: Any) -> RunRow:
    return replace(ROW, **changes)


def decide(
    request: RequestToRecord | None = None, by: StrategyRow | None = STRATEGY, run: RunRow | None = None
) -> Admitted | Refused:
    asked = request or requested()
    return ADMIT(asked.request, by, run, asked.problems)


def refusals(decision: Admitted | Refused) -> list[tuple[str, str]]:
    assert isinstance(decision, Refused)
    return [(problem.field, problem.code) for problem in decision.problems]


def admitted(decision: Admitted | Refused) -> Admitted:
    assert isinstance(decision, Admitted), decision
    return decision


@pytest.mark.parametrize(
    ("request_changes", "by", "expected"),
    [
        ({}, None, ("strategy_id", "unknown_strategy")),
        ({}, strategy(is_active=False), ("strategy_id", "strategy_inactive")),
        ({}, strategy(strategy_key=None), ("strategy_id", "unknown_strategy")),
        ({}, strategy(strategy_key="not installed"), ("strategy_id", "unknown_strategy")),
        ({}, strategy(execution_mode="llm_only"), ("strategy_id", "mode_unavailable")),
        ({"strategy_params": {"fast": -1}}, STRATEGY, ("strategy_params.fast", "invalid_params")),
        ({"strategy_params": {"nonsense": 1}}, STRATEGY, ("strategy_params.nonsense", "invalid_params")),
        ({}, strategy(strategy_params="not JSON"), ("strategies.strategy_params", "invalid_params")),
        ({}, strategy(strategy_params='{"fast": 5, "fast": 6}'), ("strategies.strategy_params", "invalid_params")),
        ({}, strategy(strategy_params="[]"), ("strategies.strategy_params", "invalid_params")),
        ({"symbol": "NOSUCH"}, STRATEGY, ("symbol", "unknown_symbol")),
        ({}, strategy(symbols='["GBPUSD"]'), ("symbol", "symbol_not_allowed")),
        ({}, strategy(strategy_params='{"fast": NaN}'), ("strategies.strategy_params", "invalid_params")),
        ({}, strategy(symbols="GBPUSD"), ("strategies.symbols", "invalid_params")),
        ({"timeframe": "H5"}, STRATEGY, ("timeframe", "unknown_timeframe")),
        ({"context_tfs": ["D1", "H5"]}, STRATEGY, ("context_tfs.1", "unknown_timeframe")),
        ({}, strategy(context_tfs="H4"), ("context_tfs", "invalid_params")),
        ({"primary_tf": "H4"}, STRATEGY, ("primary_tf", "invalid_request")),
        ({"volume": 0.015}, STRATEGY, ("volume", "invalid_request")),
        ({}, strategy(lot_size=0.015), ("strategies.lot_size", "invalid_params")),
        ({}, strategy(risk_pct=1.5), ("strategies.risk_pct", "invalid_params")),
        ({}, strategy(skip_hours="[24]"), ("strategies.skip_hours", "invalid_params")),
        ({}, strategy(skip_hours="[true]"), ("strategies.skip_hours", "invalid_params")),
        ({}, strategy(skip_weekdays="[7]"), ("strategies.skip_weekdays", "invalid_params")),
        ({}, strategy(skip_hours_timezone="Mars/Base"), ("strategies.skip_hours_timezone", "invalid_params")),
        ({}, strategy(skip_hours_timezone="../../etc/passwd"), ("strategies.skip_hours_timezone", "invalid_params")),
    ],
)
def test_a_request_that_cannot_run_is_refused_naming_field_and_code(
    request_changes: dict[str, Any], by: StrategyRow | None, expected: tuple[str, str]
) -> None:
    assert refusals(decide(requested(**request_changes), by)) == [expected]


def test_a_symbol_in_another_case_is_told_the_spelling_it_may_have_meant() -> None:
    decision = decide(requested(symbol="eurusd"), STRATEGY)
    assert isinstance(decision, Refused)
    (problem,) = decision.problems
    assert problem.message == "'eurusd' is in no instruments file; did you mean 'EURUSD'?"
    unlike = decide(requested(symbol="NOSUCH"), STRATEGY)
    assert isinstance(unlike, Refused)
    assert "did you mean" not in unlike.problems[0].message


def test_an_unknown_timeframe_is_told_the_known_ones() -> None:
    decision = decide(requested(timeframe="h1"), STRATEGY)
    assert isinstance(decision, Refused)
    assert decision.problems[0].message.startswith("'h1' is no timeframe; known are M1, M2, ")


def test_a_request_that_breaks_the_schema_is_told_what_else_is_wrong_with_it() -> None:
    request = requested(symbol="NOSUCH", timeframe="H5", volume=-1, strategy_params={"fast": -1}, nonsense=1)

    assert refusals(decide(request, strategy(is_active=False))) == [
        ("volume", "invalid_request"),
        ("nonsense", "invalid_request"),
        ("strategy_id", "strategy_inactive"),
        ("strategy_params.fast", "invalid_params"),
        ("symbol", "unknown_symbol"),
        ("timeframe", "unknown_timeframe"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"strategy_id": None, "symbol": "EUR/USD"}, ["symbol", "strategy_id"]),
        ({"strategy_id": "1", "symbol": None}, ["strategy_id", "symbol"]),
        ({"timeframe": 5, "context_tfs": "H4"}, ["timeframe", "context_tfs"]),
        ({"run_id": "7"}, ["run_id"]),
    ],
)
def test_a_field_that_breaks_the_schema_is_told_once_and_not_what_stands_in_its_place(
    changes: dict[str, Any], expected: list[str]
) -> None:
    by = strategy(primary_tf="H5", context_tfs="nonsense") if "timeframe" in changes else None

    assert refusals(decide(requested(**changes), by)) == [(field, "invalid_request") for field in expected]


def test_a_flood_of_unknown_parameters_and_contexts_fits_into_one_rejection() -> None:
    name = chr(0x1F600) * 10_000
    params = {f"{number}{name[:10]}": 1 for number in range(5_000)} | {name: 1}

    decision = decide(requested(strategy_params=params, context_tfs=[f"X{number}" for number in range(5_000)]))

    assert isinstance(decision, Refused)
    assert len(decision.problems) <= MAX_PROBLEMS + 1
    assert decision.problems[-1].field == "..."
    event = rejection("r" * 255, {}, decision.problems)
    assert len(json.dumps(event.model_dump())) < 1_000_000


def test_a_request_that_breaks_the_schema_is_held_against_the_row_it_names() -> None:
    request = requested(run_id=7, symbol="GBPUSD", spread_pips=-1)

    assert refusals(decide(request, run=row(status="completed"))) == [
        ("spread_pips", "invalid_request"),
        ("run_id", "run_not_pending"),
        ("symbol", "run_disagrees"),
    ]
    assert refusals(decide(request)) == [("spread_pips", "invalid_request"), ("run_id", "run_not_found")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sl_pips": -5.0}, "invalid_params"),
        ({"tp_pips": float("nan")}, "invalid_params"),
        ({"sl_pips": float("inf")}, "invalid_params"),
        ({"on_opposite": "panic"}, "invalid_params"),
    ],
)
def test_a_strategy_row_that_holds_what_no_strategy_can_have_is_a_refusal_and_no_crash(
    changes: dict[str, Any], expected: str
) -> None:
    decision = decide(by=strategy(**changes))

    [(field, code)] = refusals(decision)
    assert (field, code) == (f"strategies.{next(iter(changes))}", expected)


@pytest.mark.parametrize(
    ("run", "request_changes", "expected"),
    [
        (None, {}, ("run_id", "run_not_found")),
        (row(status="running"), {}, ("run_id", "run_not_pending")),
        (row(status="completed"), {}, ("run_id", "run_not_pending")),
        (row(has_execution=True), {}, ("run_id", "run_not_pending")),
        (row(), {"symbol": "GBPUSD"}, ("symbol", "run_disagrees")),
        (row(), {"strategy_id": 2}, ("strategy_id", "run_disagrees")),
        (row(), {"start_date": "2024-01-01T00:00:01Z"}, ("start_date", "run_disagrees")),
        (row(), {"spread_pips": 1.6}, ("spread_pips", "run_disagrees")),
        (row(), {"context_tfs": []}, ("context_tfs", "run_disagrees")),
        (row(), {"primary_tf": "M15"}, ("primary_tf", "run_disagrees")),
        (row(initial_balance=0.0), {}, ("initial_balance", "invalid_request")),
        (row(initial_balance=1e-320), {}, ("initial_balance", "invalid_request")),
        (row(spread_pips=1e308), {}, ("spread_pips", "invalid_request")),
        (row(spread_pips=float("nan")), {}, ("spread_pips", "invalid_request")),
        (row(commission_per_lot=float("inf")), {}, ("commission_per_lot", "invalid_request")),
        (row(tp_partial_close_ratio=1.5), {}, ("tp_partial_close_ratio", "invalid_request")),
        (row(execution_mode="sideways"), {}, ("execution_mode", "invalid_request")),
        (row(end_date=ROW.start_date), {}, ("start_date", "invalid_request")),
        (row(context_tfs="null"), {}, ("context_tfs", "invalid_params")),
    ],
)
def test_a_row_that_cannot_run_is_refused_naming_field_and_code(
    run: RunRow | None, request_changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert refusals(decide(requested(run_id=7, **request_changes), STRATEGY, run)) == [expected]


def test_parameters_whose_check_fails_in_the_strategys_own_code_are_a_refusal_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Params:
        @staticmethod
        def model_validate(_: object) -> None:
            raise KeyError("a defect of the strategy")

    monkeypatch.setattr(
        "consumer.preparation.strategy_verdict.load_strategy", lambda _: type("Broken", (), {"Params": Params})
    )

    assert refusals(decide()) == [("strategy_params", "invalid_params")]


def test_everything_at_fault_is_listed_at_once_and_the_first_code_of_the_contract_is_told() -> None:
    by = strategy(is_active=False, skip_hours="[99]", symbols='["GBPUSD"]')
    decision = decide(requested(symbol="NOSUCH", timeframe="H5", volume=0.015), by)

    found = refusals(decision)
    assert {code for _, code in found} == {
        "invalid_request",
        "strategy_inactive",
        "invalid_params",
        "unknown_symbol",
        "symbol_not_allowed",
        "unknown_timeframe",
    } - {"invalid_request"}  # lots of an unknown instrument cannot be checked
    assert isinstance(decision, Refused)
    writer = EventRenderer("test", World().clock)
    error = body(writer.rejected(requested(), decision.problems).value)["error"]
    assert error["code"] == min((code for _, code in found), key=REJECTION_CODES.index)
    assert len(error["details"]) == len(found)


def test_a_request_without_a_row_takes_timeframes_of_its_strategy_and_defaults_of_the_table() -> None:
    decision = admitted(decide(by=strategy(primary_tf="H4", context_tfs='["D1"]')))

    assert decision.columns == {
        "strategy_id": 1,
        "symbol": "EURUSD",
        "timeframe": "H4",
        "primary_tf": "H4",
        "context_tfs": '["D1"]',
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "end_date": datetime(2024, 2, 1, tzinfo=UTC),
        "initial_balance": 10_000.0,
        "spread_pips": 1.5,
        "execution_mode": "close_price",
        "max_llm_calls": 100,
        "commission_per_lot": 0.0,
        "tp_partial_close_ratio": 0.5,
    }
    assert (decision.specification["timeframe"], decision.specification["context_timeframes"]) == ("H4", ["D1"])
    assert decision.specification["account_currency"] == "USD"


def test_a_request_with_a_row_takes_its_columns_whatever_its_primary_tf_says() -> None:
    decision = admitted(decide(requested(run_id=7), STRATEGY, row(spread_pips=0.3)))

    assert (decision.specification["timeframe"], decision.specification["spread_pips"]) == ("H1", 0.3)
    assert decision.specification["context_timeframes"] == ["H4"]
    assert decision.columns["primary_tf"] == "H1"


def test_parameters_of_the_request_are_merged_over_those_of_the_strategy() -> None:
    decision = admitted(decide(requested(strategy_params={"slow": 40}), strategy(strategy_params='{"fast": 5}')))

    assert decision.specification["strategy_params"] == {"fast": 5, "slow": 40}


@pytest.mark.parametrize(
    ("request_changes", "columns", "expected"),
    [
        ({}, {}, (0.1, None)),
        ({}, {"lot_size": 0.5}, (0.5, None)),
        ({}, {"lot_size": 0.5, "risk_pct": 0.01}, (None, 0.01)),
        ({"volume": 0.2}, {"lot_size": 0.5, "risk_pct": 0.01}, (0.2, None)),
        ({"risk_pct": 0.02}, {"lot_size": 0.5}, (None, 0.02)),
    ],
)
def test_the_size_of_a_trade_is_the_requests_word_as_a_whole_else_the_strategys(
    request_changes: dict[str, Any], columns: dict[str, Any], expected: tuple[float | None, float | None]
) -> None:
    """In the specification risk_pct wins over volume, so a volume asked for must not meet a strategy's risk."""
    specification = admitted(decide(requested(**request_changes), strategy(**columns))).specification

    assert (specification["volume"], specification["risk_pct"]) == expected


def test_what_a_strategy_skips_is_part_of_the_snapshot() -> None:
    by = strategy(skip_hours="[22, 21, 22]", skip_weekdays="[4]", skip_hours_timezone="America/New_York")

    specification = admitted(decide(by=by)).specification

    assert (specification["skip_hours"], specification["skip_weekdays"]) == ([21, 22], [4])
    assert specification["skip_timezone"] == "America/New_York"


def test_the_specification_is_a_snapshot_that_json_carries_without_loss() -> None:
    decision = admitted(decide(requested(initial_balance=0.1 + 0.2, spread_pips=1e-17, warm_up_bars=0)))

    again = json.loads(json.dumps(decision.specification))
    assert again == decision.specification
    assert (again["initial_balance"], again["spread_pips"], again["warm_up_bars"]) == (0.1 + 0.2, 1e-17, 0)


def test_costs_and_limits_of_the_account_are_in_the_snapshot_where_they_are_asked_for() -> None:
    account: dict[str, Any] = {"slippage_pips": 0.3, "commission_pct": 0.01, "leverage": 30.0, "stop_out_pct": 50.0}

    asked = admitted(decide(requested(**account))).specification
    assert {name: asked[name] for name in account} == account
    not_asked = admitted(decide(requested(slippage_pips=0.0, stop_out_pct=0))).specification
    assert account.keys().isdisjoint(not_asked)
    assert not_asked == admitted(decide(requested())).specification


def test_a_row_that_is_cancelled_already_is_admitted_to_end_cancelled() -> None:
    admitted(decide(requested(run_id=7), STRATEGY, row(status="cancelled")))


def test_a_broken_specification_in_json_of_any_depth_is_a_refusal_and_no_crash() -> None:
    deep = "[" * 100_000

    assert refusals(decide(by=strategy(symbols=deep, skip_hours=deep, strategy_params=deep))) == [
        ("strategies.symbols", "invalid_params"),
        ("strategies.strategy_params", "invalid_params"),
        ("strategies.skip_hours", "invalid_params"),
    ]


def test_the_wire_and_the_engine_refuse_the_same_amounts() -> None:
    """schemas knows nothing of the engine, so both spell the bounds out."""

    def bounds(field: str) -> dict[str, float]:
        found = BacktestRequested.model_json_schema()["properties"][field]["anyOf"][0]
        return {name: found[name] for name in ("minimum", "maximum")}

    assert bounds("initial_balance") == {"minimum": BALANCES[0], "maximum": BALANCES[1]}
    assert bounds("spread_pips") == {"minimum": 0, "maximum": LARGEST_SPREAD_PIPS}
    assert bounds("commission_per_lot") == {"minimum": 0, "maximum": LARGEST_COMMISSION}
    assert bounds("slippage_pips") == {"minimum": 0, "maximum": LARGEST_SLIPPAGE_PIPS}
    assert bounds("commission_pct") == {"minimum": 0, "maximum": LARGEST_COMMISSION_PCT}
    assert bounds("leverage") == {"minimum": LEVERAGES[0], "maximum": LEVERAGES[1]}
    assert bounds("stop_out_pct") == {"minimum": 0, "maximum": LARGEST_STOP_OUT_PCT}
    assert bounds("warm_up_bars") == {"minimum": 0, "maximum": MOST_WARM_UP_BARS}
