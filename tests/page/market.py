"""What a run traded on, as the API tells it, and what of it a chart may have been given at a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.page.browser import Window
from tests.page.conftest import Site


async def candles_of(site: Site, **query: str) -> list[dict[str, Any]]:
    table = (await site.api.get(f"/v1/backtest/{site.run}/candles", params=query)).json()
    names = [name for name in table["columns"] if name != "time"]
    return [
        {"time": _epoch(time), **{name: table[name][row] for name in names}} for row, time in enumerate(table["time"])
    ]


async def market_of(site: Site) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The run's own bars, and its trades with entry and exit as epoch seconds."""
    trades: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 500}
    while True:
        answer = (await site.api.get(f"/v1/backtest/{site.run}/trades", params=query)).json()
        trades += answer["items"]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    for trade in trades:
        trade["entry"], trade["exit"] = _epoch(trade["entry_time"]), _epoch(trade["exit_time"])
    return await candles_of(site), trades


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


async def knows_only_the_past(window: Window, base: list[dict[str, Any]], trades: list[dict[str, Any]]) -> None:
    """What the library was given is what stands at the cursor's close, all of it and nothing else."""
    state = await window.hook(
        "({cursor: p.chart.cursor, bars: p.chart.bars(), m: p.chart.markers(), l: p.chart.lines()})"
    )
    cursor = state["cursor"]
    past = [bar for bar in base if bar["time"] <= cursor]
    assert [bar["time"] for bar in state["bars"]] == [bar["time"] for bar in past]
    assert [bar["close"] for bar in state["bars"]] == [bar["close"] for bar in past]
    entries = {(trade["entry"], trade["position_id"]) for trade in trades if trade["entry"] <= cursor}
    exits = sorted((trade["exit"], trade["position_id"]) for trade in trades if trade["exit"] <= cursor)
    assert {(mark["time"], mark["trade"]) for mark in state["m"] if mark["kind"] == "entry"} == entries
    assert sorted((mark["time"], mark["trade"]) for mark in state["m"] if mark["kind"] == "exit") == exits
    assert all(line["from"] <= line["to"] <= cursor for line in state["l"])
    ends: dict[int, int] = {}
    for trade in trades:
        ends[trade["position_id"]] = max(ends.get(trade["position_id"], 0), trade["exit"])
    at_entry = {trade["position_id"]: trade["stop_at_entry"] for trade in trades}
    exited = {trade["position_id"] for trade in trades if trade["exit"] <= cursor}
    for line in state["l"]:
        if line["kind"] == "stop":
            assert line["price"] == at_entry[line["trade"]]
        if line["kind"] == "target":
            assert line["trade"] in exited
