"""Requests over HTTP, end to end: a 202 is a run, whatever else happens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.kafka.client import KafkaTopics
from consumer.adapters.kafka.connection import KafkaConnection
from tests.support.api_process import Api, api_process
from tests.support.front_door import FrontDoor
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


async def test_an_accepted_request_is_a_row_that_a_worker_runs(door: FrontDoor, api: Api, strategy: int) -> None:
    answer = await api.post_run(strategy, key="end-to-end")

    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    run_id = accepted["run_id"]
    assert answer.headers["Location"] == f"/v1/backtest/{run_id}" == accepted["links"]["self"]
    assert (accepted["request_id"], accepted["status"]) == ("end-to-end", "pending")
    assert (await api.get(f"/v1/backtest/{run_id}")).status_code == 200
    async with door.worker():
        row = await door.row_of("end-to-end")
        assert (row["id"], row["status"]) == (run_id, "completed")
        event = await door.terminal_event("end-to-end")
        assert event.data["run_id"] == run_id


async def test_the_same_key_and_body_again_is_the_same_answer(api: Api, strategy: int) -> None:
    first = await api.post_run(strategy, key='"quoted key"')
    again = await api.post_run(strategy, key="quoted key")
    in_body = await api.post_run(strategy, request_id="quoted key")

    assert first.status_code == 202
    assert "Idempotency-Replayed" not in first.headers
    for repeat in (again, in_body):
        assert (repeat.status_code, repeat.content) == (202, first.content)
        assert repeat.headers["Idempotency-Replayed"] == "true"
        assert repeat.headers["Location"] == first.headers["Location"]


async def test_the_same_key_with_another_body_is_a_conflict(api: Api, strategy: int) -> None:
    await api.post_run(strategy, key="conflict")
    other = await api.post_run(strategy, key="conflict", spread_pips=3.0)

    assert other.status_code == 409
    assert other.json()["code"] == "conflict"


async def test_key_and_request_id_that_disagree_are_refused(api: Api, strategy: int) -> None:
    answer = await api.post_run(strategy, key="one", request_id="another")

    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["details"]] == ["request_id"]

    assert (await api.post_run(strategy, key="used")).status_code == 202
    for given in ({"key": "used", "request_id": "another"}, {"key": "another", "request_id": "used"}):
        assert (await api.post_run(strategy, **given)).status_code == 422, "what is known of either answered for it"


async def test_a_refusal_leaves_nothing_so_that_the_mended_body_is_new(
    door: FrontDoor, api: Api, strategy: int
) -> None:
    refused = await api.post_run(strategy, key="mended", symbol="NOSUCH", timeframe="H99", spread_pips=-1)
    assert refused.status_code == 422
    assert refused.json()["code"] == "invalid_request"
    assert {each["field"]: each["code"] for each in refused.json()["details"]} == {
        "symbol": "unknown_symbol",
        "timeframe": "unknown_timeframe",
        "spread_pips": "invalid_request",
    }
    assert await door.database.fetchval("SELECT count(*) FROM backtest_requests WHERE request_id = 'mended'") == 0

    mended = await api.post_run(strategy, key="mended")
    assert mended.status_code == 202
    assert "Idempotency-Replayed" not in mended.headers


async def test_what_strategies_code_refuses_is_told_by_field(api: Api, strategy: int) -> None:
    answer = await api.post_run(strategy, strategy_params={"fast": 50, "slow": 20, "nonsense": 1})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_params"
    assert "strategy_params.nonsense" in {each["field"] for each in answer.json()["details"]}


async def test_the_record_that_goes_out_and_the_same_request_from_the_topic_are_duplicates(
    door: FrontDoor, api: Api, strategy: int
) -> None:
    before, known_before = await requests_in_topic(door), duplicates_recorded(door)
    accepted = (await api.post_run(strategy, key="one-run", spread_pips=2)).json()

    async def arrived() -> list[dict[str, Any]]:
        return [event for event in await requests_in_topic(door) if event["id"] == "one-run"]

    [emitted] = await eventually(arrived, "the record in backtest.requested")
    assert emitted["data"]["run_id"] == accepted["run_id"]
    assert emitted["source"] == "backtest-api"
    assert "one-run" not in {event["id"] for event in before}
    await door.emit("backtest.requested", "one-run", emitted["data"])
    await door.request(strategy, request_id="one-run", spread_pips=2.0)
    async with door.worker():
        assert (await door.row_of("one-run"))["id"] == accepted["run_id"]
        await door.request(strategy, request_id="after-one-run")
        await door.row_of("after-one-run")

        async def all_are_known() -> bool:
            return duplicates_recorded(door) >= known_before + 3

        await eventually(all_are_known, "three records that are duplicates")
    assert not any(
        message.topic == "backtest.requested.dlq" and b"one-run" in message.value for message in door.messages
    )
    runs = await door.database.fetchval("SELECT count(*) FROM backtest_executions WHERE request_id = 'one-run'")
    assert runs == 1


async def test_a_request_that_the_topic_had_first_is_answered_with_its_run(
    door: FrontDoor, api: Api, strategy: int
) -> None:
    async with door.worker():
        await door.request(strategy, request_id="topic-first")
        row = await door.row_of("topic-first")
        answer = await api.post_run(strategy, key="topic-first")
        assert (answer.status_code, answer.json()["run_id"]) == (202, row["id"])
        assert answer.headers["Idempotency-Replayed"] == "true"

        await door.request(strategy, request_id="topic-refused", symbol="NOSUCH")
        await door.terminal_event("topic-refused")
        refused = await api.post_run(strategy, key="topic-refused", symbol="NOSUCH")
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_symbol")


async def test_one_key_at_two_processes_at_once_is_one_run(door: FrontDoor, api: Api, strategy: int) -> None:
    async with api_process(door) as other:
        for number in range(5):
            key = f"race-{number}"
            answers = await asyncio.gather(
                *(each.post_run(strategy, key=key) for each in (api, other) for _ in range(10))
            )
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.content for answer in answers}) == 1
            assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
            rivals = await asyncio.gather(
                *(each.post_run(strategy, key=f"{key}-b", spread_pips=pips) for each, pips in ((api, 1), (other, 2)))
            )
            assert sorted(answer.status_code for answer in rivals) == [202, 409]


async def test_a_run_is_cancelled_with_its_reason(door: FrontDoor, api: Api, tmp_path: Path) -> None:
    run_id = (await api.post_run(await endless(door, tmp_path), key="cancelled")).json()["run_id"]

    answer = await api.post(f"/v1/backtest/{run_id}/cancel", {"reason": "changed my mind"})

    assert answer.status_code == 202
    event = await door.terminal_event("cancelled")
    assert (event.kind, event.data["reason"]) == ("cancelled", "changed my mind")
    again = await api.post(f"/v1/backtest/{run_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "run_ended")
    assert (await api.post("/v1/backtest/999999/cancel")).status_code == 404
    assert (await api.post(f"/v1/backtest/{run_id}/cancel", {"why": "x"})).status_code == 422


async def test_a_deleted_run_is_gone_and_its_request_is_remembered(door: FrontDoor, api: Api, tmp_path: Path) -> None:
    strategy = await endless(door, tmp_path)
    first = await api.post_run(strategy, key="deleted")
    run_id = first.json()["run_id"]
    active = await api.client.delete(f"/v1/backtest/{run_id}")
    assert (active.status_code, active.json()["code"]) == (409, "run_active")
    await api.post(f"/v1/backtest/{run_id}/cancel")
    await door.terminal_event("deleted")

    assert (await api.client.delete(f"/v1/backtest/{run_id}")).status_code == 204
    assert (await api.client.delete(f"/v1/backtest/{run_id}")).status_code == 404
    assert (await api.get(f"/v1/backtest/{run_id}")).status_code == 404
    again = await api.post_run(strategy, key="deleted")
    assert (again.status_code, again.content) == (202, first.content)


async def test_a_rerun_is_the_stored_request_with_the_bodys_fields_over_it(
    door: FrontDoor, api: Api, strategy: int
) -> None:
    body: dict[str, Any] = {"spread_pips": 2.5, "strategy_params": {"fast": 7}, "max_llm_calls": 5}
    run_id = (await api.post_run(strategy, **body)).json()["run_id"]

    answer = await api.post(f"/v1/backtest/{run_id}/rerun", {"spread_pips": 4.0, "timeframe": "H4"})

    assert answer.status_code == 202, answer.text
    row = await door.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", answer.json()["run_id"])
    assert (row["spread_pips"], row["timeframe"], row["max_llm_calls"]) == (4.0, "H4", 5)
    request = (await api.get(f"/v1/backtest/{row['id']}")).json()["request"]
    assert request["strategy_params"] == {"fast": 7}
    assert (await api.post("/v1/backtest/999999/rerun")).status_code == 404


async def endless(door: FrontDoor, folder: Path) -> int:
    """A strategy that waits for what never comes: whatever workers there are, its run does not end by itself."""
    params = f'{{"sign_file": "{folder / "sign"}", "gate_file": "{folder / "gate"}"}}'
    return await door.add_strategy("test_gate", strategy_params=params)


def duplicates_recorded(door: FrontDoor) -> int:
    """By all workers there ever were here."""
    logs = (log.read_text(errors="replace") for log in door.directory.glob("worker-*.log"))
    events = (json.loads(line) for text in logs for line in text.splitlines() if '"batch_recorded"' in line)
    return sum(event.get("duplicate", 0) for event in events)


async def requests_in_topic(door: FrontDoor) -> list[dict[str, Any]]:
    topics = KafkaTopics(KafkaConnection(door.stack.kafka_bootstrap_servers), None)
    found = []
    async with topics.reading(["backtest.requested"], from_beginning=True) as reader:
        while not await reader.has_caught_up():
            found += [json.loads(record.value or b"{}") for record in await reader.read(0.5)]
    return [event for event in found if event]
