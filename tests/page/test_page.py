"""The page as a person uses it, in a real Chromium at the real API."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.page.browser import Window, axe_complaints, open_window, pictures_in
from tests.page.conftest import Site
from tests.page.market import candles_of, knows_only_the_past, market_of
from tests.support.api_process import Api, api_process, free_port
from tests.support.tcp_switch import open_switch
from tests.support.waiting import eventually

TOKEN = "a-token-of-a-trader-7316"
TRANSFERRED_BYTES = 400_000
WITHIN_MS = 30_000
SIZES = ((375, 812), (1280, 900), (2560, 1440))
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TABS = ("equity", "months", "trades", "analytics", "configuration", "downloads")
SCREENS = {
    "new": "/new",
    "runs": "/runs",
    "chart": "/runs/{run}/chart?at=2017-02-10T12:00:00Z&replay=on&trade=3&context=H4",
    **{
        tab: f"/runs/{{run}}/{tab}" for tab in ("equity", "months", "trades", "analytics", "configuration", "downloads")
    },
    "calls": "/runs/{advised}/calls",
    "compare": "/compare?ids={run},{other}",
    "optimizations": "/optimizations",
    "optimization": "/optimizations/{search}",
    "new-optimization": "/optimizations/new",
    "strategies": "/strategies",
    "strategy": "/strategies/2",
}


async def test_a_person_asks_for_a_backtest_and_sees_it_complete(window: Window, site: Site) -> None:
    page = window.page
    await window.show("/new")
    form = page.get_by_role("form", name="New backtest")
    await form.get_by_label("Strategy", exact=True).select_option(label="Averages cross")
    await form.get_by_label("Symbol", exact=True).select_option("EURUSD")
    await form.get_by_label("Timeframe", exact=True).select_option("H1")
    await expect(page.get_by_role("region", name="Data preview")).to_contain_text("18,465")
    await form.get_by_label("Start", exact=True).fill("2017-01-02")
    await form.get_by_label("End", exact=True).fill("2017-02-01")
    await form.get_by_label("Mode", exact=True).select_option("intra_candle")
    await form.get_by_label("fast", exact=True).fill("7")
    balance = form.get_by_label("Initial balance", exact=True)
    await balance.fill("-5")
    await form.get_by_role("button", name="Run backtest").click()
    await expect(balance).to_have_attribute("aria-invalid", "true")
    await expect(balance).to_be_focused()
    await expect(balance).to_have_accessible_description(re.compile("must be at least .*-5"))
    await balance.fill("20000")
    await form.get_by_role("button", name="Run backtest").click()
    await expect(page.get_by_role("heading", name=re.compile(r"^Run \d+$"))).to_be_visible()
    await expect(page.get_by_role("status")).to_contain_text("completed", timeout=WITHIN_MS)
    run = (await site.api.get(f"/v1/backtest/{page.url.split('/')[4]}")).json()
    assert run["request"]["strategy_params"] == {"fast": 7}
    assert run["initial_balance"] == 20000
    await window.ready()
    for name, value in run["metrics"].items():
        if isinstance(value, int | float):
            assert float(await page.locator(f'data[data-metric="{name}"]').get_attribute("value") or "nan") == value
    await window.show("/new")
    await expect(form.get_by_label("Initial balance", exact=True)).to_have_value("20000")


async def test_parameter_that_is_refused_is_told_at_its_field(window: Window) -> None:
    await window.show("/new?strategy=1&symbol=EURUSD&timeframe=H1&start=2017-01-02&end=2017-02-01")
    fast = window.page.get_by_label("fast", exact=True)
    await fast.fill("many")
    await window.page.get_by_role("button", name="Run backtest").click()
    await expect(fast).to_have_attribute("aria-invalid", "true")
    await expect(fast).to_be_focused()


async def test_address_of_a_filled_form_fills_it_for_somebody_else(
    browser: Browser, window: Window, site: Site
) -> None:
    await window.show("/new?strategy=1&symbol=EURUSD&timeframe=H1")
    await window.page.get_by_label("fast", exact=True).fill("7")
    await window.page.get_by_label("Spread (pips)", exact=True).fill("0.8")
    await window.ready()
    async with open_window(browser, site.api.base_url) as other:
        await other.page.goto(window.page.url)
        await expect(other.page.get_by_label("fast", exact=True)).to_have_value("7")
        await expect(other.page.get_by_label("Spread (pips)", exact=True)).to_have_value("0.8")
    await window.show("/optimizations/new?strategy=1")
    await window.page.get_by_label("fast", exact=True).fill("5, 10")
    await window.page.get_by_label("Method", exact=True).select_option("random")
    await window.ready()
    async with open_window(browser, site.api.base_url) as other:
        await other.page.goto(window.page.url)
        await expect(other.page.get_by_label("fast", exact=True)).to_have_value("5, 10")
        await expect(other.page.get_by_label("Method", exact=True)).to_have_value("random")


async def test_page_that_says_it_is_ready_shows_all_of_its_screen(window: Window, site: Site, search: int) -> None:
    """Asked every millisecond from the first script on: what a part asks for when it is drawn is awaited as well."""
    screens = {
        "/new": "form[aria-label='New backtest'] select",
        f"/runs/{site.run}/months": "data[data-month]",
        f"/runs/{site.run}/trades": "table[aria-label=Trades] time",
        f"/optimizations/{search}": "table[aria-label='Heat map'] data",
    }
    for address, part in screens.items():
        await window.page.goto(site.api.base_url + address, wait_until="commit")
        there = await window.page.evaluate(
            """part => new Promise(done => { const timer = setInterval(() => {
                if (!window.backtestPage?.ready) return;
                clearInterval(timer);
                done(document.querySelector(part) !== null);
            }, 1); })""",
            part,
        )
        assert there, f"{address} was ready without {part}"


async def test_runs_are_searched_sorted_and_compared(window: Window, site: Site) -> None:
    page = window.page
    other = await site.completed_run(site.averages)
    await window.show("/runs")
    table = page.get_by_role("table", name="Runs")
    await expect(table.get_by_role("link", name=f"Run {site.run}", exact=True)).to_be_visible()
    await table.get_by_role("button", name="Trades").click()
    await expect(table.get_by_role("columnheader", name="Trades")).to_have_attribute("aria-sort", "descending")
    await window.ready()
    counts = [float(value) for value in await _values(table.locator('data[data-metric="total_trades"]')) if value]
    assert counts == sorted(counts, reverse=True)
    await page.get_by_label("Search").fill("rules of mine")
    await expect(page).to_have_url(re.compile("q=rules"))
    await window.ready()
    await expect(table.get_by_role("link", name=f"Run {other}", exact=True)).to_have_count(0)
    await page.get_by_label("Search").fill("")
    await page.get_by_label("Status").select_option("completed")
    await expect(table.get_by_role("link", name=f"Run {other}", exact=True)).to_be_visible()
    await table.get_by_role("checkbox", name=f"Select run {site.run}", exact=True).check()
    await window.ready()
    await page.reload()
    await expect(table.get_by_role("checkbox", name=f"Select run {site.run}", exact=True)).to_be_checked()
    await table.get_by_role("checkbox", name=f"Select run {other}", exact=True).check()
    await page.get_by_role("button", name="Compare").click()
    await expect(page).to_have_url(re.compile(f"/compare\\?ids={site.run},{other}$"))
    await expect(page.get_by_role("figure", name="Equity")).to_be_visible()
    await expect(page.get_by_role("table", name="Differences")).to_contain_text("execution mode")


async def test_run_appears_with_its_progress_and_is_cancelled_and_run_again(
    window: Window, site: Site, tmp_path: Path
) -> None:
    page = window.page
    files = {"sign_file": str(tmp_path / "sign"), "gate_file": str(tmp_path / "gate-that-never-opens")}
    slow = await site.door.add_strategy("test_gate", name="Slow", strategy_params=json.dumps(files))
    await window.show("/runs?q=slow")
    await window.until("p.connection === 'live'")
    run_id = (await site.api.post_run(slow)).json()["run_id"]
    table = page.get_by_role("table", name="Runs")
    row = table.get_by_role("row").filter(has=page.get_by_role("link", name=f"Run {run_id}", exact=True))
    await expect(row.get_by_role("progressbar")).to_be_visible(timeout=WITHIN_MS)
    await row.get_by_role("button", name="Cancel").click()
    await expect(row).to_contain_text("cancelled", timeout=WITHIN_MS)
    await row.get_by_role("button", name="Rerun").click()
    await expect(table.get_by_role("progressbar")).to_be_visible(timeout=WITHIN_MS)
    again = max(each["run_id"] for each in (await site.api.get("/v1/backtest")).json()["items"])
    await site.api.post(f"/v1/backtest/{again}/cancel", {})
    await expect(table.get_by_role("progressbar")).to_have_count(0, timeout=WITHIN_MS)


async def test_each_call_to_a_model_is_shown_and_what_the_rule_alone_earned(window: Window, site: Site) -> None:
    page = window.page
    advised, run = await advised_run(site)
    alone = await site.completed_run(advised, skip_llm=True)
    calls = (await site.api.get(f"/v1/backtest/{run}/llm-calls")).json()["items"]
    await window.show(f"/runs/{run}/chart")
    earned = (await site.api.get(f"/v1/backtest/{alone}")).json()["metrics"]["net_profit"]
    beside = page.locator('data[data-metric="rule_alone.net_profit"]')
    assert float(await beside.get_attribute("value") or "nan") == pytest.approx(earned)
    await page.get_by_role("tab", name="Calls").click()
    await window.ready()
    rows = page.get_by_role("table", name="Calls").locator("tbody > tr")
    await expect(rows).to_have_count(len(calls))
    await expect(rows.first).to_contain_text("<b>as the rule</b>")
    await rows.first.get_by_text("Call 1").click()
    await expect(rows.first).to_contain_text("You decide in the simulation of a trading account")
    await rows.first.get_by_role("link", name="Trade 1 on the chart").click()
    await window.until("p.chart.selected === 1")
    await window.show(f"/runs/{site.run}/chart")
    await expect(page.get_by_role("tab", name="Calls")).to_have_count(0)


async def test_replay_gives_the_chart_nothing_of_the_future(window: Window, site: Site) -> None:
    page = window.page
    base, trades = await market_of(site)
    await window.show(f"/runs/{site.run}/chart")
    assert await window.hook("p.chart.bars().length") == len(base)
    assert await window.hook("p.chart.replaying") is False
    await _jump(window, "2017-02-10 12:00")
    edge = await window.hook("p.chart.visible.to")
    replay = page.get_by_role("button", name="Replay", exact=True)
    await replay.click()
    await expect(replay).to_have_attribute("aria-pressed", "true")
    await window.ready()
    assert await window.hook("p.chart.cursor") == edge
    await knows_only_the_past(window, base, trades)
    for name, bars in {"Next bar": 1, "Previous bar": -1}.items():
        before = await window.hook("p.chart.cursor")
        await page.get_by_role("button", name=name, exact=True).click()
        place = [bar["time"] for bar in base].index(before) + bars
        await window.until(f"p.chart.cursor === {base[place]['time']}")
        await knows_only_the_past(window, base, trades)
    await page.get_by_role("button", name="Next trade", exact=True).click()
    await window.until("p.chart.selected !== null")
    await window.ready()
    chosen = await window.hook("p.chart.selected")
    entry = next(trade for trade in trades if trade["position_id"] == chosen)
    assert await window.hook("p.chart.cursor") == entry["entry"] > edge
    await knows_only_the_past(window, base, trades)
    if max(trade["exit"] for trade in trades if trade["position_id"] == chosen) > entry["entry"]:
        await expect(page.get_by_role("region", name=f"Trade {chosen}")).not_to_contain_text("Profit")


async def test_coarse_candle_that_holds_the_cursor_is_made_of_the_bars_up_to_it(window: Window, site: Site) -> None:
    page = window.page
    base, trades = await market_of(site)
    await window.show(f"/runs/{site.run}/chart?at=2017-02-08T09:00:00Z&replay=on&tf=D1")
    assert await window.hook("p.chart.timeframe") == "D1"
    for _ in range(16):
        cursor = await window.hook("p.chart.cursor")
        last = (await window.hook("p.chart.bars()"))[-1]
        own = [bar for bar in base if last["time"] <= bar["time"] <= cursor]
        assert last["open"] == own[0]["open"]
        assert last["close"] == own[-1]["close"]
        assert last["high"] == max(bar["high"] for bar in own)
        assert last["low"] == min(bar["low"] for bar in own)
        await page.get_by_role("button", name="Next bar", exact=True).click()
        await window.until(f"p.chart.cursor > {cursor}")
    whole = {bar["time"]: bar for bar in await candles_of(site, timeframe="D1")}
    shown = await window.hook("p.chart.bars()")
    assert [bar["close"] for bar in shown[:-1]] == [whole[bar["time"]]["close"] for bar in shown[:-1]]
    cursor = await window.hook("p.chart.cursor")
    assert {each["trade"] for each in await window.hook("p.chart.markers()")} == {
        trade["position_id"] for trade in trades if trade["entry"] <= cursor
    }


async def test_replay_plays_pauses_and_is_there_again_after_a_reload(window: Window, site: Site) -> None:
    page = window.page
    await window.show(f"/runs/{site.run}/chart?at=2017-02-08T09:00:00Z&replay=on")
    before = await window.hook("p.chart.cursor")
    await page.get_by_label("Speed").select_option("250")
    await page.get_by_role("button", name="Play", exact=True).click()
    await window.until(f"p.chart.playing && p.chart.cursor > {before + 100 * 3600}")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await window.until("!p.chart.playing")
    cursor = await window.hook("p.chart.cursor")
    await knows_only_the_past(window, *await market_of(site))
    stamp = await page.evaluate(f"new Date({cursor} * 1000).toISOString().slice(0, 19)")
    await expect(page).to_have_url(re.compile(re.escape(stamp).replace(":", "(:|%3A)")))
    await page.reload()
    await window.ready()
    assert await window.hook("[p.chart.cursor, p.chart.replaying, p.chart.bars().at(-1).time]") == [
        cursor,
        True,
        cursor,
    ]
    await page.get_by_role("button", name="Replay", exact=True).click()
    await window.until(f"!p.chart.replaying && p.chart.bars().at(-1).time > {cursor}")


async def test_trades_are_sorted_and_filtered_and_a_click_leads_to_the_chart(window: Window, site: Site) -> None:
    page = window.page
    await window.show(f"/runs/{site.run}/trades")
    table = page.get_by_role("table", name="Trades")
    await table.get_by_role("button", name="Profit").click()
    await expect(table.get_by_role("columnheader", name="Profit")).to_have_attribute("aria-sort", "descending")
    await page.get_by_label("Direction").select_option("BUY")
    _, trades = await market_of(site)
    best = sorted((trade for trade in trades if trade["direction"] == "BUY"), key=lambda each: -each["profit"])
    first = table.get_by_role("row").nth(1)
    await expect(first).to_contain_text(f"{best[0]['profit']:,.2f}")
    await first.get_by_role("cell").nth(4).click()
    await expect(page).to_have_url(re.compile(f"/chart\\?.*trade={best[0]['position_id']}"))
    await expect(page.get_by_role("region", name=f"Trade {best[0]['position_id']}")).to_contain_text("MFE")
    await window.ready()
    assert await window.hook("p.chart.selected") == best[0]["position_id"]
    await page.get_by_role("button", name="Next trade", exact=True).click()
    await window.until(f"p.chart.selected === {best[1]['position_id']}")


async def test_months_sum_up_to_the_net_profit_and_equity_is_drawn(window: Window, site: Site) -> None:
    page = window.page
    run = (await site.api.get(f"/v1/backtest/{site.run}")).json()
    await window.show(f"/runs/{site.run}/months")
    values = await _values(page.get_by_role("table", name="Months").locator("data[data-month]"))
    assert abs(sum(map(float, values)) - run["metrics"]["net_profit"]) < 1e-6
    await page.get_by_role("tab", name="Equity").click()
    await expect(page).to_have_url(re.compile(f"/runs/{site.run}/equity"))
    await expect(page.get_by_role("figure", name="Equity").locator("canvas").first).to_be_visible()
    await expect(page.get_by_role("figure", name="Drawdown").locator("canvas").first).to_be_visible()
    await page.get_by_role("tab", name="Analytics").click()
    await page.get_by_label("Group by").select_option("exit_reason")
    await expect(page.get_by_role("table", name="Analytics")).to_contain_text("stop loss")
    await page.get_by_role("tab", name="Downloads").click()
    assert (await page.request.get(await _href(page.get_by_role("link", name="Trades as CSV")))).ok


async def test_search_shows_its_verdict_and_a_heat_map_whose_cells_run(window: Window, site: Site, search: int) -> None:
    page = window.page
    await window.show(f"/optimizations/{search}")
    await expect(page.get_by_role("heading", name=f"Optimisation {search}")).to_be_visible()
    await expect(page.get_by_role("status")).to_contain_text("completed")
    await expect(page.get_by_role("region", name="Verdict")).to_contain_text(re.compile("luck|chance", re.IGNORECASE))
    await window.ready()
    await expect(page.get_by_role("table", name="Results").get_by_role("row")).to_have_count(7)
    heat = page.get_by_role("table", name="Heat map")
    shown = {round(float(value), 12) for value in await _values(heat.locator("data[data-metric]")) if value}
    answer = (await site.api.get(f"/v1/optimization/{search}/heatmap", params={"x": "fast", "y": "slow"})).json()
    assert shown == {round(value, 12) for row in answer["values"] for value in row if value is not None}
    await heat.get_by_role("button").first.click()
    await expect(page).to_have_url(re.compile(r"/runs/\d+/chart"))
    await expect(page.get_by_role("status")).to_contain_text("completed", timeout=WITHIN_MS)


async def test_files_go_into_the_store_and_a_collision_shows_both_sides(
    window: Window, site: Site, tmp_path: Path
) -> None:
    page = window.page
    lines = [f"2020-01-0{6 + hour // 24} {hour % 24:02}:00,1.1,1.2,1.0,1.{hour % 7 + 10}" for hour in range(60)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["time,open,high,low,close", *lines]))
    await window.show("/new")
    await page.get_by_label("Files", exact=True).set_input_files(file)
    symbol = page.get_by_label("Symbol of the files", exact=True)
    await symbol.fill("GBPUSD")
    await symbol.press("Tab")
    await expect(page.get_by_label("Symbol", exact=True)).to_have_value("GBPUSD")
    await expect(page.get_by_label("Timeframe", exact=True)).to_have_value("H1")
    await expect(page.get_by_role("region", name="Data preview")).to_contain_text("60")
    assert (await site.api.get("/v1/market-data/GBPUSD/H1")).json()["bars"] == 60
    file.write_text("\n".join(["time,open,high,low,close", *(line.replace("1.1,1.2", "1.1,1.3") for line in lines)]))
    await page.reload()
    await window.ready()
    await page.get_by_label("Files", exact=True).set_input_files(file)
    await symbol.fill("GBPUSD")
    await symbol.press("Tab")
    await expect(page.get_by_role("group", name="Collision")).to_be_visible()
    await page.get_by_role("button", name="Replace what is stored").click()
    await expect(page.get_by_role("group", name="Collision")).to_have_count(0)


async def test_file_in_a_trade_servers_clock_is_read_anew_in_it_by_one_click(
    window: Window, site: Site, tmp_path: Path
) -> None:
    """MetaTrader's export says no zone; read as UTC its weeks begin and end in the closed market."""
    begin = datetime(2019, 1, 7, tzinfo=UTC)
    hours = [begin + timedelta(days=7 * week, hours=hour) for week in range(30) for hour in range(5 * 24)]
    rows = [f"{each:%Y.%m.%d}\t{each:%H:%M:%S}\t1.1\t1.2\t1.0\t1.1{each.hour:02}\t9\t0\t10" for each in hours]
    header = "\t".join(
        f"<{name}>" for name in ["DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "TICKVOL", "VOL", "SPREAD"]
    )
    file = tmp_path / "AUDUSD_H1.csv"
    file.write_text("\n".join([header, *rows]))
    await window.show("/new")
    await window.page.get_by_label("Files", exact=True).set_input_files(file)
    symbol = window.page.get_by_label("Symbol of the files", exact=True)
    await symbol.fill("AUDUSD")
    await symbol.press("Tab")
    await window.page.get_by_role("button", name="Read its times as America/New_York+7").click()
    await expect(window.page.get_by_role("region", name="Data preview")).to_contain_text("America/New_York+7")
    stored = (await site.api.get("/v1/market-data/AUDUSD/H1")).json()
    assert (stored["first"], stored["bars"]) == ("2019-01-06T22:00:00Z", len(hours))


async def test_rules_are_edited_and_a_mistake_has_its_line_and_column(window: Window, site: Site) -> None:
    page = window.page
    await window.show("/strategies/new")
    await page.get_by_label("Name", exact=True).fill("Edited on the page")
    await page.get_by_label("Key", exact=True).select_option("rules")
    document = page.get_by_label("Rules document")
    await document.fill('{\n  "buy": "close > slo"\n}')
    await page.get_by_role("button", name="Save strategy").click()
    await expect(document).to_have_accessible_description(re.compile(r"slo.*line 2, column \d+", re.DOTALL))
    await document.fill('{\n  "params": {"n": 10},\n  "buy": "close > sma(close, n)"\n}')
    await page.get_by_role("button", name="Save strategy").click()
    await expect(page).to_have_url(re.compile(r"/strategies/\d+$"))
    await expect(page.get_by_role("heading", name=re.compile(r"Strategy \d+"))).to_be_visible()
    number = page.url.rpartition("/")[2]
    await document.fill('{\n  "params": {"length": 12},\n  "buy": "close > sma(close, length)"\n}')
    await page.get_by_role("button", name="Save strategy").click()

    async def probe() -> bool:
        row = (await site.api.get(f"/v1/strategies/{number}")).json()
        return bool(row["strategy_params"]["params"] == {"length": 12})

    await eventually(probe, "the edited document to be stored")


async def test_lost_connection_is_told_and_the_page_goes_on_by_itself(browser: Browser, site: Site) -> None:
    async with AsyncExitStack() as stack:
        switch = await stack.enter_async_context(open_switch(int(site.api.base_url.rpartition(":")[2])))
        window = await stack.enter_async_context(open_window(browser, f"http://127.0.0.1:{switch.port}"))
        lost = window.page.get_by_role("status").filter(has_text="Connection lost")
        await window.show("/runs?q=averages")
        await window.until("p.connection === 'live'")
        await expect(lost).to_have_count(0)
        there, switch.target_port = switch.target_port, free_port()
        switch.cut()
        await expect(lost).to_be_visible(timeout=WITHIN_MS)
        await window.until("p.connection === 'lost'")
        meanwhile = await site.completed_run(site.averages)
        switch.target_port = there
        await expect(lost).to_have_count(0, timeout=WITHIN_MS)
        await expect(window.page.get_by_role("link", name=f"Run {meanwhile}", exact=True)).to_be_visible()


async def test_windows_of_one_browser_share_one_stream(browser: Browser, site: Site) -> None:
    context = await browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url) if request.url.endswith("/v1/events") else None)
    async with open_window(browser, site.api.base_url, context=context) as first:
        await first.show("/runs")
        await first.until("p.connection === 'live'")
        async with open_window(browser, site.api.base_url, context=context) as second:
            await second.show("/runs?q=averages")
            await second.until("p.connection === 'live'")
            run_id = await site.completed_run(site.averages)
            link = second.page.get_by_role("link", name=f"Run {run_id}", exact=True)
            await expect(link).to_be_visible(timeout=WITHIN_MS)
            assert len(asked) == 1
            await first.page.close()
            await eventually(lambda: _is(len(asked) == 2), "the other window to take the stream over")
    await context.close()


async def test_token_signs_in_and_is_nowhere_to_be_read_afterwards(browser: Browser, site: Site) -> None:
    async with api_process(site.door, token=TOKEN, api_tokens=f"trader:{TOKEN}") as api:
        async with open_window(browser, api.base_url) as window:
            page = window.page
            await page.goto(f"{api.base_url}/runs")
            await page.get_by_label("Token").fill("wrong")
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_label("Token")).to_have_attribute("aria-invalid", "true")
            await page.get_by_label("Token").fill(TOKEN)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("table", name="Runs")).to_be_visible()
            await window.until("p.connection === 'live'")
            assert TOKEN not in await page.content()
            assert TOKEN not in await page.evaluate(
                "JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie"
            )
            await page.reload()
            await expect(page.get_by_role("table", name="Runs")).to_be_visible()
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_label("Token")).to_be_visible()
        assert TOKEN not in api.log_text()


async def test_all_files_of_the_page_are_small_as_transferred(site: Site) -> None:
    index = await site.api.get("/new")
    names = re.findall(r'(?:href|src)="(assets/[^"]+)"', index.text)
    assert len(names) >= 3
    sizes = [await transferred_bytes(site.api, f"/{name}") for name in names]
    assert sum(sizes) + len(index.content) < TRANSFERRED_BYTES


async def test_zone_stands_in_the_address_and_goes_along(window: Window, site: Site) -> None:
    page = window.page
    await window.show(f"/runs/{site.run}/trades")
    first = page.get_by_role("table", name="Trades").locator("time").first
    utc = await first.inner_text()
    await page.get_by_label("Time zone").select_option(label="New York")
    await expect(page).to_have_url(re.compile("zone=new_york"))
    await expect(first).not_to_have_text(utc)
    await page.get_by_role("link", name="Runs", exact=True).click()
    await expect(page).to_have_url(re.compile("/runs\\?zone=new_york"))


async def test_report_opens_from_disk_without_a_network_and_replays(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    written = await site.door.command("report", str(site.run), "--html", str(file))
    assert written.status == 0, written.stderr
    asked: list[str] = []
    context = await browser.new_context(offline=True)
    context.on("request", lambda request: asked.append(request.url))
    async with open_window(browser, file.as_uri(), context=context) as window:
        await window.show("")
        run = (await site.api.get(f"/v1/backtest/{site.run}")).json()
        figure = window.page.locator('data[data-metric="net_profit"]')
        assert float(await figure.get_attribute("value") or "nan") == run["metrics"]["net_profit"]
        assert await window.hook("p.connection") == "live"
        base, trades = await market_of(site)
        assert [bar["close"] for bar in await window.hook("p.chart.bars()")] == [bar["close"] for bar in base]
        await _jump(window, "2017-02-10 12:00")
        await window.page.get_by_role("button", name="Replay", exact=True).click()
        await window.until("p.chart.replaying && p.ready")
        await knows_only_the_past(window, base, trades)
        for tab in ("Equity", "Months", "Trades", "Analytics", "Configuration", "Downloads"):
            await window.page.get_by_role("tab", name=tab).click()
            await window.ready()
            await expect(window.page.get_by_role("alert")).to_have_count(0)
        assert asked == [file.as_uri()]
        told = file.with_name("told.html")
        told.write_text(file.read_text().replace('"left_out":[]', '"left_out":["indicators"]'))
        await window.page.goto(told.as_uri())
        await expect(window.page.get_by_text("Left out, so that the file stays small")).to_contain_text("indicators")
    await context.close()


async def test_report_served_by_the_api_stands_in_its_sandbox(browser: Browser, site: Site) -> None:
    async with open_window(browser, site.api.base_url) as window:
        await window.show(f"/v1/backtest/{site.run}/report")
        assert await window.hook("p.chart.bars().length") > 0
        await window.page.get_by_role("tab", name="Months").click()
        await expect(window.page.get_by_role("table", name="Months")).to_be_visible()


async def test_every_screen_is_accessible_and_has_its_picture_at_three_sizes(
    browser: Browser, site: Site, search: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """axe finds nothing serious, and nothing is wider than the screen. The pictures stay with the test run."""
    pictures = pictures_in(tmp_path_factory.getbasetemp())
    found: list[str] = []
    other = await site.completed_run(site.averages)
    _, advised = await advised_run(site)
    async with open_window(browser, site.api.base_url, bypass_csp=True) as window:
        for name, address in SCREENS.items():
            await window.page.set_viewport_size({"width": 1280, "height": 900})
            await window.show(address.format(run=site.run, other=other, search=search, advised=advised))
            for scheme in SCHEMES:
                await window.page.emulate_media(color_scheme=scheme)
                found += [f"{name}, {scheme}: {complaint}" for complaint in await axe_complaints(window)]
                for width, height in SIZES:
                    await window.page.set_viewport_size({"width": width, "height": height})
                    await window.settle()
                    file = pictures / f"{name}-{width}-{scheme}.png"
                    await window.page.screenshot(path=file, full_page=True)
                    wide = await window.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    found += [f"{name} at {width} px is {wide} px too wide"] if wide > 0 else []
    assert found == []
    assert len(list(pictures.iterdir())) == len(SCREENS) * len(SCHEMES) * len(SIZES)


async def advised_run(site: Site) -> tuple[int, int]:
    """A strategy that a model has a say in, and a completed run of it."""
    columns = {"execution_mode": "rule_then_llm", "strategy_params": '{"fast": 5, "slow": 20}'}
    strategy = await site.door.add_strategy(**columns)
    return strategy, await site.completed_run(strategy)


async def transferred_bytes(api: Api, path: str) -> int:
    async with api.client.stream("GET", path) as response:
        assert response.status_code == 200
        return sum([len(part) async for part in response.aiter_raw()])


async def _is(value: bool) -> bool:
    return value


async def _values(found: Locator) -> list[str]:
    values: list[str] = await found.evaluate_all("all => all.map(each => each.value)")
    return values


async def _href(link: Locator) -> str:
    found = await link.evaluate("link => link.href")
    assert isinstance(found, str)
    return found


async def _jump(window: Window, date: str) -> None:
    field = window.page.get_by_label("Jump to date")
    await field.fill(date)
    await field.press("Enter")
    await window.until("p.chart.visible.to - p.chart.visible.from < 30 * 86400")
    await window.ready()
