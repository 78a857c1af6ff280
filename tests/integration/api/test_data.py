"""Data over HTTP on real servers: an instrument and bars of it are brought, a run of them is made, and told of."""

import json
from io import BytesIO
from typing import Any

import polars as pl
import pytest

from tests.engine.run_builders import sample
from tests.support.api_process import Api
from tests.support.front_door import FrontDoor

pytestmark = pytest.mark.integration

BLOCK = {
    "symbol": "XPTUSD",
    "base": "XPT",
    "quote": "USD",
    "pip": 0.001,
    "contract": 1_000,
    "digits": 5,
    "session": "fx",
    "swap_long": -3,
}


async def test_a_run_of_an_instrument_and_bars_that_came_over_http(door: FrontDoor, api: Api) -> None:
    bars = BytesIO()
    sample("eurusd_h1", 2_000).frame.write_parquet(bars)
    assert (await api.post("/v1/instruments", BLOCK)).status_code == 201
    made = await api.client.post("/v1/market-data/XPTUSD/H1", content=bars.getvalue())
    assert (made.status_code, made.json()["bars"]) == (201, 2_000), made.text
    strategy = await door.add_strategy(sl_pips=20.0)
    dates = {"start_date": "2015-01-05T00:00:00Z", "end_date": "2015-04-20T00:00:00Z"}
    asked: dict[str, Any] = {"symbol": "XPTUSD", **dates}
    async with door.worker():
        accepted = await api.post_run(strategy, key="brought", **asked)
        assert accepted.status_code == 202, accepted.text
        row = await door.row_of("brought")
        assert row["status"] == "completed", row["error_message"]
        # A record of the topic is judged by a worker, which was not told of the instrument in any other way.
        await door.request(strategy, request_id="over the topic", **asked)
        assert (await door.row_of("over the topic"))["status"] == "completed"
    await results_are_told(door, api, row["id"])
    recorded = await door.database.fetchval(
        "SELECT specification FROM backtest_requests WHERE request_id = 'over the topic'"
    )
    assert json.loads(recorded)["engine"]["instruments"]["XPTUSD"]["contract"] == 1_000


async def results_are_told(door: FrontDoor, api: Api, run_id: int) -> None:
    """The row's view, the trades beside the table's, and files of all tables."""
    run = (await api.get(f"/v1/backtest/{run_id}")).json()
    assert run["all"]["total_trades"] == run["total_trades"] > 20
    assert run["drawdowns"][0]["percent"] == run["max_drawdown_pct"]
    page = (await api.get(f"/v1/backtest/{run_id}/trades?limit=500")).json()
    stored = await door.database.fetch("SELECT * FROM backtest_trades WHERE run_id = $1 ORDER BY id", run_id)
    assert [item["profit"] for item in page["items"]] == [row["profit"] for row in stored]
    assert any(item["swap"] < 0 for item in page["items"])
    assert all(item["mae"] >= 0 for item in page["items"])
    assert {item["r"] is None for item in page["items"]} == {False}
    candles = (await api.get(f"/v1/backtest/{run_id}/candles?timeframe=D1")).json()
    assert candles["source"] == "resampled"
    for name in ("trades", "equity", "drawdown", "monthly", "ledger", "candles"):
        table = await api.get(f"/v1/backtest/{run_id}/{name}?format=parquet")
        assert table.status_code == 200, table.text
        assert pl.read_parquet(BytesIO(table.content)).height


async def test_bars_that_are_wrong_leave_the_store_as_it_was(api: Api) -> None:
    before = (await api.get("/v1/market-data")).json()
    refused = await api.client.post("/v1/market-data/EURUSD/H1", files={"file": ("mine.csv", b"time,open\n1,2\n")})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_bars")
    assert (await api.get("/v1/market-data")).json() == before
