"""Runs that a language model decides in, from outside: a scripted server, real Kafka, real Postgres, real deaths."""

import json
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from consumer.devstack import StackKind
from tests.support.front_door import FrontDoor, Worker, open_front_door
from tests.support.scripted_model import HOLD, Says, ScriptedModel, says
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

KEY = "sk-planted-4711/front+door"
WEEK = {"start_date": "2017-01-02T00:00:00Z", "end_date": "2017-01-07T00:00:00Z"}
BUY = {"action": "BUY", "confidence": 0.9, "reason": "up"}


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("models"), stack_kind) as opened:
        yield opened


@pytest.fixture(scope="module")
def started() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest.fixture
def server(started: ScriptedModel) -> ScriptedModel:
    """As if it was started for the test."""
    started.script = says()
    started.received = []
    return started


@pytest.fixture(scope="module")
async def worker(door: FrontDoor, started: ScriptedModel) -> AsyncIterator[Worker]:
    """One for all tests that ask for it; those that need other workers stand before them, while there is none yet."""
    async with door.worker(**settings(started)) as worker:
        yield worker


def settings(server: ScriptedModel, **changes: str) -> dict[str, str]:
    given = {
        "llm_model": "openai:scripted",
        "llm_base_url": server.url,
        "llm_api_key": KEY,
        "llm_requests_per_minute": "100000",
        "llm_input_price": "2",
        "llm_output_price": "10",
        "llm_patience_seconds": "4",
        "llm_cutoff": "2024-06-30",
        "lease_seconds": "2",
        "progress_interval_seconds": "0.1",
    }
    return {**given, **changes}


async def strategy(door: FrontDoor, mode: str, llm: dict[str, Any] | None = None, **columns: Any) -> int:
    """A row of that mode, whose prompt nobody else has: its answers are its own."""
    key = {"llm_only": None, "multi_agent": None}.get(mode, "sma_cross")
    params = {**({"fast": 5, "slow": 20} if key else {}), **({"llm": llm} if llm else {})}
    prompt = f"Trade as number {next(door.numbers)} would."
    given = {"execution_mode": mode, "strategy_params": json.dumps(params), "custom_prompt": prompt, **columns}
    return await door.add_strategy(key, **given)  # type: ignore[arg-type]  # no key where no rule decides


async def calls_of(door: FrontDoor, run_id: int) -> list[dict[str, Any]]:
    rows = await door.database.fetch("SELECT * FROM backtest_llm_calls WHERE run_id = $1 ORDER BY number", run_id)
    return [dict(row) for row in rows]


async def ended(door: FrontDoor, request_id: str) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The run's row, its terminal event's data and its calls."""
    terminal = await door.terminal_event(request_id, seconds=150)  # a worker may have to start and join its group first
    row = await door.row_of(request_id)
    return row, terminal.data, await calls_of(door, row["id"])


async def test_without_a_model_such_a_request_is_rejected_and_the_rule_alone_runs(door: FrontDoor) -> None:
    async with door.worker():
        strategy_id = await strategy(door, "rule_then_llm")
        refused = (await door.terminal_event(await door.request(strategy_id, **WEEK))).data
        alone = await ended(door, await door.request(strategy_id, **WEEK, skip_llm=True))

    assert refused["error"]["code"] == "mode_unavailable"
    assert alone[0]["status"] == "completed"
    assert alone[2] == []
    assert "llm_calls_used" not in alone[1]


async def test_a_worker_killed_between_ask_and_answer_costs_one_call_and_no_more(
    door: FrontDoor, server: ScriptedModel
) -> None:
    stuck = threading.Event()
    server.script = lambda received: Says(BUY, after=stuck if received.number == 3 else None)
    strategy_id = await strategy(door, "llm_only")
    async with door.worker(**settings(server)) as first:
        request_id = await door.request(strategy_id, **WEEK, max_llm_calls=5)
        await eventually(lambda: truth(server.calls == 3), "the third call", seconds=120)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        server.script = says(BUY)
        stuck.set()
        async with door.worker(**settings(server)):
            row, told, calls = await ended(door, request_id)

    assert row["status"] == "completed"
    assert [call["state"] for call in calls] == ["answered", "answered", "asked", "answered", "answered"]
    assert server.calls == len(calls) == told["llm_calls_used"] == 5
    assert any("budget" in warning for warning in told["warnings"]), told["warnings"]
    assert len({call["key"] for call in calls}) == 4


@pytest.mark.parametrize("mode", ["llm_only", "rule_then_llm", "hybrid_validator", "multi_agent"])
async def test_a_model_decides_within_its_budget_and_every_call_is_accounted_for(
    door: FrontDoor, server: ScriptedModel, worker: Worker, mode: str
) -> None:
    server.script = lambda received: Says(BUY if received.number % 3 else HOLD)
    strategy_id = await strategy(door, mode)
    request_id = await door.request(strategy_id, **WEEK, max_llm_calls=6)
    row, told, calls = await ended(door, request_id)

    assert row["status"] == "completed", row["error_message"]
    assert 0 < len(calls) == server.calls <= 6
    assert {call["state"] for call in calls} == {"answered"}
    assert told["llm_calls_used"] == told["metrics"]["llm_calls_used"] == len(calls)
    assert told["llm_calls_cached"] == 0
    assert told["llm_input_tokens"] == 100 * len(calls)
    assert told["llm_cost"] == pytest.approx(len(calls) * 0.0003)
    roles = {"multi_agent": {"trend", "risk", "contrarian"}}.get(mode, {""})
    assert {call["role"] for call in calls} == roles
    assert all("Trade as number" in received.prompt for received in server.received)
    assert all((door.directory / "artifacts" / "llm" / f"{call['key']}.json").exists() for call in calls)
    sources = {
        trade["source"]
        for trade in await door.database.fetch("SELECT source FROM backtest_trades WHERE run_id = $1", row["id"])
    }
    assert sources <= {"rule" if mode == "hybrid_validator" else "llm"}
    assert sources or mode == "rule_then_llm"

    again = await door.request(strategy_id, **WEEK, max_llm_calls=6)
    _, repeated, own_calls = await ended(door, again)
    assert own_calls == []
    assert server.calls == len(calls)
    assert repeated["result_digest"] == told["result_digest"]
    assert (repeated["llm_calls_used"], repeated["llm_calls_cached"]) == (0, len({call["key"] for call in calls}))

    replay = await door.request(strategy_id, **WEEK, max_llm_calls=6, llm_replay=True)
    assert (await ended(door, replay))[1]["result_digest"] == told["result_digest"]


async def test_a_provider_that_fails_for_a_while_is_asked_again_and_each_try_counts(
    door: FrontDoor, server: ScriptedModel, worker: Worker
) -> None:
    failures = [Says(status=429, headers={"Retry-After": "1"}), Says(status=500), Says(cuts=True)]
    server.script = lambda received: failures[received.number - 1] if received.number <= 3 else Says(HOLD)
    request_id = await door.request(await strategy(door, "llm_only", {"every": 60}), **WEEK, max_llm_calls=6)
    began = time.monotonic()
    row, told, calls = await ended(door, request_id)

    assert row["status"] == "completed"
    assert [call["state"] for call in calls] == ["failed"] * 3 + ["answered"] * 2
    assert server.calls == told["llm_calls_used"] == 5
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (Says(status=500), "llm_unavailable"),
        (Says(f"no such key: {KEY}", status=401), "llm_refused"),
        (Says(status=429, headers={"Retry-After": "3600"}), "llm_refused"),
    ],
)
async def test_a_provider_that_stays_down_or_refuses_fails_the_run(
    door: FrontDoor, server: ScriptedModel, worker: Worker, said: Says, code: str
) -> None:
    server.script = lambda _: said
    strategy_id = await strategy(door, "llm_only")
    row, told, calls = await ended(door, await door.request(strategy_id, **WEEK, max_llm_calls=100))

    assert told["error"]["code"] == code
    assert row["error_message"].startswith(f"{code}: ")
    assert server.calls == len(calls) == (1 if code == "llm_refused" else len(calls))
    assert {call["state"] for call in calls} == {"failed"}

    server.script = says(HOLD)
    row, told, _ = await ended(door, await door.request(strategy_id, **WEEK, max_llm_calls=3))
    assert row["status"] == "completed"
    await no_secret_anywhere(door, worker)


async def no_secret_anywhere(door: FrontDoor, worker: Worker) -> None:
    assert KEY not in worker.log_text()
    assert not any(KEY.encode() in message.value for message in door.messages)
    for table in ("backtest_llm_calls", "backtest_runs", "backtest_requests", "backtest_outbox", "backtest_results"):
        rows = await door.database.fetch(f"SELECT t::text AS text FROM {table} t")
        assert not any(KEY in row["text"] for row in rows)
    for file in (door.directory / "artifacts").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "content", ["no JSON at all", json.dumps({"action": "BUY", "stop_loss": 99.0}), json.dumps({"action": "JUMP"})]
)
async def test_an_answer_that_is_none_is_asked_for_once_more_and_then_left(
    door: FrontDoor, server: ScriptedModel, worker: Worker, content: str
) -> None:
    server.script = says(content)
    strategy_id = await strategy(door, "llm_only", {"every": 60})
    row, told, calls = await ended(door, await door.request(strategy_id, **WEEK, max_llm_calls=10))

    assert row["status"] == "completed"
    assert row["total_trades"] == 0
    assert server.calls == len(calls) == told["llm_calls_used"] == 4
    assert content in server.received[1].prompt


async def test_a_cancel_stops_a_run_whose_call_is_out_within_its_second(
    door: FrontDoor, server: ScriptedModel, worker: Worker
) -> None:
    stuck = threading.Event()
    server.script = lambda _: Says(HOLD, after=stuck)
    request_id = await door.request(await strategy(door, "llm_only"), **WEEK)
    await eventually(lambda: truth(server.calls == 1), "the call")
    asked = time.monotonic()
    await eventually(lambda: truth(time.monotonic() - asked > 3), "more than a lease: it is kept while the call is out")
    began = time.monotonic()
    await door.cancel(request_id=request_id)
    told = (await door.terminal_event(request_id)).data

    assert time.monotonic() - began < 2
    assert (told["status"], told["attempt"]) == ("cancelled", 1)
    stuck.set()

    async def is_kept() -> bool:
        [call] = await calls_of(door, told["run_id"])
        return bool(call["state"] == "answered")

    await eventually(is_kept, "the answer that was paid for")


@pytest.mark.parametrize(
    ("llm", "field", "code"),
    [
        ({"model": "openai:other"}, "strategy_params.llm.model", "mode_unavailable"),
        ({"every": 0}, "strategy_params.llm.every", "invalid_params"),
        ({"evry": 1}, "strategy_params.llm.evry", "invalid_params"),
        ({"indicators": {"x": "slo"}}, "strategy_params.llm.indicators.x", "invalid_params"),
    ],
)
async def test_what_may_not_be_asked_of_a_model_is_rejected_by_field(
    door: FrontDoor, worker: Worker, llm: dict[str, Any], field: str, code: str
) -> None:
    strategy_id = await strategy(door, "llm_only")
    told = (await door.terminal_event(await door.request(strategy_id, **WEEK, strategy_params={"llm": llm}))).data

    assert {(each["field"], each["code"]) for each in told["error"]["details"]} == {(field, code)}


async def test_the_calls_are_told_while_the_run_waits_for_the_next_one(
    door: FrontDoor, server: ScriptedModel, worker: Worker
) -> None:
    stuck = threading.Event()
    server.script = lambda received: Says(HOLD, after=stuck if received.number == 2 else None)
    request_id = await door.request(await strategy(door, "llm_only", {"every": 60}), **WEEK)

    async def told() -> bool:
        events = [each.data for each in door.events_of(request_id) if each.kind == "progress"]
        return any((each.get("llm_calls_used"), each.get("llm_input_tokens")) == (2, 100) for each in events)

    await eventually(told, "an event with two calls, one of them answered")
    stuck.set()
    assert (await door.terminal_event(request_id)).data["llm_input_tokens"] == 200


async def test_a_replay_without_an_answer_names_the_bar(door: FrontDoor, server: ScriptedModel, worker: Worker) -> None:
    strategy_id = await strategy(door, "llm_only")
    told = (await door.terminal_event(await door.request(strategy_id, **WEEK, llm_replay=True))).data

    assert told["error"]["code"] == "llm_replay_miss"
    assert re.search(r"2017-01-0\dT\d\d:00:00Z", told["error"]["message"])
    assert server.calls == 0


async def test_a_run_over_what_the_model_may_remember_says_so_and_another_prompt_is_another_run(
    door: FrontDoor, server: ScriptedModel, worker: Worker
) -> None:
    ids = [await strategy(door, "llm_only", {"every": 60}) for _ in range(2)]
    told = [(await ended(door, await door.request(each, **WEEK)))[1] for each in ids]

    assert all(any("2024-06-30" in warning for warning in each["warnings"]) for each in told)
    assert told[0]["result_digest"] != told[1]["result_digest"]
    assert server.calls == 4


async def truth(value: bool) -> bool:
    return value
