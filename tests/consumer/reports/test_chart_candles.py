"""Candles of a chart: by range, whole or not there, and the same as the engine's resampling in parts of any size."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from consumer.adapters.files.artifacts import BAR_COLUMNS
from consumer.adapters.files.chart_bars import ChartBars
from consumer.reports.chart_candles import CandlesAsked, ChartRefused, candle_table
from engine.market.bars import Bars
from engine.market.instruments import packaged_instruments
from engine.market.resampling import resample, resample_with_cut
from engine.market.timeframes import TIMEFRAMES, timeframe
from engine.numeric.csv_rows import csv_rows
from tests.engine.bar_builders import as_us, bars_of, random_bars, utc
from tests.engine.run_builders import sample

EURUSD = packaged_instruments()["EURUSD"]
H1, D1 = timeframe("H1"), timeframe("D1")


def on_disk(bars: Bars, part_bytes: int = 4_000) -> ChartBars:
    rows = csv_rows(bars.frame.select(BAR_COLUMNS), "iso")
    return ChartBars(BytesIO(f"{','.join(BAR_COLUMNS)}\n".encode() + rows), part_bytes)


def all_of(parts: Iterator[pl.DataFrame]) -> pl.DataFrame:
    found = list(parts)
    return pl.concat(found) if found else pl.DataFrame()


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bars=random_bars(H1, largest=200))
def test_a_range_of_the_file_is_the_rows_of_that_range(data: st.DataObject, bars: Bars) -> None:
    moments = st.sampled_from([*bars.time_us.tolist(), int(bars.time_us[-1]) + 1, int(bars.time_us[0]) - 1])
    since, until = data.draw(st.none() | moments), data.draw(st.none() | moments)
    file = on_disk(bars, data.draw(st.integers(120, 2_000)))
    found = all_of(file.parts(since, until))
    time = bars.frame["time"].to_physical()
    kept = (time >= (since if since is not None else 0)) & (time < (until if until is not None else 2**62))
    wanted = bars.frame.filter(kept).select(BAR_COLUMNS)
    assert found.height == wanted.height
    if wanted.height:
        assert_frame_equal(found, wanted)
    assert file.extent_us() == (int(bars.time_us[0]), int(bars.time_us[-1]))


@settings(max_examples=120, deadline=None)
@given(data=st.data(), bars=random_bars(H1, largest=200), name=st.sampled_from(["H1", "H4", "D1", "W1", "MN1"]))
def test_candles_in_parts_are_those_of_the_whole(data: st.DataObject, bars: Bars, name: str) -> None:
    moments = st.integers(int(bars.time_us[0]) - 10**11, int(bars.time_us[-1]) + 10**11)
    since, until = data.draw(st.none() | moments), data.draw(st.none() | moments)
    file = on_disk(bars, data.draw(st.integers(120, 3_000)))
    table = candle_table(file, H1, EURUSD, CandlesAsked(since, until, timeframe(name)))
    found = all_of(table.parts)
    made, complete = resample_with_cut(bars, timeframe(name), EURUSD)
    wanted = made.frame.with_columns(complete=pl.Series(complete))
    time = wanted["time"].to_physical()
    wanted = wanted.filter(
        (time >= (since if since is not None else 0)) & (time < (until if until is not None else 2**62))
    ).select(table.columns)
    assert found.height == wanted.height
    if wanted.height:
        assert_frame_equal(found, wanted)
    assert table.said == {"timeframe": name, "source": "stored" if name == "H1" else "resampled"}


def test_what_the_engine_drops_is_told_as_incomplete() -> None:
    bars = sample("eurusd_h1", 1_000)
    found = all_of(candle_table(on_disk(bars), H1, EURUSD, CandlesAsked(timeframe=D1)).parts)
    engine = resample(bars, D1, EURUSD).frame
    assert_frame_equal(found.filter("complete").select(engine.columns), engine)
    assert 1 <= found.filter(~pl.col("complete")).height <= 2


def test_a_hole_longer_than_a_candle_before_the_range_cuts_nothing() -> None:
    times = [utc("2024-01-08 00:00"), utc("2024-03-11 04:00"), utc("2024-03-11 05:00"), utc("2024-06-10 00:00")]
    asked = CandlesAsked(as_us(utc("2024-03-01 00:00")), as_us(utc("2024-05-20 00:00")), D1)
    found = all_of(candle_table(on_disk(bars_of("H1", times)), H1, EURUSD, asked).parts)
    assert found["complete"].to_list() == [True]
    assert found["time"].to_list() == [utc("2024-03-10 21:00")]


@pytest.mark.parametrize("points", [6, 7, 40, 150, 200, 5_000])
def test_max_points_takes_the_finest_timeframe_that_fits(points: int) -> None:
    bars = sample("eurusd_h1", 3_000)
    table = candle_table(on_disk(bars, 50_000), H1, EURUSD, CandlesAsked(max_points=points))
    found = all_of(table.parts)
    assert found.height <= points
    finer = [
        each
        for each in TIMEFRAMES.values()
        if H1.duration_us <= each.duration_us < timeframe(str(table.said["timeframe"])).duration_us
    ]
    for each in finer:
        assert resample_with_cut(bars, each, EURUSD)[0].height > points
    assert found["high"].max() == np.max(bars.high)


def test_a_finer_timeframe_and_too_few_points_are_refused() -> None:
    bars = sample("eurusd_h1", 3_000)
    with pytest.raises(ChartRefused, match="timeframe must be H1"):
        candle_table(on_disk(bars), H1, EURUSD, CandlesAsked(timeframe=timeframe("M30")))
    with pytest.raises(ChartRefused, match="max_points is less than the"):
        candle_table(on_disk(bars), H1, EURUSD, CandlesAsked(max_points=1))


def test_without_an_instrument_only_what_needs_no_trading_day_is_made() -> None:
    bars = sample("usdjpy_m1", 3_000)
    own = timeframe("M1")
    found = all_of(candle_table(on_disk(bars), own, None, CandlesAsked(timeframe=H1)).parts)
    assert found.height
    with pytest.raises(ChartRefused, match="D1 begins with the trading day"):
        all_of(candle_table(on_disk(bars), own, None, CandlesAsked(timeframe=D1)).parts)
