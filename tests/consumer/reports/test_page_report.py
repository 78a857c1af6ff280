"""The report as one file: all of the run is in it, nothing can end its element, and it is never too large."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.reports.packed import packed
from consumer.reports.page_report import MOST_BYTES, SHORT_RUN_BYTES, SLOT, ReportedRun, page_report, with_data
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from tests.consumer.reports.embedded import embedded_in, unpacked
from tests.consumer.reports.recorded_runs import Recorded, recorded, some_run
from tests.engine.run_builders import backtest, scripted

SHELL = f"<html>{SLOT}<script>show()</script></html>"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
REGISTRY = packaged_instruments()


def report_of(*kept: Recorded, shell: str = SHELL) -> tuple[str, Any]:
    reported = [ReportedRun({"run_id": each.run.run_id, "strategy_name": "</script><b>"}, each.run) for each in kept]
    page = page_report(shell, reported, kept[0].tables, REGISTRY, NOW)
    return page, embedded_in(page)


def random_walk(name: str, count: int) -> Bars:
    step = timedelta(microseconds=timeframe(name).duration_us)
    begin = datetime(2012, 1, 2, tzinfo=UTC)
    closes = np.round(1.2 + np.cumsum(np.random.default_rng(1).normal(0, 0.0006, count)) * 0.2, 5)
    opens = np.concatenate(([1.2], closes[:-1]))
    frame = pl.DataFrame(
        {
            "time": pl.datetime_range(
                begin, begin + step * (count - 1), step, time_unit="us", time_zone="UTC", eager=True
            ),
            "open": opens,
            "high": np.round(np.maximum(opens, closes) + 0.0007, 5),
            "low": np.round(np.minimum(opens, closes) - 0.0007, 5),
            "close": closes,
            "volume": np.random.default_rng(2).integers(100, 9_999, count).astype(float),
        }
    )
    return bars_from_frame(frame, timeframe(name), "walk")


def often(bars: Bars, every: int) -> Any:
    sides = ["BUY", "SELL"]
    actions = [sides[row // every % 2] if row % every == 0 else None for row in range(bars.height)]
    return scripted(actions)


@given(st.lists(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9).map(lambda whole: whole / 100_000), max_size=40))
def test_packing_gives_every_value_back(values: list[float]) -> None:
    assert unpacked(packed(pl.Series(values, dtype=pl.Float64))) == values


def test_columns_with_nulls_or_texts_stay_lists() -> None:
    assert packed(pl.Series([1.5, None])) == [1.5, None]
    assert packed(pl.Series(["a", None])) == ["a", None]
    assert packed(pl.Series([float("nan")])) == [None]


def test_no_text_ends_the_element_of_the_data(tmp_path: Path) -> None:
    page, data = report_of(recorded(tmp_path, some_run()))
    assert page.count("</script>") == 2
    assert data["run"]["strategy_name"] == "</script><b>"


def test_a_shell_without_a_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="no slot"):
        with_data("<html></html>", {})


def test_everything_of_the_run_is_inside(tmp_path: Path) -> None:
    kept = recorded(tmp_path, some_run())
    _, data = report_of(kept)
    bars, trades = kept.result.bars.frame, kept.result.recorded_trades
    assert unpacked(data["candles"]["close"]) == bars["close"].to_list()
    assert unpacked(data["candles"]["time"]) == (bars["time"].to_physical() // 1_000_000).to_list()
    assert unpacked(data["trades"]["profit"]) == trades["profit"].to_list()
    assert unpacked(data["trades"]["mae"]) == trades["mae"].to_list()
    assert len(unpacked(data["equity"]["equity"])) == kept.result.equity.height
    assert data["thinned"] is None
    assert {"H4", "D1", "W1", "MN1"} == set(data["timeframes"])
    assert data["generated_at"] == "2026-01-05T00:00:00Z"
    assert {"drawdown", "monthly", "analytics", "indicators"} <= data.keys()


def test_runs_to_compare_are_beside_it(tmp_path: Path) -> None:
    first, second = recorded(tmp_path, some_run()), recorded(tmp_path, some_run(volume=0.2), 8)
    _, data = report_of(first, second)
    assert [each["run"]["run_id"] for each in data["compare"]] == [7, 8]
    assert unpacked(data["compare"][1]["equity"]["equity"])[-1] == second.result.equity["equity"][-1]


def test_ten_years_of_hours_stay_under_three_megabytes_and_are_not_thinned(tmp_path: Path) -> None:
    bars = random_walk("H1", 62_000)
    kept = recorded(tmp_path, backtest(bars, often(bars, 24), volume=0.01))
    assert kept.result.trades.height > 2_000
    page, data = report_of(kept, shell=SHELL + "x" * 300_000)
    assert len(page.encode()) < 3_000_000
    assert SHORT_RUN_BYTES < 3_000_000
    assert data["thinned"] is None
    assert data["left_out"] == []
    page, data = report_of(kept, shell=SHELL + "x" * 1_200_000)
    assert len(page.encode()) < 3_000_000
    assert "volume" not in data["candles"]
    assert data["left_out"] == ["volume"], "a strategy without indicators has none to be left out"


def test_more_than_a_hundred_thousand_bars_are_thinned_and_it_says_to_what(tmp_path: Path) -> None:
    bars = random_walk("M5", 120_000)
    kept = recorded(tmp_path, backtest(bars, often(bars, 10), volume=0.01))
    page, data = report_of(kept)
    assert data["thinned"] == f"thinned to {data['candles']['timeframe']}"
    assert len(unpacked(data["candles"]["time"])) <= 100_000
    assert len(unpacked(data["trades"]["profit"])) == kept.result.trades.height
    assert len(page.encode()) < MOST_BYTES
