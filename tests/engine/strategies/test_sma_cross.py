"""The built-in strategy: decisions of the cross, levels in pips of the instrument."""

import polars as pl
import pytest
from pydantic import ValidationError

from engine.market.instruments import packaged_instruments
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Market
from tests.engine.bar_builders import closes_bars, utc

CLOSES = [150.0, 151.0, 152.0, 150.0, 148.123, 148.0, 151.0, 153.017, 153.0]


def decide(symbol: str = "USDJPY", closes: list[float] = CLOSES, **params: float) -> pl.DataFrame:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), closes)
    strategy = SmaCross(SmaCross.Params.model_validate(params), packaged_instruments()[symbol])
    return strategy.decide_all(Market(bars.frame, {}))


def test_it_buys_when_fast_crosses_above_slow_and_sells_when_below() -> None:
    # SMA1 - SMA3: from row 2: 152-151, 150-151, 148.123-150.04, 148-148.71, 151-149.04, 153.017-150.67, 153-152.34
    frame = decide(fast=1, slow=3)
    assert frame.columns == ["action"]
    assert frame["action"].to_list() == [None, None, None, "SELL", None, None, "BUY", None, None]


def test_levels_lie_in_pips_from_the_close_on_the_side_of_the_trade() -> None:
    frame = decide(fast=1, slow=3, stop_loss_pips=20.5, take_profit_pips=41)
    assert frame.height == len(CLOSES)
    taken = frame.filter(pl.col("action").is_not_null())
    assert taken.rows() == [("SELL", 150.205, 149.59), ("BUY", 150.795, 151.41)]


def test_levels_are_free_of_binary_noise() -> None:
    frame = decide("EURUSD", [1.1, 1.2, 1.3, 1.1], fast=1, slow=3, stop_loss_pips=3)
    assert frame["stop_loss"][3] == 1.1003


def test_too_few_bars_decide_nothing() -> None:
    assert decide(closes=[1.0, 2.0])["action"].to_list() == [None, None]


@pytest.mark.parametrize(
    "params",
    [
        {"fast": 0},
        {"fast": 30},
        {"fast": 31, "slow": 30},
        {"slow": 1, "fast": 1},
        {"fast": 1.5},
        {"stop_loss_pips": 0},
        {"take_profit_pips": -1},
        {"stop_loss_pips": float("nan")},
        {"take_profit_pips": float("inf")},
        {"fasst": 3},
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SmaCross.Params.model_validate(params)
