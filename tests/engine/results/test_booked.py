"""The books of a run: all that was booked, and nothing else."""

from dataclasses import fields, replace
from math import fsum
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from engine.errors import EngineError
from engine.results.booked import BOOKED_COLUMNS, KINDS
from engine.results.result import BacktestResult
from tests.engine import compiled_engine
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.random_runs import RandomRun, random_runs
from tests.engine.run_builders import EURUSD, backtest, scripted


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(run=random_runs(orders=True))
def test_the_items_are_what_the_trades_and_the_balance_are_made_of(run: RandomRun) -> None:
    arguments: dict[str, Any] = {each.name: getattr(run, each.name) for each in fields(run)}
    try:
        result = compiled_engine.run(**arguments)
    except EngineError:
        return
    books_balance(result)


def books_balance(result: BacktestResult) -> None:
    """The sum is what the run earned; by position it is what its trades earned; the balance is that of each exit."""
    booked, trades = result.booked, result.trades
    assert tuple(booked.columns) == BOOKED_COLUMNS
    assert fsum(booked["amount"]) == pytest.approx(result.final_equity - result.specification.initial_balance, abs=1e-7)
    by_position = dict(booked.group_by("position_id").agg(pl.col("amount").sum()).iter_rows())
    earned = dict(trades.group_by("position_id").agg(pl.col("profit").sum()).iter_rows())
    assert by_position == pytest.approx(earned, abs=1e-7)
    by_kind = {kind: booked.filter(pl.col("kind") == kind) for kind in KINDS}
    assert by_kind["gross_profit"].height == trades.height
    assert fsum(by_kind["swap"]["amount"]) == pytest.approx(fsum(trades["swap"]), abs=1e-7)
    commission = [*by_kind["entry_commission"]["amount"], *by_kind["exit_commission"]["amount"]]
    assert -fsum(commission) == pytest.approx(fsum(trades["commission"]), abs=1e-7)
    assert by_kind["gross_profit"]["time"].equals(trades["exit_time"])
    last = booked.with_row_index().filter(pl.col("kind") != "entry_commission").with_columns(
        exit=(pl.col("kind") == "gross_profit").cum_sum()
    ).group_by("exit", maintain_order=True).last()  # fmt: skip
    assert last["balance"].to_list() == pytest.approx(trades["equity_after"].to_list(), abs=1e-8)
    assert booked["time"].is_sorted()


def test_a_partial_close_is_read_item_by_item() -> None:
    bars = closes_bars("H1", utc("2024-03-04 00:00"), [1.1000, 1.1000, 1.1010, 1.1020, 1.1020])
    decided = scripted(
        ["BUY", None, None, None, None],
        take_profit=[1.1010, None, None, None, None],
        take_profit_2=[1.1020, None, None, None, None],
    )
    result = backtest(bars, decided, instrument=replace(EURUSD, swap_long=-1.0), commission_per_lot=8.0)
    told = [(kind, round(amount, 8), round(balance, 8)) for _, _, kind, amount, balance in result.booked.iter_rows()]
    assert told == [
        ("entry_commission", -4.0, 9996.0),
        ("gross_profit", 50.0, 10046.0),
        ("exit_commission", -2.0, 10044.0),
        ("gross_profit", 100.0, 10144.0),
        ("exit_commission", -2.0, 10142.0),
    ]


def test_without_trades_there_is_nothing_booked() -> None:
    booked = backtest(closes_bars("H1", utc("2024-03-04 00:00"), [1.1, 1.1, 1.1]), scripted([None, None, None])).booked
    assert (booked.height, tuple(booked.columns)) == (0, BOOKED_COLUMNS)
