"""Every answer and every code of docs/events.md, reached through real Kafka: what is sent, and all that comes of it.

One worker for all of them, as in life: whatever one request is, the others are answered.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaProducer

from consumer.devstack import StackKind
from schemas.dead_letter import DeadLetterReason
from schemas.problems import REJECTION_CODES
from tests.support.front_door import JANUARY, SAMPLE, FrontDoor, open_front_door

pytestmark = pytest.mark.integration

MIB = 1024 * 1024
INVALID = "invalid_request"
EXTRA = '{"fast": 3, "slow": 9}'


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    directory = tmp_path_factory.mktemp("answers")
    async with open_front_door(directory, stack_kind) as opened:
        write_bad_bars(directory / "market-data")
        async with opened.worker(engine_memory_mb="700", run_timeout_seconds="5", slots="2"):
            yield opened


# --- dead letters ---------------------------------------------------------------------------------------------------

GOOD = {"strategy_id": 1, "symbol": "EURUSD", **JANUARY}
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "e", "source": "tests", "type": "backtest.requested", "data": GOOD,
}  # fmt: skip


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key != name}).encode()


LETTERS: dict[str, tuple[str, bytes | None, str]] = {
    "no JSON": ("backtest.requested", b"\xff\xfe", "undecodable"),
    "no object": ("backtest.requested", b"[1, 2]", "undecodable"),
    "nothing": ("backtest.requested", None, "undecodable"),
    "no id": ("backtest.requested", without("id"), "undecodable"),
    "no source": ("backtest.requested", without("source"), "undecodable"),
    "no data": ("backtest.requested", without("data"), "undecodable"),
    "another type": ("backtest.requested", json.dumps({**EVENT, "type": "backtest.completed"}).encode(), "wrong_type"),
    "a cancel that names nobody": ("backtest.cancel_requested", b'{"reason": "why not"}', INVALID),
    "a cancel of two": ("backtest.cancel_requested", b'{"run_id": 1, "request_id": "r"}', INVALID),
    "a cancel with more": ("backtest.cancel_requested", b'{"run_id": 1, "colour": "red"}', INVALID),
    "a cancel that is no JSON": ("backtest.cancel_requested", b"cancel!", "undecodable"),
}


@pytest.mark.parametrize("name", list(LETTERS))
async def test_what_cannot_be_used_is_dead_lettered_as_it_came_with_its_reason(door: FrontDoor, name: str) -> None:
    topic, value, reason = LETTERS[name]
    key = f"letter/{name}".encode()
    await door.send_raw(topic, value, key=key, headers=[("trace", b"\x00\xff")])
    letter = await door.message(lambda m: m.topic.endswith("dlq") and m.key == key, name)
    assert (letter.value, letter.headers["trace"]) == (value or b"", b"\x00\xff")
    assert letter.headers["dlq-reason"] == reason.encode()
    assert letter.headers["dlq-topic"] == topic.encode()
    assert letter.headers["dlq-message"]
    assert {"dlq-partition", "dlq-offset", "dlq-time"} <= set(letter.headers)
    assert "dlq-truncated" not in letter.headers


@pytest.mark.parametrize(("size", "is_cut"), [(MIB + 1, False), (8 * MIB + MIB // 2, True)])
async def test_a_record_over_1_mib_is_dead_lettered_whole_where_it_fits_and_else_its_beginning(
    door: FrontDoor, size: int, is_cut: bool
) -> None:
    key, value = f"too large/{size}".encode(), b"{" + b" " * (size - 1)
    servers = door.stack.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=10 * MIB) as producer:
        await producer.send_and_wait("backtest.requested", value, key=key)
    letter = await door.message(lambda m: m.topic.endswith("dlq") and m.key == key, "the large record")
    assert letter.headers["dlq-reason"] == b"too_large"
    assert letter.headers.get("dlq-truncated") == (b"true" if is_cut else None)
    assert letter.value == (value[: 64 * 1024] if is_cut else value)


async def test_a_request_id_with_other_content_is_a_conflict(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    request_id = await door.request(strategy_id)
    await door.request(strategy_id, request_id=request_id, spread_pips=2.5)
    letter = await door.message(
        lambda m: m.topic.endswith("dlq") and m.key == request_id.encode(), "the conflict's dead letter"
    )
    assert letter.headers["dlq-reason"] == b"conflict"
    assert letter.data["spread_pips"] == 2.5
    assert (await door.terminal_event(request_id)).kind == "completed"


def test_every_reason_of_a_dead_letter_is_reached_here() -> None:
    assert {reason for _, _, reason in LETTERS.values()} | {"too_large", "conflict"} == set(DeadLetterReason)


# --- rejections -----------------------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "unknown field": ({"colour": "red"}, {("colour", INVALID)}),
    "missing fields": (
        {"symbol": None, "start_date": None, "end_date": None, "strategy_id": None},
        {(name, INVALID) for name in ("symbol", "start_date", "end_date", "strategy_id")},
    ),
    "wrong types": (
        {"spread_pips": "1.5", "max_llm_calls": 1.5, "stop_to_entry": "yes"},
        {("spread_pips", INVALID), ("max_llm_calls", INVALID), ("stop_to_entry", INVALID)},
    ),
    "out of range": (
        {"initial_balance": 0, "tp_partial_close_ratio": 1.5, "risk_pct": 2, "commission_per_lot": -1},
        {(name, INVALID) for name in ("initial_balance", "tp_partial_close_ratio", "risk_pct", "commission_per_lot")},
    ),
    "an end before the start": ({"end_date": "2016-01-01T00:00:00Z"}, {("start_date", INVALID), ("end_date", INVALID)}),
    "an empty range": ({"end_date": JANUARY["start_date"]}, {("start_date", INVALID), ("end_date", INVALID)}),
    "a date without an offset": ({"start_date": "2017-01-02T00:00:00"}, {("start_date", INVALID)}),
    "NaN": ({"spread_pips": float("nan")}, {("spread_pips", INVALID)}),
    "infinity": ({"initial_balance": float("inf")}, {("initial_balance", INVALID)}),
    "NUL in a text": ({"symbol": "EUR\0USD"}, {("symbol", INVALID)}),
    "NUL in a parameter": ({"strategy_params": {"name": "\0"}}, {("strategy_params.name", INVALID)}),
    "an integer beyond its column": ({"max_llm_calls": 2**31}, {("max_llm_calls", INVALID)}),
    "another primary_tf": ({"timeframe": "H1", "primary_tf": "H4"}, {("primary_tf", INVALID)}),
    "a volume off the lot step": ({"volume": 0.015}, {("volume", INVALID)}),
    "no such strategy": ({"strategy_id": 2_000_000_000}, {("strategy_id", "unknown_strategy")}),
    "wrong parameters": (
        {"strategy_params": {"fast": 0, "colour": 1}},
        {("strategy_params.fast", "invalid_params"), ("strategy_params.colour", "invalid_params")},
    ),
    "no such symbol": ({"symbol": "NOSUCH"}, {("symbol", "unknown_symbol")}),
    "no such timeframe": ({"timeframe": "H5"}, {("timeframe", "unknown_timeframe")}),
    "no such context": ({"context_tfs": ["H4", "H5"]}, {("context_tfs.1", "unknown_timeframe")}),
    "several at once": (
        {"symbol": "NOSUCH", "timeframe": "H5", "strategy_params": {"fast": 0}},
        {("symbol", "unknown_symbol"), ("timeframe", "unknown_timeframe"), ("strategy_params.fast", "invalid_params")},
    ),
}
"""Name -> fields over those of a good request (None: left out), and the answer: each field at fault with its code."""

BY_STRATEGY: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "inactive": ({"is_active": False}, {("strategy_id", "strategy_inactive")}),
    "of another symbol": ({"symbols": '["GBPUSD"]'}, {("symbol", "symbol_not_allowed")}),
    "that a model decides": ({"execution_mode": "llm_only"}, {("strategy_id", "mode_unavailable")}),
    "that is not registered": ({"strategy_key": "nobody"}, {("strategy_id", "unknown_strategy")}),
    "without a key": ({"strategy_key": None}, {("strategy_id", "unknown_strategy")}),
}

BY_ROW: dict[str, tuple[dict[str, Any], dict[str, Any], set[tuple[str, str]]]] = {
    "running": ({"status": "running"}, {}, {("run_id", "run_not_pending")}),
    "completed": ({"status": "completed"}, {}, {("run_id", "run_not_pending")}),
    "that says otherwise": (
        {"spread_pips": 0.7},
        {"spread_pips": 0.8, "symbol": "GBPUSD"},
        {("spread_pips", "run_disagrees"), ("symbol", "run_disagrees")},
    ),
}
"""Name -> columns of the row, fields of the request, and the answer."""


@pytest.mark.parametrize("name", list(REJECTED))
async def test_a_request_at_fault_is_rejected_with_every_field_named(door: FrontDoor, name: str) -> None:
    fields, expected = REJECTED[name]
    strategy_id = await door.add_strategy(strategy_params=EXTRA)
    data = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY, **fields}
    sent = {key: value for key, value in data.items() if value is not None}
    await door.request(request_id=f"rejected/{name}", **sent)
    await is_rejected(door, f"rejected/{name}", expected)
    assert await door.database.fetchval("SELECT count(*) FROM backtest_runs WHERE strategy_id = $1", strategy_id) == 0


@pytest.mark.parametrize("name", list(BY_STRATEGY))
async def test_a_strategy_that_cannot_run_is_named(door: FrontDoor, name: str) -> None:
    columns, expected = BY_STRATEGY[name]
    strategy_id = await door.add_strategy(**{"key": "sma_cross", **columns})
    await door.request(strategy_id, request_id=f"strategy/{name}")
    await is_rejected(door, f"strategy/{name}", expected)


@pytest.mark.parametrize("name", list(BY_ROW))
async def test_a_row_that_cannot_run_is_named_and_stays_as_it_is(door: FrontDoor, name: str) -> None:
    columns, fields, expected = BY_ROW[name]
    run_id = await door.add_run(await door.add_strategy(), **columns)
    before = await door.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", run_id)
    await door.request(request_id=f"row/{name}", run_id=run_id, **fields)
    event = await is_rejected(door, f"row/{name}", expected)
    assert event["run_id"] == run_id
    assert await door.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", run_id) == before


async def test_a_row_that_is_not_there_is_named(door: FrontDoor) -> None:
    await door.request(request_id="row/none", run_id=2_000_000_000)
    event = await is_rejected(door, "row/none", {("run_id", "run_not_found")})
    assert event["run_id"] == 2_000_000_000


async def test_a_row_runs_once(door: FrontDoor) -> None:
    run_id = await door.add_run(await door.add_strategy())
    await door.request(request_id="row/first", run_id=run_id)
    await door.terminal_event("row/first")
    await door.request(request_id="row/second", run_id=run_id)
    await is_rejected(door, "row/second", {("run_id", "run_not_pending")})


async def test_a_rejection_is_as_durable_as_an_acceptance(door: FrontDoor) -> None:
    await door.request(request_id="rejected twice", strategy_id=2_000_000_000, symbol="EURUSD", **JANUARY)
    await door.terminal_event("rejected twice")
    await door.request(request_id="rejected twice", strategy_id=2_000_000_000, symbol="EURUSD", **JANUARY)
    marker = await door.request(await door.add_strategy(), request_id="rejected twice/marker")
    await door.terminal_event(marker)
    assert len(door.events_of("rejected twice", "backtest.completed")) == 1


async def test_a_row_that_is_cancelled_before_its_request_ends_cancelled(door: FrontDoor) -> None:
    run_id = await door.add_run(await door.add_strategy(), status="cancelled")
    await door.request(request_id="row/cancelled", run_id=run_id)
    event = await door.terminal_event("row/cancelled")
    assert (event.kind, event.data["reason"], event.data["run_id"]) == ("cancelled", "row", run_id)


def test_every_code_of_a_rejection_is_reached_here() -> None:
    answers = [*(expected for _, expected in (*REJECTED.values(), *BY_STRATEGY.values()))]
    answers += [expected for _, _, expected in BY_ROW.values()]
    reached = {code for expected in answers for _, code in expected}
    assert reached | {"run_not_found"} == set(REJECTION_CODES)


async def is_rejected(door: FrontDoor, request_id: str, expected: set[tuple[str, str]]) -> dict[str, Any]:
    """The request ends in one rejection that names these fields and no others; the data of the event."""
    message = await door.terminal_event(request_id)
    data, error = message.data, message.data["error"]
    assert message.kind == data["status"] == "rejected"
    assert {(each["field"], each["code"]) for each in error["details"]} == expected
    assert all(each["message"] for each in error["details"])
    assert error["code"] == min((code for _, code in expected), key=REJECTION_CODES.index)
    assert (message.key, data["attempt"], data["sequence"]) == (f"request/{request_id}".encode(), 0, 1)
    assert not door.events_of(request_id)
    return data


# --- failures -------------------------------------------------------------------------------------------------------

FAILED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no_data": ("sma_cross", {"symbol": "USDJPY"}, "USDJPY"),
    "bad_bars": ("sma_cross", {"symbol": "GBPUSD"}, "row 3"),
    "no_conversion": ("sma_cross", {"account_currency": "JPY"}, "JPY"),
    "strategy_error": ("test_raise", {}, "a user's mistake"),
    "timeout": ("test_spin", {}, "RUN_TIMEOUT_SECONDS"),
    "out_of_memory": ("test_hog", {}, "ENGINE_MEMORY_MB"),
    "crash_loop": ("test_crash", {}, "3 deaths"),
}
"""Code -> strategy, fields of the request, and what the message says."""


@pytest.mark.parametrize("code", list(FAILED))
async def test_a_run_that_goes_wrong_fails_alone_and_its_row_says_why(
    door: FrontDoor, tmp_path: Path, code: str
) -> None:
    key, fields, said = FAILED[code]
    own = {"sign_file": str(tmp_path / "sign")} if key in {"test_spin", "test_hog", "test_crash"} else {}
    bad, good = await door.add_strategy(key, strategy_params=json.dumps(own)), await door.add_strategy()
    beside = [await door.request(good, request_id=f"beside/{code}/{number}") for number in range(3)]
    request_id = await door.request(bad, request_id=f"failed/{code}", **fields)
    event, row = await door.terminal_event(request_id), await door.row_of(request_id, "failed")
    assert (event.kind, event.data["status"], event.data["error"]["code"]) == ("failed", "failed", code)
    assert said in event.data["error"]["message"]
    assert row["error_message"] == f"{code}: {event.data['error']['message']}"
    assert (row["total_trades"], row["sharpe_ratio"], row["data_file_path"]) == (None, None, None)
    assert event.data["attempt"] == (3 if code == "crash_loop" else 1)
    for other in beside:
        completed = await door.terminal_event(other)
        assert (completed.kind, completed.data["attempt"]) == ("completed", 1)


async def test_a_row_that_is_changed_while_it_runs_fails_rather_than_carry_figures_of_another_configuration(
    door: FrontDoor, tmp_path: Path
) -> None:
    files = {"sign_file": str(tmp_path / "sign"), "gate_file": str(tmp_path / "gate")}
    strategy_id = await door.add_strategy("test_gate", strategy_params=json.dumps(files))
    request_id = await door.request(strategy_id, request_id="failed/run_disagrees")
    run_id = (await door.row_of(request_id, "running"))["id"]
    await door.database.execute("UPDATE backtest_runs SET spread_pips = 9 WHERE id = $1", run_id)
    (tmp_path / "gate").touch()
    event = await door.terminal_event(request_id)
    assert (event.kind, event.data["error"]["code"]) == ("failed", "run_disagrees")
    assert [each["field"] for each in event.data["error"]["details"]] == ["spread_pips"]


def write_bad_bars(root: Path) -> None:
    """GBPUSD as EURUSD was in the first weeks of 2017, with a high below its low in the third row."""
    bars = pl.read_parquet(SAMPLE).filter(pl.col("time") >= datetime(2017, 1, 1, tzinfo=UTC)).head(600)
    spoilt = bars.with_row_index().with_columns(
        high=pl.when(pl.col("index") == 2).then(pl.col("low") - 0.01).otherwise(pl.col("high"))
    )
    file = root / "GBPUSD" / "H1" / "2017.parquet"
    file.parent.mkdir(parents=True)
    spoilt.drop("index").write_parquet(file)
