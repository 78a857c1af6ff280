"""vectorbt with its Rust engine, on the real bars in the repository: same decisions, same trades."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
import vectorbt as vbt
from agreement import DEPOSIT, Decisions, Trade, crossings, fx, ours, sample

from engine.specification import ExecutionMode

SAMPLES = ("eurusd_h1", "gbpusd_h1", "usdjpy_h1", "usdjpy_m1")


def theirs(frame: pd.DataFrame, decisions: Decisions, **stops: Any) -> list[Trade]:
    """Entries and exits at closes; an opposite entry reverses."""
    action = pd.Series(decisions.action, index=frame.index)
    buys, sells = (action == "BUY"), (action == "SELL")
    portfolio = vbt.Portfolio.from_signals(
        frame["Close"],
        entries=buys,
        short_entries=sells,
        size=1.0,
        init_cash=DEPOSIT,
        fees=0.0,
        upon_opposite_entry="reverse",
        freq="1h",
        engine="rust",
        **stops,
    )
    records = portfolio.trades.records
    columns = ("direction", "entry_idx", "exit_idx", "entry_price", "exit_price")
    return [
        Trade("SELL" if direction else "BUY", int(entry), int(leaving), round(bought, 9), round(sold, 9))
        for direction, entry, leaving, bought, sold in records[list(columns)].itertuples(index=False)
    ]


@pytest.mark.parametrize("lengths", [(10, 30), (5, 13), (20, 60)])
@pytest.mark.parametrize("name", SAMPLES)
def test_crossings_that_reverse_at_closes(name: str, lengths: tuple[int, int]) -> None:
    frame = sample(name)
    decisions = crossings(frame, *lengths)
    got = simulated(frame, decisions, name, ExecutionMode.CLOSE_PRICE)
    assert len(got) > 50
    assert got == before_the_last_bar(theirs(frame, decisions), frame)


@pytest.mark.parametrize("levels", [(0.01, 0.02), (0.003, 0.004), (0.001, 0.001)])
@pytest.mark.parametrize("name", SAMPLES)
def test_stops_and_targets_inside_bars(name: str, levels: tuple[float, float]) -> None:
    """Gaps through levels included: both fill those at the open."""
    frame = sample(name)
    decisions = without_entries_after_a_level(frame, crossings(frame, 10, 30, stop=levels[0], target=levels[1]), name)
    got = simulated(frame, decisions, name, ExecutionMode.INTRA_CANDLE)
    prices = {"open": frame["Open"], "high": frame["High"], "low": frame["Low"]}
    expected = theirs(frame, decisions, sl_stop=levels[0], tp_stop=levels[1], stop_exit_price="stopmarket", **prices)
    assert len(got) > 50
    assert got == before_the_last_bar(expected, frame)


def simulated(frame: pd.DataFrame, decisions: Decisions, name: str, mode: ExecutionMode) -> list[Trade]:
    return ours(frame, decisions, mode, name[-2:].upper(), fx(name[:6].upper()))


def before_the_last_bar(trades: list[Trade], frame: pd.DataFrame) -> list[Trade]:
    """Theirs reverses at the last close too, into a position that cannot move any more (README.md, 3)."""
    return [trade for trade in trades if trade.entry_bar < len(frame) - 1]


def without_entries_after_a_level(frame: pd.DataFrame, decisions: Decisions, name: str) -> Decisions:
    """Take out entries at the close of a bar in which a level closed the position: they have one order a bar
    (README.md, 4)."""
    while True:
        trades = simulated(frame, decisions, name, ExecutionMode.INTRA_CANDLE)
        again = [
            after.entry_bar
            for before, after in pairwise(trades)
            if before.exit_bar == after.entry_bar and before.exit_price != after.entry_price
        ]
        if not again:
            return decisions
        action = [None if row in set(again) else each for row, each in enumerate(decisions.action)]
        decisions = replace(decisions, action=action)
