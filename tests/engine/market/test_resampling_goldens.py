"""The engine makes the candles computed by hand."""

from dataclasses import asdict

import pytest

from engine.market.instruments import Instrument
from engine.market.resampling import resample
from tests.engine.compiled_engine import make_bars, timeframe_of
from tests.engine.goldens.resamplings import Resampling, load_resamplings
from tests.engine.reference import Bar


@pytest.mark.parametrize("case", load_resamplings(), ids=lambda case: case.name)
def test_the_engine_makes_the_candles_computed_by_hand(case: Resampling) -> None:
    given = {name: value for name, value in asdict(case.instrument).items() if value is not None}
    source = make_bars(case.source.bars, timeframe_of(case.source.timeframe_us))
    made = resample(source, timeframe_of(case.timeframe_us), Instrument(symbol="TESTED", **given))
    columns = (made.time_us, made.open, made.high, made.low, made.close)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    bars = [Bar(time_us, opening, high, low, close) for time_us, opening, high, low, close in rows]
    assert [bar.time_us for bar in bars] == [candle.open_us for candle in case.candles]
    for candle, bar, close_us in zip(case.candles, bars, made.close_time_us, strict=True):
        assert candle.is_that(bar, int(close_us))
