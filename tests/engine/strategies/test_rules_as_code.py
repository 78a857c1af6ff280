"""Documents of docs/rules/ once more, as a trader would write them in code: the same trades."""

import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.deciders.chosen import choose_strategy
from engine.indicators import adx, atr, crosses_above, crosses_below, ema, highest, lowest, rsi, sma
from engine.specification import ExecutionMode
from engine.strategies.rules import Rules
from engine.strategy import Instrument, Market, StrategyParams
from tests.engine.run_builders import backtest, sample

BARS = sample("eurusd_h1", 12_000)
DOCUMENTS = Path(__file__).parents[3] / "docs" / "rules"


class OwnCode:
    class Params(StrategyParams):
        pass

    warm_up_bars = 8_000

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.pip = instrument.pip


class RsiReversal(OwnCode):
    def decide_all(self, market: Market) -> pl.DataFrame:
        bars = market.bars
        strength, trend = rsi(bars["close"], 14), adx(bars["high"], bars["low"], bars["close"], 14)
        distance = 2 * atr(bars["high"], bars["low"], bars["close"], 14)
        buy = crosses_above(strength, pl.repeat(30.0, bars.height, eager=True)) & (trend < 25)
        sell = crosses_below(strength, pl.repeat(70.0, bars.height, eager=True)) & (trend < 25)
        opens = decided(bars, buy, sell, distance, [distance])
        return opens.with_columns(
            action=pl.when(trend > 40).then(pl.lit("CLOSE")).otherwise("action"),
            max_bars=pl.when(pl.col("action").is_not_null()).then(48),
        )


class DonchianWithTrend(OwnCode):
    def decide_all(self, market: Market) -> pl.DataFrame:
        bars, close = market.bars, market.bars["close"]
        up, down = market.on("H4", trends)
        buy = (close > highest(bars["high"], 120).shift(1)) & (up == 1)
        sell = (close < lowest(bars["low"], 120).shift(1)) & (down == 1)
        below, above = close < lowest(bars["low"], 48).shift(1), close > highest(bars["high"], 48).shift(1)
        opens = decided(bars, buy & ~below, sell & ~above, 2 * atr(bars["high"], bars["low"], close, 20), [])
        return opens.with_columns(
            action=pl.when(pl.col("action").is_null() & (below | above)).then(pl.lit("CLOSE")).otherwise("action"),
            closes=pl.when(below).then(pl.lit("long")).when(above).then(pl.lit("short")),
        )


def trends(bars: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    average = ema(bars["close"], 50)
    rises = average > average.shift(5)
    return ((bars["close"] > average) & rises).cast(pl.Int8), ((bars["close"] < average) & ~rises).cast(pl.Int8)


class TwoTargets(OwnCode):
    def decide_all(self, market: Market) -> pl.DataFrame:
        bars, close = market.bars, market.bars["close"]
        average, quick, strength = sma(close, 200), sma(close, 10), rsi(close, 7)
        low, high = (strength < 35).cast(pl.Int8).rolling_max(6), (strength > 65).cast(pl.Int8).rolling_max(6)
        turns_up, turns_down = (close > quick) & ~(close > quick).shift(1), (close < quick) & ~(close < quick).shift(1)
        wide = 1.5 * atr(bars["high"], bars["low"], close, 14)
        risk = wide.zip_with(wide > 10 * self.pip, pl.repeat(10 * self.pip, bars.height, eager=True))
        buy = (close > average) & turns_up & (low == 1)
        sell = (close < average) & turns_down & (high == 1)
        opens = decided(bars, buy, sell, risk, [risk, 2 * risk, 10 * risk])
        return opens.with_columns(trailing_stop=pl.when(pl.col("action").is_not_null()).then(3 * risk))


def decided(
    bars: pl.DataFrame, buy: pl.Series, sell: pl.Series, stop: pl.Series, targets: list[pl.Series]
) -> pl.DataFrame:
    """Both sides, with levels at distances from the close."""
    side = pl.select(pl.when(buy).then(1).when(sell).then(-1)).to_series()
    levels = {"stop_loss": bars["close"] - side * stop}
    for number, distance in enumerate(targets, 1):
        levels["take_profit" if number == 1 else f"take_profit_{number}"] = bars["close"] + side * distance
    action = pl.select(pl.when(side == 1).then(pl.lit("BUY")).when(side == -1).then(pl.lit("SELL"))).to_series()
    return pl.DataFrame({"action": action, **levels})


@pytest.mark.parametrize(
    ("document", "code"),
    [("rsi_reversal", RsiReversal), ("donchian_breakout", DonchianWithTrend), ("two_targets", TwoTargets)],
)
def test_rules_trade_as_the_same_thing_in_code(document: str, code: type[Any]) -> None:
    asked: dict[str, Any] = {"execution_mode": ExecutionMode.INTRA_CANDLE, "volume": 0.1, "spread_pips": 1.0}
    document_itself = tomllib.loads((DOCUMENTS / f"{document}.toml").read_text())
    rules = backtest(BARS, choose_strategy(Rules, "rules", document_itself), **asked).trades
    own = backtest(BARS, choose_strategy(code, "own", {}), **asked).trades
    assert rules.height > 30
    same = ["position_id", "direction", "entry_time", "exit_time", "volume", "exit_reason", "entry_price", "exit_price"]
    assert_frame_equal(own.select(same), rules.select(same), abs_tol=1e-9, rel_tol=0)
