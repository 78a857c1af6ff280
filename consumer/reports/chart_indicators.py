"""What a run's strategy draws beside the bars, on the candles of its chart."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl

from consumer.reports.chart_candles import CandlesAsked, anchor_of, refuse_finer
from engine.market.instruments import Instrument
from engine.market.resampling import candle_opens
from engine.market.timeframes import Timeframe
from engine.results.result import BAR_TIME

PRICE_PANE: Final = 0
_NEAR: Final = 0.25
"""A curve whose values mostly lie this near the prices, as a share of them, is drawn over the candles."""


def indicators(
    drawn: pl.DataFrame | None, closes: pl.Series, own: Timeframe, instrument: Instrument | None, asked: CandlesAsked
) -> dict[str, Any]:
    """{"timeframe", "time": [...], "indicators": [{"name", "pane", "values": [...]}]}, in the order drawn.

    drawn: as a run records it (None: nothing); closes: of the same bars. since <= open < until; of a longer timeframe a
    candle has the value that its last bar closed with. pane: 0 over the prices, 1 and up a pane of its own. Raises
    ChartRefused.
    """
    of = own if asked.timeframe is None else asked.timeframe
    refuse_finer(own, of)
    if drawn is None:
        return {"timeframe": of.name, "time": [], "indicators": []}
    panes = dict(_panes(drawn, closes))
    opens_us = drawn[BAR_TIME].to_physical().to_numpy()
    if of != own:
        opens_us = candle_opens(opens_us, of, anchor_of(instrument, of))
    last_rows = np.flatnonzero(np.diff(opens_us, append=np.iinfo(np.int64).max) != 0)
    opens_us = opens_us[last_rows]
    wanted = np.ones(opens_us.size, bool)
    if asked.since_us is not None:
        wanted &= opens_us >= asked.since_us
    if asked.until_us is not None:
        wanted &= opens_us < asked.until_us
    shown = drawn[last_rows[wanted]]
    time = pl.Series(opens_us[wanted]).cast(drawn[BAR_TIME].dtype)
    return {
        "timeframe": of.name,
        "time": time,
        "indicators": [{"name": name, "pane": pane, "values": shown[name]} for name, pane in panes.items()],
    }


def _panes(drawn: pl.DataFrame, closes: pl.Series) -> Iterator[tuple[str, int]]:
    pane = PRICE_PANE
    for column in drawn.iter_columns():
        if column.name == BAR_TIME:
            continue
        if _is_in_price(column, closes):
            yield column.name, PRICE_PANE
        else:
            pane += 1
            yield column.name, pane


def _is_in_price(column: pl.Series, closes: pl.Series) -> bool:
    """Whether the middle one of its distances from the close is small: an average is, an oscillator is not."""
    if column.dtype == pl.Boolean:
        return False
    distance = ((column - closes.head(column.len())) / closes.head(column.len())).abs().median()
    return isinstance(distance, float) and distance <= _NEAR
