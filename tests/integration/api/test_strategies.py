"""Rows of strategies over HTTP, and what is registered."""

import asyncio
from typing import Any

import pytest

from tests.support.api_process import Api
from tests.support.front_door import FrontDoor

pytestmark = pytest.mark.integration


async def added(api: Api, name: str, **columns: Any) -> dict[str, Any]:
    answer = await api.post("/v1/strategies", {"name": name, "strategy_key": "sma_cross", **columns})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/strategies/{row['id']}"
    return row


async def test_a_row_is_added_read_and_listed(api: Api) -> None:
    row = await added(api, "mine", strategy_params={"fast": 5, "slow": 20}, symbols=["EURUSD"])

    assert row["strategy_params"] == {"fast": 5, "slow": 20}
    answer = await api.get(f"/v1/strategies/{row['id']}")
    assert answer.json() == row
    again = await api.get(f"/v1/strategies/{row['id']}", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    found: list[int] = []
    cursor = None
    while True:
        page = (await api.get("/v1/strategies", params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        found += [each["id"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert row["id"] in found
    assert found == sorted(set(found))


async def test_a_name_is_taken_once_and_what_cannot_run_is_refused_by_column(api: Api) -> None:
    await added(api, "taken")
    taken = await api.post("/v1/strategies", {"name": "taken", "strategy_key": "sma_cross"})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")

    refused = await api.post(
        "/v1/strategies", {"name": "bad", "strategy_key": "nothing", "symbols": ["NOSUCH"], "sl_pips": -1}
    )
    assert refused.status_code == 422
    assert "sl_pips" in {each["field"] for each in refused.json()["details"]}


async def test_a_merge_patch_changes_members_and_null_sets_back(api: Api) -> None:
    row = await added(api, "patched", strategy_params={"fast": 5, "slow": 20}, description="before", lot_size=0.2)

    answer = await api.client.patch(
        f"/v1/strategies/{row['id']}",
        json={"strategy_params": {"fast": 7}, "description": None, "lot_size": None},
        headers={"Content-Type": "application/merge-patch+json"},
    )

    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["strategy_params"] == {"fast": 7, "slow": 20}
    assert (changed["description"], changed["lot_size"]) == (None, None)
    unknown = await api.client.patch(f"/v1/strategies/{row['id']}", json={"colour": "red", "id": 5})
    assert {each["field"] for each in unknown.json()["details"]} == {"colour", "id"}


async def test_a_change_bound_to_an_older_row_changes_nothing(api: Api) -> None:
    row = await added(api, "bound")
    path = f"/v1/strategies/{row['id']}"
    tag = (await api.get(path)).headers["ETag"]
    first = await api.client.patch(path, json={"description": "first"}, headers={"If-Match": tag})
    assert first.status_code == 200

    late = await api.client.patch(path, json={"description": "late"}, headers={"If-Match": tag})

    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert (await api.get(path)).json()["description"] == "first"
    answers = await asyncio.gather(
        *(
            api.client.patch(path, json={"description": str(number)}, headers={"If-Match": first.headers["ETag"]})
            for number in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]


async def test_a_strategy_goes_with_its_runs_only_when_their_number_is_confirmed(door: FrontDoor, api: Api) -> None:
    row = await added(api, "going", primary_tf="H1")
    for _ in range(2):
        assert (await api.post_run(row["id"])).status_code == 202
    path = f"/v1/strategies/{row['id']}"

    refused = await api.client.delete(path)
    wrong = await api.client.delete(path, params={"confirm": 1})

    for answer in (refused, wrong):
        assert (answer.status_code, answer.json()["code"], answer.json()["confirm"]) == (409, "confirm", 2)
    assert (await api.client.delete(path, params={"confirm": 2})).status_code == 204
    assert (await api.get(path)).status_code == 404
    assert await door.database.fetchval("SELECT count(*) FROM backtest_runs WHERE strategy_id = $1", row["id"]) == 0


async def test_registered_strategies_are_described_with_their_parameters(api: Api) -> None:
    page = (await api.get("/v1/strategy-keys", params={"limit": 500})).json()
    described = {each["key"]: each for each in page["items"]}
    one = (await api.get("/v1/strategy-keys/sma_cross")).json()

    assert one == described["sma_cross"]
    assert set(one["params"]["properties"]) >= {"fast", "slow"}
    assert one["docstring"]
    assert len(one["version"]) == 64
    assert (await api.get("/v1/strategy-keys/nothing")).status_code == 404
