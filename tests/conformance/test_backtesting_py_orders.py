"""backtesting.py: entry orders, trailing stops and costs. On its own bars and on ours; same decisions, same trades."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from agreement import Decisions, Trade, crossings, fx, ours, sample, share, simulated, trades_of
from backtesting.test import EURUSD, GOOG
from scripted import closed_before_the_end, rows_of_theirs, theirs, trades_in

from engine.market.instruments import Instrument
from engine.specification import ExecutionMode, SpreadSource

Market = tuple[pd.DataFrame, str, Instrument, float]
MARKETS: dict[str, Market] = {
    "GOOG": (GOOG, "D1", share("GOOG"), 0.02),
    "EURUSD": (EURUSD, "H1", fx("EURUSD"), 0.001),
    "gbpusd_h1": (sample("gbpusd_h1"), "H1", fx("GBPUSD"), 0.001),
    "usdjpy_h1": (sample("usdjpy_h1"), "H1", fx("USDJPY"), 0.001),
}
"""Last: how far a bar goes, a share of the price."""
IN_USD = ("GOOG", "EURUSD", "gbpusd_h1")
MODES = {ExecutionMode.NEXT_OPEN: False, ExecutionMode.INTRA_CANDLE: True}
"""Ours -> trade_on_close for orders at market. Ours do not differ in entry orders; theirs do (README.md, 7)."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("order", ["limit", "stop"])
def test_entry_orders_with_stop_and_target(order: str, market: str, mode: ExecutionMode) -> None:
    """Gaps through the order's price, its stop and its target included; orders are replaced and expire."""
    frame, name, instrument, _ = MARKETS[market]
    decisions = without_bars_in_doubt(market, bracketed(market, order), mode)
    got = closed_before_the_end(ours(frame, decisions, mode, name, instrument), frame)
    assert len(got) > 50
    assert got == closed_before_the_end(theirs(frame, decisions, trade_on_close=False), frame)
    fills_at_opens = [trade for trade in got if trade.entry_price == frame["Open"].iloc[trade.entry_bar]]
    assert fills_at_opens or (market, order) == ("EURUSD", "stop"), "no gap through a price"
    assert ours(frame, replace(decisions, expires=None), mode, name, instrument) != got, "no order expired"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("order", ["market", "limit", "stop"])
def test_trailing_stops(order: str, market: str, mode: ExecutionMode) -> None:
    frame, name, instrument, size = MARKETS[market]
    decisions = crossings(frame, 3, 8, trail=3 * size, order=order, away=size / 2, expires=3)
    if order != "market":
        decisions = without_bars_in_doubt(market, decisions, mode)
    got = closed_before_the_end(ours(frame, decisions, mode, name, instrument), frame)
    assert len(got) > 50
    trade_on_close = MODES[mode] and order == "market"
    assert got == closed_before_the_end(theirs(frame, decisions, trade_on_close=trade_on_close), frame)
    fixed = replace(decisions, trail=None, stop=first_stops(frame, decisions))
    assert ours(frame, fixed, mode, name, instrument) != got, "no stop moved"


@pytest.mark.parametrize("market", IN_USD)
@pytest.mark.parametrize("order", ["market", "limit", "stop"])
def test_commission_in_per_cent(order: str, market: str) -> None:
    frame, name, instrument, _ = MARKETS[market]
    decisions = without_bars_in_doubt(market, bracketed(market, order), ExecutionMode.NEXT_OPEN)
    result = simulated(frame, decisions, ExecutionMode.NEXT_OPEN, name, instrument, commission_pct=0.05)
    rows = rows_of_theirs(frame, decisions, size=int(instrument.contract), commission=0.0005)
    count = len(closed_before_the_end(trades_of(result), frame))
    assert count > 50
    assert trades_of(result)[:count] == closed_before_the_end(trades_in(rows), frame)
    for ours_named, named in (("commission", "Commission"), ("profit", "PnL")):
        np.testing.assert_allclose(
            result.trail.column(ours_named)[:count], rows[named][:count], rtol=0, atol=3e-8, err_msg=named
        )


@pytest.mark.parametrize("market", MARKETS)
def test_spread_paid_at_the_entry(market: str) -> None:
    """Theirs is a share of the entry's price whatever the side: as that of our recorded spread for whoever buys."""
    frame, name, instrument, size = MARKETS[market]
    decisions = crossings(frame, 3, 8, stop=2 * size, target=3 * size)
    decisions = replace(decisions, action=[{"SELL": "CLOSE"}.get(each, each) for each in decisions.action])
    decisions = without_bars_in_doubt(market, decisions, ExecutionMode.NEXT_OPEN)
    recorded = frame.assign(Spread=frame["Open"] * 0.0002 * 10**instrument.digits)
    result = simulated(recorded, decisions, ExecutionMode.NEXT_OPEN, name, instrument, spread_source=SpreadSource.BARS)
    got = closed_before_the_end(trades_of(result), frame)
    expected = closed_before_the_end(trades_in(rows_of_theirs(frame, decisions, spread=0.0002)), frame)
    assert len(got) > 50
    assert [replace(trade, entry_price=0.0) for trade in got] == [replace(each, entry_price=0.0) for each in expected]
    paid = [trade.entry_price for trade in got]
    np.testing.assert_allclose(paid, [trade.entry_price for trade in expected], rtol=0, atol=1.5e-9)


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("order", ["market", "limit", "stop"])
def test_slippage_moves_their_fills_but_limits_and_targets(order: str, market: str) -> None:
    """Theirs has none: their fills without it, each that is no limit's and no target's worse by so much."""
    frame, name, instrument, _ = MARKETS[market]
    decisions = without_bars_in_doubt(market, bracketed(market, order), ExecutionMode.NEXT_OPEN)
    result = simulated(frame, decisions, ExecutionMode.NEXT_OPEN, name, instrument, slippage_pips=0.7)
    got = closed_before_the_end(trades_of(result), frame)
    slippage = 0.7 * instrument.pip
    expected = []
    for trade in closed_before_the_end(theirs(frame, decisions, trade_on_close=False), frame):
        side = 1 if trade.side == "BUY" else -1
        reverses = order == "market" and decisions.action[trade.exit_bar - 1] not in (None, trade.side)
        at_target = side * (trade.exit_price - decisions.target[decisions.row_of(trade)]) >= 0 and not reverses
        entry = trade.entry_price + (0 if order == "limit" else side * slippage)
        leaving = trade.exit_price - (0 if at_target else side * slippage)
        expected.append(replace(trade, entry_price=round(entry, 9), exit_price=round(leaving, 9)))
    assert len(got) > 50
    assert got == expected


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("order", ["limit", "stop"])
def test_what_is_taken_out_differs_in_the_bar_of_the_entry(order: str, market: str) -> None:
    """Each such decision alone: the same entry, but there we also leave, and they no earlier than in the next bar."""
    frame, name, instrument, _ = MARKETS[market]
    decisions = bracketed(market, order)
    seen = 0
    for trade in ours(frame, decisions, ExecutionMode.NEXT_OPEN, name, instrument):
        if not is_in_doubt(trade, decisions, frame) or trade.exit_bar > trade.entry_bar:
            continue
        row = decisions.row_of(trade)
        part = slice(row - 1, row + 200)
        alone = decisions.only(row, part)
        (one,) = ours(frame.iloc[part], alone, ExecutionMode.NEXT_OPEN, name, instrument)
        (other,) = theirs(frame.iloc[part], alone, trade_on_close=False)
        assert replace(one, entry_bar=trade.entry_bar, exit_bar=trade.exit_bar) == trade
        assert replace(one, exit_bar=0, exit_price=0.0) == replace(other, exit_bar=0, exit_price=0.0)
        assert one.exit_bar == one.entry_bar < other.exit_bar
        assert one.exit_price in (decisions.stop[row], decisions.target[row], one.entry_price)
        seen += 1
    assert seen


def bracketed(market: str, order: str) -> Decisions:
    frame, _, _, size = MARKETS[market]
    return crossings(frame, 3, 8, stop=2 * size, target=3 * size, order=order, away=size / 2, expires=3)


def without_bars_in_doubt(market: str, decisions: Decisions, mode: ExecutionMode) -> Decisions:
    """Take out what is carried out differently by definition (README.md, 2 and 6), a fifth of our trades at most."""
    frame, name, instrument, _ = MARKETS[market]
    before = len(ours(frame, decisions, mode, name, instrument))
    taken_out: set[int] = set()
    while True:
        trades = ours(frame, decisions, mode, name, instrument)
        doubtful = {decisions.row_of(trade) for trade in trades if is_in_doubt(trade, decisions, frame)}
        if not doubtful:
            assert len(taken_out) < before / 5
            return decisions
        taken_out |= doubtful
        decisions = decisions.without(doubtful)


def is_in_doubt(trade: Trade, decisions: Decisions, frame: pd.DataFrame) -> bool:
    """Whether its last bar opens beyond the target and reaches the stop too, or the bar in which an entry order was
    filled reaches the stop, or the target of a limit order filled at its open."""
    row, side = decisions.row_of(trade), 1 if trade.side == "BUY" else -1
    stop, target = first_stops(frame, decisions)[row], decisions.target[row]

    def worst_and_best(bar: int) -> tuple[float, float]:
        low, high = frame["Low"].iloc[bar], frame["High"].iloc[bar]
        return (low, high) if side > 0 else (high, low)

    worst, _ = worst_and_best(trade.exit_bar)
    if side * (frame["Open"].iloc[trade.exit_bar] - target) >= 0 >= side * (worst - stop):
        return True
    worst, best = worst_and_best(trade.entry_bar)
    reaches_stop, reaches_target = side * (worst - stop) <= 0, side * (best - target) >= 0
    at_open = trade.entry_price == frame["Open"].iloc[trade.entry_bar]
    return decisions.order != "market" and (reaches_stop or (reaches_target and decisions.order == "limit" and at_open))


def first_stops(frame: pd.DataFrame, decisions: Decisions) -> np.ndarray:
    """Where the stop is at first: a trail's at its distance from the close or from the order's price."""
    if decisions.trail is None:
        return decisions.stop
    side = np.array([{"BUY": 1, "SELL": -1}.get(each, np.nan) for each in decisions.action])
    from_where = frame["Close"].to_numpy() if decisions.price is None else decisions.price
    return np.round(from_where - side * decisions.trail, 9)
