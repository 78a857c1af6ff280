"""Candle patterns by TA-Lib's names."""

from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from engine.indicators import CANDLES, candle, candle_problem
from engine.indicators.candles import candle_lookback
from engine.strategies.levels import Levels, Openings
from engine.strategy import Instrument, Market, StrategyParams


def _known(name: str) -> str:
    problem = candle_problem(name)
    if problem is not None:
        raise ValueError(problem)
    return name


class _Patterns(StrategyParams):
    patterns: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        default=("engulfing",),
        min_length=1,
        max_length=len(CANDLES),
        description="Any of TA-Lib's, without CDL, lower case",
    )


class CandlePattern:
    """BUY on a positive signal of any of the patterns, SELL on a negative one, nothing where two disagree. A trade's
    pattern_name is the first of them that signals, its pattern_metadata all that do.
    """

    class Params(Levels, _Patterns):
        pass

    @staticmethod
    def longest_length(params: Params, timeframe: str) -> int:
        del timeframe
        return params.longest(*map(candle_lookback, params.patterns))

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._patterns = tuple(dict.fromkeys(params.patterns))
        self._openings = Openings(params, instrument)

    def decide_all(self, market: Market) -> pl.DataFrame:
        opened, high, low, close = (market.bars[name] for name in ("open", "high", "low", "close"))
        signals = [candle(opened, high, low, close, name).fill_null(0.0).cast(pl.Int64) for name in self._patterns]
        positive, negative = (np.zeros(market.bars.height, bool) for _ in range(2))
        for signal in signals:
            positive |= signal.to_numpy() > 0
            negative |= signal.to_numpy() < 0
        codes = positive.astype(np.int8) - negative.astype(np.int8)
        return self._openings.decided(market, codes).with_columns(self._told(signals, codes))

    def _told(self, signals: list[pl.Series], codes: NDArray[np.int8]) -> list[pl.Series]:
        """Return pattern_name and pattern_metadata, null where nothing is decided."""
        rows = np.flatnonzero(codes)
        frame = pl.DataFrame({name: signal[rows] for name, signal in zip(self._patterns, signals, strict=True)})
        told = {name: pl.when(pl.col(name) != 0) for name in self._patterns}
        entries = [when.then(pl.lit(f'"{name}": ') + pl.col(name).cast(pl.String)) for name, when in told.items()]
        listed = pl.concat_str(entries, separator=", ", ignore_nulls=True)
        texts = frame.select(
            pattern_name=pl.coalesce(when.then(pl.lit(name)) for name, when in told.items()),
            pattern_metadata=pl.lit('{"signals": {') + listed + pl.lit("}}"),
        )
        blank = pl.Series([None], dtype=pl.String).new_from_index(0, codes.size)
        return [blank.scatter(rows, texts[name]).alias(name) for name in texts.columns]
