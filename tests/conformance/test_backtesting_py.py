"""backtesting.py on the data that it brings along: same decisions, same trades."""

import warnings

import numpy as np
import pandas as pd
import pytest
from agreement import DEPOSIT, Decisions, Trade, crossings, fx, ours, share
from backtesting import Backtest, Strategy
from backtesting.test import EURUSD, GOOG

from engine.market.instruments import Instrument
from engine.specification import ExecutionMode

Market = tuple[pd.DataFrame, str, Instrument]
MARKETS: dict[str, Market] = {"GOOG": (GOOG, "D1", share("GOOG")), "EURUSD": (EURUSD, "H1", fx("EURUSD"))}
MODES = {ExecutionMode.NEXT_OPEN: False, ExecutionMode.INTRA_CANDLE: True}
"""Ours -> trade_on_close."""


def theirs(frame: pd.DataFrame, decisions: Decisions, *, trade_on_close: bool) -> list[Trade]:
    """Their trades. Same-side signals are left out, as in our rules; an exclusive order closes the one before."""

    class Scripted(Strategy):  # type: ignore[misc]
        def init(self) -> None: ...

        def next(self) -> None:
            row = len(self.data) - 1
            action = decisions.action[row]
            levels = {
                name: float(column[row])
                for name, column in (("sl", decisions.stop), ("tp", decisions.target))
                if not np.isnan(column[row])
            }
            if action == "BUY" and not self.position.is_long:
                self.buy(size=1, **levels)
            elif action == "SELL" and not self.position.is_short:
                self.sell(size=1, **levels)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = Backtest(
            frame,
            Scripted,
            cash=DEPOSIT,
            commission=0,
            spread=0,
            trade_on_close=trade_on_close,
            exclusive_orders=True,
            finalize_trades=True,
        )
        rows = test.run()["_trades"].sort_values(["ExitBar", "EntryBar"])
    return [
        Trade("BUY" if size > 0 else "SELL", int(entry), int(leaving), round(bought, 9), round(sold, 9))
        for size, entry, leaving, bought, sold in rows[
            ["Size", "EntryBar", "ExitBar", "EntryPrice", "ExitPrice"]
        ].itertuples(index=False)
    ]


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


def closed_before_the_end(trades: list[Trade], frame: pd.DataFrame) -> list[Trade]:
    """Theirs closes what is left in other ways: at the last open, or on the bar before (README.md, 1)."""
    return [trade for trade in trades if trade.exit_bar < len(frame) - 2]


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
