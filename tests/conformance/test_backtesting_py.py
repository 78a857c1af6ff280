"""backtesting.py on the data that it brings along: same decisions, same trades."""

import pandas as pd
import pytest
from agreement import Trade, crossings, fx, ours, share
from backtesting.test import EURUSD, GOOG
from scripted import closed_before_the_end, theirs

from engine.market.instruments import Instrument
from engine.specification import ExecutionMode

Market = tuple[pd.DataFrame, str, Instrument]
MARKETS: dict[str, Market] = {"GOOG": (GOOG, "D1", share("GOOG")), "EURUSD": (EURUSD, "H1", fx("EURUSD"))}
MODES = {ExecutionMode.NEXT_OPEN: False, ExecutionMode.INTRA_CANDLE: True}
"""Ours -> trade_on_close."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("lengths", [(10, 30), (5, 13), (20, 60)])
def test_crossings_that_reverse(market: str, mode: ExecutionMode, lengths: tuple[int, int]) -> None:
    frame, name, instrument = MARKETS[market]
    decisions = crossings(frame, *lengths)
    got = ours(frame, decisions, mode, name, instrument)
    expected = theirs(frame, decisions, trade_on_close=MODES[mode])
    assert len(got) > 30
    assert closed_before_the_end(got, frame) == closed_before_the_end(expected, frame)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("levels", [(0.02, 0.03), (0.006, 0.01), (0.002, 0.002)])
def test_crossings_with_stop_and_target(market: str, mode: ExecutionMode, levels: tuple[float, float]) -> None:
    frame, name, instrument = MARKETS[market]
    decisions = crossings(frame, 10, 30, stop=levels[0], target=levels[1])
    got = closed_before_the_end(ours(frame, decisions, mode, name, instrument), frame)
    expected = closed_before_the_end(theirs(frame, decisions, trade_on_close=MODES[mode]), frame)
    assert len(got) == len(expected) > 50
    differ = [(one, other) for one, other in zip(got, expected, strict=True) if one != other]
    for one, other in differ:
        assert_open_beyond_the_target(one, other, frame)
    assert len(differ) < len(got) / 3


def assert_open_beyond_the_target(one: Trade, other: Trade, frame: pd.DataFrame) -> None:
    """Both reach stop and target in one bar that opens at or beyond the target: we fill there, they take the stop
    (README.md, 2)."""
    assert (one.side, one.entry_bar, one.exit_bar, one.entry_price) == (
        other.side,
        other.entry_bar,
        other.exit_bar,
        other.entry_price,
    )
    bar = frame.iloc[one.exit_bar]
    assert one.exit_price == round(bar["Open"], 9)
    assert bar["Low"] <= other.exit_price <= bar["High"]
    better = 1 if one.side == "BUY" else -1
    assert better * (one.exit_price - other.exit_price) > 0
