"""Tables of a completed run against what the engine made: curves, months, pages of trades, groups, views."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from consumer.errors import FilesGone
from consumer.reports.analytics import GROUPINGS, analytics
from consumer.reports.chart_candles import CandlesAsked
from consumer.reports.chart_indicators import indicators
from consumer.reports.curves import drawdown_table, equity_table, ledger_table, monthly_table
from consumer.reports.run_view import run_view
from consumer.reports.tables import Table
from consumer.reports.thinning import kept_rows
from consumer.reports.trade_list import COLUMNS, NUMBER, SORTS, TradesAsked, place_of, trade_page, trade_table
from engine.deciders.chosen import choose_strategy
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from engine.market.zones import zone_named
from engine.strategies.rules import Rules
from tests.consumer.reports.recorded_runs import Recorded, recorded, some_run
from tests.engine.run_builders import backtest, sample

UTC = zone_named("UTC")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded(tmp_path_factory.mktemp("artifacts"), some_run())


def frame_of(table: Table) -> pl.DataFrame:
    found = pl.concat(table.parts)
    assert tuple(found.columns) == table.columns
    return found


def trades_of(kept: Recorded) -> pl.DataFrame:
    return kept.result.recorded_trades.with_row_index(NUMBER, 1).with_columns(pl.col(NUMBER).cast(pl.Int64))


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=300), st.integers(2, 40))
def test_thinning_keeps_the_ends_and_the_extremes_and_no_more_than_asked(values: list[float], points: int) -> None:
    array = np.array(values)
    if array.size <= points:
        return
    rows = kept_rows(array, points).tolist()
    assert rows == sorted(set(rows))
    assert (rows[0], rows[-1]) == (0, array.size - 1)
    assert len(rows) <= points
    if points >= 4:
        assert array[rows].min() == array.min()
        assert array[rows].max() == array.max()


def test_equity_is_the_engines_beside_the_deposit_held_in_the_market(kept: Recorded) -> None:
    found = frame_of(equity_table(kept.run, kept.tables))
    assert_frame_equal(found.drop("buy_and_hold"), kept.result.equity)
    held = kept.result.extended.buy_and_hold_return_pct
    assert found["buy_and_hold"][-1] == pytest.approx(kept.run.deposit * (1 + held / 100))
    few = frame_of(equity_table(kept.run, kept.tables, 50))
    assert few.height <= 50
    assert few["equity"].min() == found["equity"].min()
    assert few.row(0) == found.row(0)


def test_the_deepest_drawdown_is_that_of_the_metrics(kept: Recorded) -> None:
    table = drawdown_table(kept.run, kept.tables)
    deepest = table.said["deepest"]
    found = frame_of(table)
    worst = kept.result.metrics.max_drawdown_pct
    assert found["drawdown_pct"].max() == worst
    assert deepest[0]["percent"] == worst
    assert len(deepest) == 10
    assert all(before["percent"] >= after["percent"] for before, after in pairwise(deepest))
    assert found["drawdown"].min() == 0.0


def test_months_are_the_trades_by_the_month_they_left_in(kept: Recorded) -> None:
    found = frame_of(monthly_table(kept.run, kept.tables))
    trades = kept.result.trades
    balance = kept.run.deposit
    for row in found.iter_rows(named=True):
        time = pl.col("exit_time")
        own = trades.filter((time.dt.year() == row["year"]) & (time.dt.month() == row["month"]))
        assert row["trades"] == own.height
        assert row["net"] == pytest.approx(own["profit"].sum(), abs=1e-6)
        assert row["return_pct"] == pytest.approx(row["net"] / balance * 100)
        balance += row["net"]
    assert found["trades"].sum() == trades.height
    assert balance == pytest.approx(trades["equity_after"][-1], abs=1e-6)


def test_the_ledger_is_every_booked_item(kept: Recorded) -> None:
    assert_frame_equal(frame_of(ledger_table(kept.run, kept.tables)), kept.result.booked)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_trades_are_all_of_them_in_order_once(kept: Recorded, sort: str, *, descending: bool) -> None:
    asked = TradesAsked(sort=sort, descending=descending)
    found: list[dict[str, Any]] = []
    with kept.tables.table(7, 1, "trades") as trades:
        while page := trade_page(trades, asked, 61, place_of(found[-1], asked) if found else None):
            found += page
        whole = frame_of(trade_table(trades, asked))
    rows = trades_of(kept).to_dicts()
    there = [row for row in rows if row[sort] is not None]
    lacking = [row for row in rows if row[sort] is None]
    wanted = sorted(there, key=lambda row: (row[sort], row[NUMBER]), reverse=descending)
    wanted += sorted(lacking, key=lambda row: int(row[NUMBER]), reverse=descending)
    assert found == wanted
    assert whole.to_dicts() == wanted
    assert tuple(found[0]) == COLUMNS


def test_trades_are_chosen_by_what_their_rows_say(kept: Recorded) -> None:
    every = trades_of(kept).to_dicts()
    asked = TradesAsked(direction="SELL", exit_reason="take_profit", outcome="win")
    with kept.tables.table(7, 1, "trades") as trades:
        found = trade_page(trades, asked, 500)
        assert frame_of(trade_table(trades, asked)).to_dicts() == found
        assert trade_page(trades, TradesAsked(outcome="break_even"), 500) == [
            each for each in every if each["profit"] == 0
        ]
    assert found == [
        each
        for each in every
        if each["direction"] == "SELL" and each["exit_reason"] == "take_profit" and each["profit"] > 0
    ]
    assert found


@pytest.mark.parametrize("by", [*((name,) for name in GROUPINGS), ("direction", "hour")])
def test_groups_are_of_positions_and_add_up_to_the_run(kept: Recorded, by: tuple[str, ...]) -> None:
    with kept.tables.table(7, 1, "trades") as trades:
        found = analytics(trades, by, UTC)
    assert found["by"] == list(by)
    groups = found["groups"]
    positions: dict[int, list[dict[str, Any]]] = {}
    for row in kept.result.trades.iter_rows(named=True):
        positions.setdefault(row["position_id"], []).append(row)
    assert any(len(rows) > 1 for rows in positions.values())
    expected: dict[tuple[Any, ...], list[float]] = {}
    for rows in positions.values():
        key = tuple(grouped(name, rows) for name in by)
        expected.setdefault(key, []).append(sum(row["profit"] for row in rows))
    assert {tuple(group[name] for name in by) for group in groups} == set(expected)
    for group in groups:
        profits = expected[tuple(group[name] for name in by)]
        assert group["trades"] == len(profits)
        assert group["net"] == pytest.approx(sum(profits), abs=1e-6)
        assert group["win_rate"] == pytest.approx(sum(profit > 0 for profit in profits) / len(profits))
        assert group["few"] == (len(profits) < 30)
    assert sum(group["net"] for group in groups) == pytest.approx(kept.result.net_profit, abs=1e-6)


def grouped(name: str, rows: list[dict[str, Any]]) -> Any:
    entry, held = rows[0]["entry_time"], rows[-1]["exit_time"] - rows[0]["entry_time"]
    match name:
        case "hour":
            return entry.hour
        case "weekday":
            return entry.weekday()
        case "month":
            return entry.month
        case "holding_time":
            if held < timedelta(hours=1):
                return "under 1 h"
            longer = {4: "to 4 h", 24: "to 24 h", 168: "to 7 d"}
            return next((words for hours, words in longer.items() if held <= timedelta(hours=hours)), "over")
        case "exit_reason":
            return rows[-1]["exit_reason"]
        case _:
            return rows[0][name]


def test_hours_are_those_of_the_zone_asked_for(kept: Recorded) -> None:
    with kept.tables.table(7, 1, "trades") as trades:
        here = {group["hour"]: group["net"] for group in analytics(trades, ["hour"], UTC)["groups"]}
        tokyo = zone_named("Asia/Tokyo")
        there = {group["hour"]: group["net"] for group in analytics(trades, ["hour"], tokyo)["groups"]}
    assert there == {(hour + 9) % 24: net for hour, net in here.items()}


def test_figures_by_side_are_those_of_the_run_and_of_its_trades(kept: Recorded) -> None:
    view = run_view(kept.run, kept.tables)
    metrics = kept.result.to_json_dict()
    assert view["all"] == {name: metrics[name] for name in view["all"]}
    profits = kept.result.trades
    for side, direction in (("long", "BUY"), ("short", "SELL")):
        own = profits.filter(pl.col("direction") == direction)["profit"]
        assert view[side]["total_trades"] == own.len()
        assert view[side]["net_profit"] == pytest.approx(own.sum(), abs=1e-6)
    assert len(view["drawdowns"]) == 10


def test_a_pruned_run_has_no_figures_and_says_so(tmp_path: Path) -> None:
    pruned = recorded(tmp_path, some_run())
    for file in (tmp_path / "runs" / "7" / "1").iterdir():
        file.unlink()
    view = run_view(pruned.run, pruned.tables)
    assert view["all"] is None
    assert "backtest runs prune" in view["missing"]
    with pytest.raises(FilesGone), pruned.tables.table(7, 1, "trades"):
        pass
    with pytest.raises(FilesGone), pruned.tables.bars("/etc/passwd"):
        pass


def test_indicators_stand_on_the_candles_that_are_asked_for(tmp_path: Path) -> None:
    bars = sample("eurusd_h1", 400)
    document = {"indicators": {"mean": "sma(close, 5)", "strength": "rsi(close, 14)"}, "buy": "close > mean"}
    result = backtest(bars, choose_strategy(Rules, "rules", document), volume=0.01)
    own, closes = timeframe("H1"), bars.frame["close"]
    since = int(bars.time_us[100])
    asked = CandlesAsked(since_us=since)
    found = indicators(result.indicators, closes, own, None, asked)
    assert [(each["name"], each["pane"]) for each in found["indicators"]] == [("mean", 0), ("strength", 1)]
    assert found["time"].to_physical()[0] == since
    drawn = result.indicators
    assert drawn is not None
    assert found["indicators"][0]["values"].to_list() == drawn["mean"].to_list()[100:]
    longer = CandlesAsked(timeframe=timeframe("H4"))
    coarse = indicators(drawn, closes, own, packaged_instruments()["EURUSD"], longer)
    assert coarse["timeframe"] == "H4"
    assert coarse["indicators"][0]["values"][-1] == drawn["mean"][-1]
    assert indicators(None, closes, own, None, asked)["indicators"] == []
