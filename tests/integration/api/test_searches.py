"""Searches over HTTP: asked for, found, read, cancelled and deleted."""

import asyncio
import io
from typing import Any

import polars as pl
import pytest

from tests.support.api_process import Api
from tests.support.front_door import JANUARY, FrontDoor, Worker

pytestmark = pytest.mark.integration

GRID = {"fast": [5, 10], "slow": {"from": 20, "to": 40, "step": 10}}


def body(strategy: int, **data: Any) -> dict[str, Any]:
    return {
        "strategy_id": strategy, "symbol": "EURUSD", "timeframe": "H1", **JANUARY, "param_grid": GRID,
        "min_trades": 1, **data,
    }  # fmt: skip


async def test_a_search_is_asked_for_found_and_read(door: FrontDoor, api: Api, worker: Worker, strategy: int) -> None:
    answer = await api.post("/v1/optimization", body(strategy), headers={"Idempotency-Key": "search-1"})
    assert answer.status_code == 202, answer.text
    number = answer.json()["optimization_id"]
    again = await api.post("/v1/optimization", body(strategy), headers={"Idempotency-Key": "search-1"})
    assert (again.content, again.headers["Idempotency-Replayed"]) == (answer.content, "true")
    early = await api.get(f"/v1/optimization/{number}/results")
    assert early.status_code in {200, 409}

    ended = await door.end_of_search("search-1")
    assert (ended.kind, ended.data["optimization_id"]) == ("completed", number)
    row = (await api.get(f"/v1/optimization/{number}")).json()
    assert (row["status"], row["best_params"], row["total_combinations"]) == ("completed", ended.data["best_params"], 6)
    listed = (await api.get("/v1/optimization", params={"status": "completed", "q": "eurusd"})).json()
    assert (number, "sma_cross") in {(each["optimization_id"], each["strategy_key"]) for each in listed["items"]}

    first = (await api.get(f"/v1/optimization/{number}/results", params={"limit": 4})).json()
    assert [each["rank"] for each in first["items"]] == [1, 2, 3, 4]
    rest = (await api.get(f"/v1/optimization/{number}/results", params={"cursor": first["next_cursor"]})).json()
    assert [each["rank"] for each in rest["items"]] == [5, 6]
    table = pl.read_parquet(
        io.BytesIO((await api.get(f"/v1/optimization/{number}/results", params={"format": "parquet"})).content)
    )
    assert table.height == 6
    as_text = await api.get(f"/v1/optimization/{number}/results", params={"format": "csv"})
    assert len(as_text.text.splitlines()) == 7

    heat = (await api.get(f"/v1/optimization/{number}/heatmap", params={"x": "fast", "y": "slow"})).json()
    assert (heat["x_values"], heat["y_values"]) == ([5, 10], [20, 30, 40])
    by_params = {(row["fast"], row["slow"]): row["sharpe_ratio"] for row in table.iter_rows(named=True)}
    assert heat["values"] == [[by_params[x, y] for x in (5, 10)] for y in (20, 30, 40)]
    wrong = await api.get(f"/v1/optimization/{number}/heatmap", params={"x": "fast", "y": "nothing"})
    assert (wrong.status_code, wrong.json()["details"][0]["field"]) == (422, "y")
    twice = await api.get(f"/v1/optimization/{number}/heatmap?x=fast&y=slow&fix=fast:5&fix=fast:10")
    assert (twice.status_code, twice.json()["details"][0]["field"]) == (422, "fix")
    assert (await api.get(f"/v1/optimization/{number}/folds")).json() == {"items": [], "next_cursor": None}
    tagged = await api.get(f"/v1/optimization/{number}")
    unchanged = await api.get(f"/v1/optimization/{number}", headers={"If-None-Match": tagged.headers["ETag"]})
    assert unchanged.status_code == 304

    best = row["best_run_id"]
    assert (await api.post(f"/v1/backtest/{best}/rerun", {"request_id": "best-again"})).status_code == 202
    repeated = await door.terminal_event("best-again")
    kept = (await api.get(f"/v1/backtest/{best}")).json()
    assert repeated.data["result_digest"] == kept["result_digest"], "the best run was repeated with other parameters"

    assert (await api.client.delete(f"/v1/optimization/{number}")).status_code == 204
    assert (await api.get(f"/v1/optimization/{number}")).status_code == 404
    lost = await api.post(f"/v1/backtest/{best}/rerun")
    assert lost.status_code == 422
    assert "best of a search that was deleted" in lost.json()["detail"]


async def test_a_space_that_is_refused_leaves_nothing(door: FrontDoor, api: Api, strategy: int) -> None:
    grid = {"fast": [], "nonsense": [1, 2]}
    answer = await api.post("/v1/optimization", body(strategy, param_grid=grid), headers={"Idempotency-Key": "bad"})
    assert answer.status_code == 422
    assert {each["field"].partition(".")[0] for each in answer.json()["details"]} == {"param_grid"}
    assert await door.database.fetchval("SELECT count(*) FROM backtest_requests WHERE request_id = 'bad'") == 0


async def test_one_id_is_not_a_run_and_a_search(api: Api, strategy: int) -> None:
    assert (await api.post_run(strategy, key="either")).status_code == 202
    answer = await api.post("/v1/optimization", body(strategy), headers={"Idempotency-Key": "either"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_search_is_cancelled_and_only_then_deleted(door: FrontDoor, api: Api, strategy: int) -> None:
    grid = {"fast": list(range(2, 100)), "slow": list(range(101, 400))}
    posted = await api.post("/v1/optimization", body(strategy, param_grid=grid), headers={"Idempotency-Key": "long"})
    number = posted.json()["optimization_id"]
    active = await api.client.delete(f"/v1/optimization/{number}")
    assert (active.status_code, active.json()["code"]) == (409, "run_active")

    cancelled = await api.post(f"/v1/optimization/{number}/cancel", {"reason": "too long"})

    assert cancelled.status_code == 202
    ended = await door.end_of_search("long")
    assert (ended.kind, ended.data["reason"]) == ("cancelled", "too long")
    again = await api.post(f"/v1/optimization/{number}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "run_ended")
    results = await api.get(f"/v1/optimization/{number}/results")
    assert (results.status_code, results.json()["code"]) == (409, "run_not_completed")
    assert (await api.client.delete(f"/v1/optimization/{number}")).status_code == 204


async def test_one_key_many_times_at_once_is_one_search(api: Api, strategy: int) -> None:
    answers = await asyncio.gather(
        *(
            api.post("/v1/optimization", body(strategy, seed=7), headers={"Idempotency-Key": "search-race"})
            for _ in range(10)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
