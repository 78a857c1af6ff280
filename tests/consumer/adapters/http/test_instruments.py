"""Instruments over HTTP: listed, brought once and for good, and every key at fault named."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from consumer.adapters.files.run_tables import RunTableFiles
from engine.market.instruments import packaged_instruments
from tests.consumer.adapters.http.apis import KnownRuns, client_of

BLOCK: dict[str, Any] = {
    "symbol": "XPTUSD",
    "base": "XPT",
    "quote": "USD",
    "pip": 0.1,
    "contract": 100,
    "digits": 2,
    "session": "fx",
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(KnownRuns({}), RunTableFiles(str(tmp_path))) as client:
        yield client


async def all_of(api: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await api.get(f"/v1/instruments?limit=50{cursor}")).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return {item["symbol"]: item for item in items}
        cursor = f"&cursor={page['next_cursor']}"


async def test_an_instrument_that_is_brought_stands_beside_the_others(api: httpx.AsyncClient) -> None:
    assert set(await all_of(api)) == set(packaged_instruments())
    made = await api.post("/v1/instruments", json=BLOCK)
    assert made.status_code == 201, made.text
    assert made.json() == {
        **BLOCK,
        "lot_step": 0.01,
        "swap_long": 0.0,
        "swap_short": 0.0,
        "day_start": None,
        "origin": "database",
    }
    found = await all_of(api)
    assert found["XPTUSD"] == made.json()
    assert (found["EURUSD"]["pip"], found["EURUSD"]["origin"]) == (0.0001, "packaged")


async def test_the_same_block_again_is_no_error_and_another_is_none_of_that_name(api: httpx.AsyncClient) -> None:
    await api.post("/v1/instruments", json=BLOCK)
    assert (await api.post("/v1/instruments", json=BLOCK)).status_code == 200
    for other in ({**BLOCK, "pip": 0.01}, {**BLOCK, "symbol": "xptusd"}, {**BLOCK, "symbol": "EURUSD"}):
        response = await api.post("/v1/instruments", json=other)
        assert (response.status_code, response.json()["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"pip": 0}, ["pip"]),
        ({"pip": -1, "digits": 99}, ["pip", "digits"]),
        ({"symbol": "../etc"}, ["symbol"]),
        ({"symbol": 7}, ["symbol"]),
        ({"symbol": None}, ["symbol"]),
        ({"base": None}, ["base"]),
        ({"colour": "red"}, ["colour"]),
        ({"pip": 10**400}, ["pip"]),
        ({"swap_long": 10**400}, ["swap_long"]),
        ({"session": ["fx"]}, ["session"]),
        ({"day_start": "25:00 Mars"}, ["day_start"]),
        ({"pip": 0.001}, ["pip"]),
        ({"contract": True}, ["contract"]),
    ],
)
async def test_every_key_at_fault_is_named(api: httpx.AsyncClient, changes: dict[str, Any], fields: list[str]) -> None:
    response = await api.post("/v1/instruments", json={**BLOCK, **changes})
    assert response.status_code == 422, response.text
    assert [each["field"] for each in response.json()["details"]] == fields
    assert len(await all_of(api)) == len(packaged_instruments())
