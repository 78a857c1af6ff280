"""Runs that go over to the loop with orders: which do, when, and what a strategy sees of it."""

import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import ChosenStrategy
from engine.prepared import RunData
from engine.search import optimize
from engine.strategy import Decision, Instrument, Market, Position, StrategyParams, View
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, has_figures_of, sample, scripted, specification_of

START = utc("2024-01-08 00:00")
CLOSES = [1.1, 1.1, 1.103, 1.108, 1.104, 1.101, 1.1, 1.1]
BARS = closes_bars("H1", START, CLOSES)


def test_a_run_without_orders_loads_no_loop_for_them() -> None:
    script = (
        "import sys; from tests.engine.run_builders import backtest, bar_by_bar, sample, scripted;"
        "from engine.strategy import Decision; bars = sample('eurusd_h1', 50);"
        "backtest(bars, scripted(['BUY'] + [None] * 49, stop_loss=[0.5] * 50));"
        "backtest(bars, bar_by_bar(lambda view: Decision('BUY') if view.close.size % 2 else Decision('SELL')));"
        "print('engine.kernel.loop' in sys.modules, 'engine.kernel.loop_with_orders' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False"]


def test_a_bar_strategy_goes_over_to_orders_with_its_position_open() -> None:
    """Bought plainly, with a target that moves the stop; the first MOVE comes at the close that reached it."""

    def decide(view: View) -> Decision | None:
        bar = view.close.size - 1
        if bar == 1:
            return Decision("BUY", stop_loss=1.09, take_profits=(1.107, 1.2))
        return Decision("MOVE", take_profits=(1.109, 1.2)) if bar == 3 else None

    result = backtest(BARS, bar_by_bar(decide))
    assert result.trades["exit_reason"].to_list() == ["take_profit", "stop_loss"]
    assert result.trades["stop_loss"].to_list() == [1.09, 1.1]
    assert result.trades["take_profit"].to_list() == [1.107, 1.109]
    by_columns = scripted(
        [None, "BUY", None, "MOVE", None, None, None, None],
        stop_loss=[None, 1.09, *[None] * 6],
        take_profit=[None, 1.107, None, 1.109, *[None] * 4],
        take_profit_2=[None, 1.2, None, 1.2, *[None] * 4],
    )
    assert backtest(BARS, by_columns).trades.equals(result.trades)


def test_a_strategy_sees_the_trailed_stop_and_is_flat_at_the_close_of_its_time() -> None:
    seen: list[Position | None] = []

    def decide(view: View) -> Decision | None:
        seen.append(view.position)
        return Decision("BUY", trailing_stop=0.01, max_bars=4) if view.close.size == 2 else None

    result = backtest(BARS, bar_by_bar(decide))
    stops = [None if position is None else position.stop_loss for position in seen]
    assert stops == [None, None, 1.093, 1.098, 1.098, None, None, None]
    assert result.trades["exit_reason"].to_list() == ["time"]
    assert result.filed_trades.select("entry_at", "exit_at", "stop_at_entry").row(0) == ("close", "close", 1.09)


def test_an_order_of_a_bar_strategy_rests_while_it_decides_other_things() -> None:
    def decide(view: View) -> Decision | None:
        match view.close.size:
            case 2:
                return Decision("BUY", order="stop", price=1.107, take_profits=(1.2, 1.3))
            case 3:
                return Decision("MOVE", stop_loss=1.0, take_profits=(1.4, 1.5, 1.6))
        return None

    trades = backtest(BARS, bar_by_bar(decide)).trades
    assert trades.select("entry_price", "take_profit", "exit_reason").rows() == [(1.108, 1.2, "end_of_data")]


def test_the_books_grow_with_a_bar_strategy_that_goes_over_late() -> None:
    bars = sample("eurusd_h1", 6000)

    def decide(view: View) -> Decision | None:
        bar = view.close.size
        side = "BUY" if bar % 2 else "SELL"
        return Decision(side, max_bars=1) if bar > 3000 else Decision(side)  # type: ignore[arg-type]  # a literal each

    assert backtest(bars, bar_by_bar(decide)).trades.height == 5999


class Trailing:
    """Buys every tenth bar, at a stop above, with a trail."""

    class Params(StrategyParams):
        distance: float = 0.002

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.params = params

    def decide_all(self, market: Market) -> pl.DataFrame:
        tenth = pl.int_range(pl.len()) % 10 == 0
        return market.bars.select(
            pl.when(tenth).then(pl.lit("BUY")).alias("action"),
            pl.lit("stop").alias("order"),
            (pl.col("close") + self.params.distance).alias("price"),
            pl.lit(self.params.distance).alias("trailing_stop"),
            pl.lit(5).alias("expires_bars"),
        )


ACCOUNT: dict[str, Any] = {"slippage_pips": 0.5, "commission_pct": 0.002, "leverage": 30.0, "stop_out_pct": 50.0}


def test_a_search_gives_the_figures_of_runs_with_orders_and_costs_of_the_account() -> None:
    bars = sample("eurusd_h1", 2000)
    specification = specification_of(bars, volume=0.1, execution_mode="intra_candle", **ACCOUNT)
    found = optimize(specification, EURUSD, RunData(bars=bars), Trailing, {"distance": [0.001, 0.003]}).results
    assert len(found) == 2
    for got in found:
        alone = backtest(
            bars,
            ChosenStrategy(Trailing, Trailing.Params(**got["params"])),
            volume=0.1,
            execution_mode="intra_candle",
            **ACCOUNT,
        )
        assert has_figures_of(got, alone)
        assert alone.metrics.total_trades > 20


class Foreseeing(Trailing):
    """Trails as far as the next bar will go."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        to_come = (market.bars["high"] - market.bars["low"]).shift(-1).fill_null(0.002) + 0.001
        return super().decide_all(market).with_columns(trailing_stop=to_come)


@pytest.mark.parametrize(("strategy", "column"), [(Trailing, None), (Foreseeing, "trailing_stop")])
def test_an_audit_looks_at_what_decisions_say_of_orders_and_trails(strategy: Any, column: str | None) -> None:
    bars = sample("eurusd_h1", 1500)
    chosen = ChosenStrategy(strategy, strategy.Params())
    finding = audit_strategy(specification_of(bars), EURUSD, RunData(bars=bars), chosen).finding
    assert (None if finding is None else finding.column) == column


@pytest.mark.parametrize("mode", ["close_price", "intra_candle", "next_open"])
def test_chunks_change_nothing_with_orders(mode: str) -> None:
    bars = sample("eurusd_h1", 1500)
    strategy = ChosenStrategy(Trailing, Trailing.Params())
    whole = backtest(bars, strategy, execution_mode=mode, **ACCOUNT)
    pieces = backtest(bars, strategy, execution_mode=mode, chunk_bars=7, **ACCOUNT)
    assert whole.result_digest == pieces.result_digest
    assert whole.equity.equals(pieces.equity)
