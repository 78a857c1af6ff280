"""Routes of a run's results: shapes, ranges, files, what is refused, and tags."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from consumer.adapters.files.run_tables import RunTableFiles
from consumer.rules.columns import ALL_RUN_COLUMNS, EXECUTION_COLUMNS
from consumer.wiring.page_report import report_shell
from engine.deciders.chosen import choose_strategy
from engine.strategies.rules import Rules
from tests.consumer.adapters.http.apis import KnownRuns, client_of
from tests.consumer.reports.embedded import embedded_in
from tests.consumer.reports.recorded_runs import Recorded, recorded, some_run
from tests.engine.run_builders import backtest, sample

TABLES = ("trades", "equity", "drawdown", "monthly", "ledger", "candles")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, Recorded]:
    root = tmp_path_factory.mktemp("artifacts")
    document = {"indicators": {"mean": "sma(close, 5)", "strength": "rsi(close, 14)"}, "buy": "close > mean"}
    rules = backtest(sample("eurusd_h1", 400), choose_strategy(Rules, "rules", document), volume=0.01)
    return recorded(root, some_run()), recorded(root, rules, 8)


@pytest.fixture
async def api(kept: tuple[Recorded, Recorded]) -> AsyncIterator[httpx.AsyncClient]:
    rows = {each.run.run_id: told_of(each) for each in kept}
    rows[9] = {**rows[7], "id": 9, "status": "running"}
    rows[10] = {**rows[7], "id": 10, "data_file_path": None}
    async with client_of(KnownRuns(rows), RunTableFiles(str(kept[0].root))) as client:
        yield client


def told_of(each: Recorded) -> dict[str, Any]:
    """Its row as the history tells it."""
    told = dict.fromkeys((*ALL_RUN_COLUMNS, *EXECUTION_COLUMNS, "strategy_name", "strategy_key"))
    ended = datetime(2026, 1, 5, tzinfo=UTC)
    return {**told, "context_tfs": "[]", "finished_at": ended, **each.run.row}


async def got(api: httpx.AsyncClient, path: str) -> Any:
    response = await api.get(f"/v1/backtest/{path}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_trades_come_in_pages_with_what_the_candles_say(api: httpx.AsyncClient, kept: tuple[Any, ...]) -> None:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await got(api, f"7/trades?limit=70&sort=-mae{cursor}")
        items += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    trades = kept[0].result.recorded_trades
    assert len(items) == trades.height
    assert [item["mae"] for item in items] == sorted(trades["mae"], reverse=True)
    assert {"entry_at", "exit_at", "stop_at_entry", "mfe", "r", "mae_price", "mfe_price"} <= items[0].keys()
    assert items[0]["entry_time"].endswith("Z")


async def test_a_cursor_is_of_one_sort_and_filter(api: httpx.AsyncClient) -> None:
    page = await got(api, "7/trades?limit=2&sort=profit")
    other = await api.get(f"/v1/backtest/7/trades?sort=-profit&cursor={page['next_cursor']}")
    assert (other.status_code, other.json()["code"]) == (422, "invalid_request")
    assert other.json()["details"][0]["field"] == "cursor"


async def test_equity_is_columns_and_thins(api: httpx.AsyncClient, kept: tuple[Any, ...]) -> None:
    whole = await got(api, "7/equity")
    assert whole["columns"] == ["time", "balance", "equity", "buy_and_hold"]
    assert whole["equity"] == kept[0].result.equity["equity"].to_list()
    few = await got(api, "7/equity?max_points=10")
    assert len(few["time"]) <= 10
    assert (few["time"][0], few["time"][-1]) == (whole["time"][0], whole["time"][-1])
    assert (await api.get("/v1/backtest/7/equity?max_points=1")).status_code == 422


async def test_the_other_tables(api: httpx.AsyncClient) -> None:
    assert len((await got(api, "7/drawdown"))["deepest"]) == 10
    months = await got(api, "7/monthly")
    assert months["columns"] == ["year", "month", "net", "trades", "return_pct"]
    ledger = await got(api, "7/ledger?max_points=100")
    assert len(ledger["balance"]) <= 100


async def test_candles_of_a_range_of_a_timeframe_and_of_so_many_points(api: httpx.AsyncClient) -> None:
    own = await got(api, "7/candles")
    assert (own["timeframe"], own["source"], set(own["complete"])) == ("H1", "stored", {True})
    first, last = own["time"][10], own["time"][20]
    part = await got(api, f"7/candles?from={first}&to={last}")
    assert part["time"] == own["time"][10:20]
    assert part["close"] == own["close"][10:20]
    days = await got(api, "7/candles?timeframe=D1")
    assert (days["timeframe"], days["source"]) == ("D1", "resampled")
    assert max(days["high"]) == max(own["high"])
    assert days["complete"].count(False) <= 2
    few = await got(api, "7/candles?max_points=300")
    assert len(few["time"]) <= 300
    for query in ("timeframe=M5", "timeframe=H5", "from=x", f"from={last}&to={first}", "points=3", "max_points=1"):
        response = await api.get(f"/v1/backtest/7/candles?{query}")
        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json"), query


async def test_indicators_have_panes(api: httpx.AsyncClient) -> None:
    found = await got(api, "8/indicators?timeframe=H4")
    assert [(each["name"], each["pane"]) for each in found["indicators"]] == [("mean", 0), ("strength", 1)]
    assert len(found["time"]) == len(found["indicators"][0]["values"])
    candles = await got(api, "8/candles?timeframe=H4")
    assert found["time"] == candles["time"]
    assert (await got(api, "7/indicators"))["indicators"] == []


async def test_analytics_by_one_name_and_by_two(api: httpx.AsyncClient) -> None:
    one = await got(api, "7/analytics?by=direction")
    assert [group["direction"] for group in one["groups"]] == ["BUY", "SELL"]
    two = await got(api, "7/analytics?by=direction,weekday&tz=America/New_York")
    assert two["by"] == ["direction", "weekday"]
    assert sum(group["trades"] for group in two["groups"]) == sum(group["trades"] for group in one["groups"])
    for query in ("", "by=colour", "by=hour,hour", "by=hour,month,weekday", "by=hour&tz=Mars", "by=hour&tz=../../etc"):
        assert (await api.get(f"/v1/backtest/7/analytics?{query}")).status_code == 422, query


@pytest.mark.parametrize("name", TABLES)
async def test_files_are_whole_whatever_else_is_asked(
    api: httpx.AsyncClient, kept: tuple[Recorded, Recorded], name: str
) -> None:
    asked = "limit=1" if name == "trades" else "max_points=2"
    csv = await api.get(f"/v1/backtest/7/{name}?format=csv&{asked}")
    parquet = await api.get(f"/v1/backtest/7/{name}?format=parquet&{asked}")
    assert csv.headers["content-type"].startswith("text/csv")
    table = pl.read_parquet(BytesIO(parquet.content))
    lines = csv.text.splitlines()
    assert lines[0] == ",".join(table.columns)
    assert len(lines) == table.height + 1
    if name == "trades":
        assert_frame_equal(table.drop("trade"), kept[0].result.recorded_trades)
        assert table.height > 200


@pytest.mark.parametrize("name", [*TABLES, "indicators", "analytics?by=hour"])
async def test_a_run_without_results_says_which_status_it_has(api: httpx.AsyncClient, name: str) -> None:
    response = await api.get(f"/v1/backtest/9/{name}")
    assert (response.status_code, response.json()["code"]) == (409, "run_not_completed")
    assert "running" in response.json()["detail"]
    assert (await api.get(f"/v1/backtest/99/{name}")).status_code == 404


async def test_what_was_pruned_is_a_problem_and_no_empty_answer(api: httpx.AsyncClient) -> None:
    for name in (*TABLES, "analytics?by=hour", "indicators"):
        response = await api.get(f"/v1/backtest/10/{name}")
        assert response.status_code == 404, name
        assert "backtest runs prune" in response.json()["detail"]


async def test_a_completed_run_has_its_figures_by_side_and_its_deepest_drawdowns(
    api: httpx.AsyncClient, kept: tuple[Recorded, Recorded]
) -> None:
    run = await got(api, "7")
    metrics = kept[0].result.to_json_dict()
    assert run["all"] == {name: metrics[name] for name in run["all"]}
    assert run["long"]["total_trades"] + run["short"]["total_trades"] == metrics["total_trades"]
    assert run["drawdowns"][0]["percent"] == metrics["max_drawdown_pct"]
    assert run["missing"] is None
    assert "all" not in await got(api, "9")


async def test_the_report_is_one_file_with_all_of_the_run_and_may_load_nothing(api: httpx.AsyncClient) -> None:
    response = await api.get("/v1/backtest/7/report")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; script-src 'sha256-")
    data = embedded_in(response.text)
    assert data["run"]["run_id"] == 7
    assert data["candles"]["timeframe"] == "H1"
    assert (await api.get("/v1/backtest/7/report")).text == response.text
    assert (await api.get("/v1/backtest/9/report")).status_code == 409
    assert (await api.get("/v1/backtest/10/report")).status_code == 404


async def test_a_report_whose_page_was_not_built_says_so(kept: tuple[Recorded, Recorded], tmp_path: Path) -> None:
    def shell() -> str:
        return report_shell(tmp_path / "report.html")

    rows = {7: {**told_of(kept[0]), "finished_at": None}}
    async with client_of(KnownRuns(rows), kept[0].tables, report_shell=shell) as client:
        response = await client.get("/v1/backtest/7/report")
    assert (response.status_code, response.json()["code"]) == (503, "page_not_built")
    assert "make setup" in response.json()["detail"]


async def test_a_result_is_not_sent_again_to_who_has_it(api: httpx.AsyncClient) -> None:
    first = await api.get("/v1/backtest/7/candles?max_points=50")
    assert first.headers["cache-control"] == "private, no-cache"
    again = await api.get("/v1/backtest/7/candles?max_points=50", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await api.get("/v1/backtest/7/candles?max_points=51", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200
