"""What holds for every run, on real bars: chunks, looking ahead, scaling, books, digests, progress."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import simulation as simulation_module
from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.deciders.columns import decisions_from_columns
from engine.errors import BooksDoNotBalance, InvalidParams, InvalidSpecification, NoData, StrategyError
from engine.kernel import loop as kernel_module
from engine.market.bars import Bars, bars_from_frame
from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.prepared import RunData, prepare_run
from engine.results.result import TRADE_COLUMNS, BacktestResult
from engine.simulation import Simulation
from engine.specification import ExecutionMode, OnOpposite, SpreadSource, check_specification
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Decision, Market, View
from engine.warm_up import signals_warm_up
from engine.watch import Cancelled, Progress
from tests.engine.bar_builders import bars_of, closes_bars, utc
from tests.engine.run_builders import (
    EURUSD,
    backtest,
    bar_by_bar,
    columns_of,
    opened,
    sample,
    scripted,
    specification_of,
)

MODES = tuple(ExecutionMode)
STOPS = {"fast": 5, "slow": 12, "stop_loss_pips": 15, "take_profit_pips": 20}


def sma_cross(**params: Any) -> ChosenStrategy:
    return choose_strategy(SmaCross, "sma_cross", params or STOPS)


class SmaByBar:
    """sma_cross again, bar by bar and by other means."""

    def __init__(self, params: SmaCross.Params, instrument: Any) -> None:
        self.params, self.pip, self.side = params, instrument.pip, 0

    def decide(self, view: View) -> Decision | None:
        fast, slow, close = self.params.fast, self.params.slow, view.close
        if close.size < slow:
            return None
        tolerance = 1e-9 * float(close[-1])
        ahead = float(np.mean(close[-fast:]) - np.mean(close[-slow:]))
        if abs(ahead) <= tolerance:
            return None
        before, self.side = self.side, 1 if ahead > 0 else -1
        if before in (0, self.side):
            return None
        stop = float(np.round(close[-1] - self.side * (15 * self.pip), 9))
        target = float(np.round(close[-1] + self.side * (20 * self.pip), 9))
        return Decision("BUY" if self.side > 0 else "SELL", stop_loss=stop, take_profits=(target,))


def same(one: BacktestResult, other: BacktestResult) -> None:
    assert one.trades.equals(other.trades)
    assert one.equity.equals(other.equity)
    assert one.metrics == other.metrics


@pytest.mark.parametrize("mode", MODES)
def test_chunk_size_changes_nothing(mode: ExecutionMode) -> None:
    bars = sample("eurusd_h1", 3000)
    whole = backtest(bars, sma_cross(), execution_mode=mode)
    assert whole.trades.height > 50
    for chunk_bars in (1, 7, 1000):
        same(whole, backtest(bars, sma_cross(), execution_mode=mode, chunk_bars=chunk_bars))


@pytest.mark.parametrize("mode", MODES)
def test_bar_and_column_strategies_that_decide_alike_trade_alike(mode: ExecutionMode) -> None:
    bars = sample("gbpusd_h1", 2000)
    start = opened(bars, 40)
    by_bar = ChosenStrategy(SmaByBar, SmaCross.Params(**STOPS))
    columns = backtest(bars, sma_cross(), execution_mode=mode, spread_pips=1.0, start=start)
    same(columns, backtest(bars, by_bar, execution_mode=mode, spread_pips=1.0, start=start))
    assert columns.trades.height > 50


@pytest.mark.parametrize("decider", [sma_cross(), ChosenStrategy(SmaByBar, SmaCross.Params(**STOPS))])
@pytest.mark.parametrize("mode", MODES)
def test_rewriting_the_future_changes_no_trade_closed_before_it(mode: ExecutionMode, decider: ChosenStrategy) -> None:
    bars = sample("eurusd_h1", 1200)
    original = backtest(bars, decider, execution_mode=mode)
    for row in (200, 611, 1000):
        rewritten = backtest(rewritten_after(bars, row), decider, execution_mode=mode)
        before = pl.col("exit_time") <= opened(bars, row)
        assert rewritten.trades.filter(before).equals(original.trades.filter(before))
        assert rewritten.equity.head(row + 1).equals(original.equity.head(row + 1))
        assert not rewritten.equity.equals(original.equity)


def test_a_bar_strategy_is_asked_the_same_before_a_rewritten_future() -> None:
    bars = sample("usdjpy_h1", 400)
    seen: list[list[bytes]] = []
    for data in (bars, rewritten_after(bars, 250)):
        heard: list[bytes] = []
        seen.append(heard)

        def listen(view: View, heard: list[bytes] = heard) -> None:
            columns = (view.time, view.open, view.high, view.low, view.close, view.volume, view.context["H4"].close)
            heard.append(b"".join(column.tobytes() for column in columns))

        backtest(data, bar_by_bar(listen), context_timeframes=("H4",))
    assert len(seen[0]) == 400
    assert seen[0][:251] == seen[1][:251]
    assert seen[0][251] != seen[1][251]


def rewritten_after(bars: Bars, row: int) -> Bars:
    """The same bars up to row, others after it."""
    known = bars.frame.head(row + 1)
    factor = 1.07
    future = bars.frame.slice(row + 1).with_columns(pl.col("open", "high", "low", "close").reverse() * factor)
    fixed = future.with_columns(
        high=pl.max_horizontal("open", "high", "low", "close"), low=pl.min_horizontal("open", "high", "low", "close")
    )
    return bars_from_frame(pl.concat([known, fixed]), bars.timeframe, "rewritten")


@pytest.mark.parametrize("mode", MODES)
def test_the_first_half_of_the_data_gives_the_first_half_of_the_trades(mode: ExecutionMode) -> None:
    bars = sample("gbpusd_h1", 2000)
    half = bars.rows(0, 1000)
    all_trades = backtest(bars, sma_cross(), execution_mode=mode).trades
    first = backtest(half, sma_cross(), execution_mode=mode).trades
    settled = first.filter(pl.col("exit_time") < opened(half, -1))
    assert settled.height > 20
    assert all_trades.head(settled.height).equals(settled)


@pytest.mark.parametrize("mode", MODES)
def test_scaling_the_volume_scales_the_profit(mode: ExecutionMode) -> None:
    bars = sample("eurusd_h1", 2000)
    costs: dict[str, Any] = {"commission_per_lot": 6.0, "spread_pips": 1.2, "initial_balance": 1e6}
    one = backtest(bars, sma_cross(), execution_mode=mode, volume=1.0, **costs).trades
    three = backtest(bars, sma_cross(), execution_mode=mode, volume=3.0, **costs).trades
    for column in ("profit", "commission", "spread_cost", "volume"):
        assert three[column].to_numpy() == pytest.approx(3.0 * one[column].to_numpy(), abs=1e-7)
    assert three["entry_price"].equals(one["entry_price"])


@pytest.mark.parametrize("on_opposite", tuple(OnOpposite))
def test_rows_add_up_to_the_final_balance(on_opposite: OnOpposite) -> None:
    costs: dict[str, Any] = {"commission_per_lot": 7.0, "spread_pips": 1.0, "initial_balance": 1e6}
    result = backtest(sample("eurusd_h1"), sma_cross(), on_opposite=on_opposite, **costs)
    assert result.trades.height > 100
    assert 1e6 + float(result.trades["profit"].to_numpy().sum()) == pytest.approx(result.final_equity, abs=1e-6)
    assert result.trades["equity_after"][-1] == result.final_equity == result.equity["balance"][-1]


def test_a_run_on_its_sample_is_fixed_to_the_last_digit() -> None:
    first, second = (backtest(sample("eurusd_h1"), sma_cross(), spread_pips=1.0) for _ in range(2))
    same(first, second)
    assert first.result_digest == second.result_digest
    assert first.to_json_dict() == second.to_json_dict()


def test_each_input_is_in_the_digest() -> None:
    bars = sample("eurusd_h1", 500)
    plain = backtest(bars, sma_cross())
    changed = [
        backtest(bars, sma_cross(), spread_pips=0.1),
        backtest(bars, sma_cross(fast=5, slow=13)),
        backtest(bars, sma_cross(), instrument=replace(EURUSD, swap_long=-1.0)),
        backtest(bars, sma_cross(), context_timeframes=("H4",)),
        backtest(bars, sma_cross(), execution_mode=ExecutionMode.INTRA_CANDLE),
        backtest(bars.rows(0, 499), sma_cross()),
        backtest(bars_from_frame(bars.frame.with_columns(volume=pl.lit(1.0)), bars.timeframe, "x"), sma_cross()),
    ]
    assert len({result.result_digest for result in [plain, *changed]}) == len(changed) + 1


def test_defaults_of_parameters_count_as_given() -> None:
    bars = sample("eurusd_h1", 500)
    assert (
        backtest(bars, choose_strategy(SmaCross, "sma_cross", {})).result_digest
        == backtest(bars, choose_strategy(SmaCross, "sma_cross", {"fast": 10, "slow": 30})).result_digest
    )


def test_a_book_that_does_not_balance_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = sample("eurusd_h1", 500)
    genuine = kernel_module.advance

    def leaking(command: int, until: int, state: Any, *arrays: Any) -> int:
        state["balance"] += 0.01
        return genuine(command, until, state, *arrays)

    monkeypatch.setattr(simulation_module, "advance", leaking)
    with pytest.raises(BooksDoNotBalance, match="do not balance after the bar at 2015"):
        backtest(bars, sma_cross())


def test_lots_that_vanish_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1, 1.1, 1.1])
    genuine = kernel_module.advance

    def forgetting(command: int, until: int, state: Any, *arrays: Any) -> int:
        state["steps_opened"] += 1
        return genuine(command, until, state, *arrays)

    monkeypatch.setattr(simulation_module, "advance", forgetting)
    with pytest.raises(BooksDoNotBalance):
        backtest(bars, scripted(["BUY", None, None, None]))


def test_trades_have_the_contracts_columns_in_its_order() -> None:
    traded = backtest(sample("eurusd_h1", 500), sma_cross()).trades
    empty = backtest(sample("eurusd_h1", 500), columns_of(lambda m: pl.DataFrame({"action": [None] * m.bars.height})))
    assert traded.columns == empty.trades.columns == list(TRADE_COLUMNS)
    assert traded.schema == empty.trades.schema
    assert empty.trades.height == 0
    assert empty.equity["balance"].to_list() == [10_000.0] * 500


def test_many_trades_grow_the_books() -> None:
    bars = sample("eurusd_h1", 6000)
    actions = ["BUY" if row % 2 else "SELL" for row in range(bars.height)]
    result = backtest(bars, scripted(actions), volume=0.01, initial_balance=1e6, commission_per_lot=1.0)
    assert result.trades.height == bars.height - 1
    assert result.trades["position_id"].to_list() == list(range(1, bars.height))


def test_patterns_are_looked_up_for_each_trade() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.11, 1.12, 1.13, 1.14])
    frame = pl.DataFrame(
        {
            "action": ["BUY", None, "SELL", None, None],
            "pattern_name": ["flag", None, "wedge", None, None],
            "pattern_metadata": [{"n": 1}, None, {"n": 2}, None, None],
        }
    )
    decisions = {0: Decision("BUY", pattern_name="flag", pattern_metadata={"n": 1}),
                 2: Decision("SELL", pattern_name="wedge", pattern_metadata={"n": 2})}  # fmt: skip
    for decider in (columns_of(lambda _: frame), bar_by_bar(lambda view: decisions.get(view.close.size - 1))):
        trades = backtest(bars, decider).trades
        assert trades["pattern_name"].to_list() == ["flag", "wedge"]
        assert [text.replace(" ", "") for text in trades["pattern_metadata"]] == ['{"n":1}', '{"n":2}']
        assert trades["source"].to_list() == ["rule", "rule"]


def test_progress_is_told_from_begin_to_end() -> None:
    told: list[Progress] = []
    bars = sample("eurusd_h1", 1000)
    result = backtest(bars, sma_cross(), on_progress=told.append, chunk_bars=300)
    assert [each.bars_done for each in told] == [0, 300, 600, 900, 1000]
    assert {each.bars_total for each in told} == {1000}
    assert told[0].equity == 10_000.0
    assert told[-1].equity == result.final_equity
    assert told[-1].trades == result.trades.height
    assert told[-1].simulated_time_us == int(bars.close_time_us[-1])


@pytest.mark.parametrize("decider", [sma_cross(), bar_by_bar(lambda _: None)])
def test_a_run_stops_when_progress_says_so(decider: ChosenStrategy) -> None:
    told: list[int] = []

    def stop_at_300(progress: Progress) -> bool:
        told.append(progress.bars_done)
        return progress.bars_done < 300

    with pytest.raises(Cancelled):
        backtest(sample("eurusd_h1", 1000), decider, on_progress=stop_at_300, chunk_bars=100)
    assert told[-1] < 320


def test_a_bar_strategy_is_interrupted_every_few_bars() -> None:
    told: list[int] = []
    backtest(sample("eurusd_h1", 100), bar_by_bar(lambda _: None), on_progress=lambda p: told.append(p.bars_done))
    assert max(np.diff(told)) <= 16


def test_the_second_simulation_can_be_stopped_too() -> None:
    bars = sample("eurusd_h1", 3000)
    tight = sma_cross(fast=2, slow=4, stop_loss_pips=2, take_profit_pips=2)
    told: list[int] = []
    result = backtest(
        bars, tight, execution_mode=ExecutionMode.NEXT_OPEN, on_progress=lambda p: told.append(p.bars_done)
    )
    assert result.ambiguous_bars > 0
    assert result.net_profit_target_first > result.net_profit_stop_first
    assert told == sorted(told)
    looks = iter(range(100))
    with pytest.raises(Cancelled):
        backtest(bars, tight, execution_mode=ExecutionMode.NEXT_OPEN, on_progress=lambda _: next(looks) < len(told) - 1)


def test_context_is_resampled_where_none_is_given_and_taken_where_it_is() -> None:
    bars = sample("eurusd_h1", 400)
    heard: list[pl.DataFrame] = []

    def listen(market: Market) -> pl.DataFrame:
        heard.append(market.context["H4"])
        return pl.DataFrame({"action": [None] * market.bars.height})

    backtest(bars, columns_of(listen), context_timeframes=("H4",))
    given = resample(bars, timeframe("H4"), EURUSD)
    doubled = bars_from_frame(
        given.frame.with_columns(pl.col("open", "high", "low", "close") * 2), given.timeframe, "x"
    )
    backtest(bars, columns_of(listen), context_timeframes=("H4",), context={"H4": doubled})
    assert heard[0].height == heard[1].height == 400
    assert (heard[0]["close"] * 2).equals(heard[1]["close"], null_equal=True)


def test_a_column_strategy_never_sees_bars_from_the_end_on() -> None:
    bars = sample("eurusd_h1", 400)

    def listen(market: Market) -> pl.DataFrame:
        assert market.bars.height == 300
        assert market.context["H4"].height == 300
        return pl.DataFrame({"action": [None] * 300})

    backtest(bars, columns_of(listen), end=opened(bars, 300), context_timeframes=("H4",))


def test_a_range_without_bars_is_no_data() -> None:
    bars = sample("eurusd_h1", 50)
    with pytest.raises(NoData, match="no H1 bars of EURUSD"):
        backtest(bars, sma_cross(), start=utc("2030-01-01 00:00"), end=utc("2030-02-01 00:00"))


def test_spread_from_bars_is_refused_where_none_was_recorded() -> None:
    with pytest.raises(InvalidSpecification, match="spread_source"):
        backtest(sample("eurusd_h1", 50), sma_cross(), spread_source=SpreadSource.BARS)


def test_spread_from_bars_names_the_first_bar_of_the_range_that_has_none() -> None:
    frame = sample("eurusd_h1", 50).frame
    lacking = [None if row in (3, 20, 30) else 12.0 for row in range(50)]
    bars = bars_from_frame(frame.with_columns(spread=pl.Series(lacking)), timeframe("H1"), "b", spread_may_lack=True)
    time = bars.frame["time"][20].isoformat().replace("+00:00", "Z")
    with pytest.raises(InvalidSpecification, match=f"the bar at {time} has no recorded spread, 2 of 45 have none"):
        backtest(bars, sma_cross(), start=opened(bars, 5), spread_source=SpreadSource.BARS)
    backtest(bars, sma_cross(), start=opened(bars, 31), spread_source=SpreadSource.BARS)
    backtest(bars, sma_cross())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("initial_balance", 0.0),
        ("initial_balance", float("nan")),
        ("spread_pips", -0.1),
        ("commission_per_lot", float("inf")),
        ("tp_partial_close_ratio", 1.01),
        ("volume", 0.015),
        ("volume", 0.0),
        ("volume", None),
        ("risk_pct", 1.5),
        ("risk_pct", 0.0),
        ("stop_loss_pips", 0.0),
        ("take_profit_pips", -1.0),
        ("skip_hours", (24,)),
        ("skip_weekdays", (-1,)),
        ("skip_timezone", "Mars/Olympus"),
        ("symbol", "GBPUSD"),
        ("slippage_pips", -0.1),
        ("commission_pct", 100.1),
        ("leverage", 0.0),
        ("leverage", float("nan")),
        ("stop_out_pct", 50.0),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    bars = sample("eurusd_h1", 50)
    specification = replace(specification_of(bars), **{field: value})
    with pytest.raises(InvalidSpecification, match=field):
        check_specification(specification, EURUSD)


def test_parameters_at_fault_are_all_named() -> None:
    with pytest.raises(InvalidParams) as refused:
        choose_strategy(SmaCross, "sma_cross", {"fast": 0, "slow": "many", "lenght": 3})
    assert {problem.field for problem in refused.value.problems} == {"fast", "slow", "lenght"}


def test_what_a_strategy_raises_is_told_with_its_time() -> None:
    bars = sample("eurusd_h1", 50)

    def fail_at_ten(view: View) -> None:
        if view.close.size == 10:
            raise ZeroDivisionError("oops")

    line = fail_at_ten.__code__.co_firstlineno + 2
    where = rf" \(test_simulate\.py, line {line}\)$"
    with pytest.raises(StrategyError, match=rf"at 2015-01-.*Z: the strategy raised ZeroDivisionError: oops{where}"):
        backtest(bars, bar_by_bar(fail_at_ten))
    with pytest.raises(StrategyError, match="decide_all raised ZeroDivisionError: oops"):
        backtest(bars, columns_of(lambda _: (_ for _ in ()).throw(ZeroDivisionError("oops"))))
    with pytest.raises(StrategyError, match="decide_all returned NoneType"):
        backtest(bars, columns_of(lambda _: None))  # type: ignore[arg-type,return-value]  # what a user may do


def test_an_error_of_a_library_is_told_in_one_line_with_the_strategys_own_place() -> None:
    def misnamed(market: Market) -> pl.DataFrame:
        return market.bars.select(action=pl.col("Close"))

    where = misnamed.__code__.co_firstlineno + 1
    with pytest.raises(StrategyError) as refused:
        backtest(sample("eurusd_h1", 50), columns_of(misnamed))
    assert str(refused.value).startswith("decide_all raised ColumnNotFoundError: ")
    assert str(refused.value).endswith(f" (test_simulate.py, line {where})")
    assert "\n" not in str(refused.value)


def test_an_exception_that_cannot_say_what_it_is_is_still_the_strategys() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fail(view: View) -> None:
        raise UnspeakableError

    with pytest.raises(StrategyError, match=r"raised UnspeakableError: \(no message: RuntimeError\)"):
        backtest(sample("eurusd_h1", 50), bar_by_bar(fail))


def test_refused_openings_are_counted_by_reason() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1, 1.1, 1.1])
    result = backtest(bars, scripted(["BUY", "BUY", None, None], stop_loss=[None, 1.0, None, None]), risk_pct=0.0001)
    assert result.run_warnings == (
        "2 decisions opened nothing: 1 had no stop to size the risk by, 1 came to less than one lot step",
    )


def test_finer_bars_settle_what_would_be_ambiguous() -> None:
    minutes = sample("usdjpy_m1")
    bars = resample(minutes, timeframe("H1"), EURUSD)
    jpy = replace(EURUSD, symbol="USDJPY", base="USD", quote="JPY", pip=0.01, digits=3)
    tight = sma_cross(fast=2, slow=3, stop_loss_pips=5, take_profit_pips=5)
    given: dict[str, Any] = {"instrument": jpy, "execution_mode": ExecutionMode.INTRA_CANDLE}
    coarse = backtest(bars, tight, **given)
    settled = backtest(bars, tight, finer=minutes, **given)
    assert coarse.ambiguous_bars > settled.ambiguous_bars
    assert coarse.net_profit_stop_first <= settled.net_profit <= coarse.net_profit_target_first


def test_a_stop_out_ends_the_run_with_a_warning() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1, 1.0, 0.5, 0.4, 0.4])
    result = backtest(bars, scripted(["BUY", None, None, None, None, None]))
    assert result.trades["exit_reason"].to_list() == ["stop_out"]
    assert result.equity.height == 3
    assert result.final_equity == result.equity["equity"][-1] == 0.0
    assert result.run_warnings[-1].startswith(
        "stopped out: no equity was left at the close of the bar at 2024-01-08T02:00"
    )


def test_equity_shows_each_bar_after_its_decision() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.11, 1.12, 1.12])
    result = backtest(bars, scripted(["BUY", None, "CLOSE", None]), spread_pips=1.0, commission_per_lot=10.0)
    assert result.equity["equity"].to_list() == [9985.0, 10985.0, 11980.0, 11980.0]
    assert result.equity["balance"].to_list() == [9995.0, 9995.0, 11980.0, 11980.0]
    assert equity_times(result) == bars.time_us.tolist()


def test_the_json_object_holds_every_figure_and_no_nan() -> None:
    result = backtest(sample("eurusd_h1", 2000), sma_cross(), spread_pips=1.0, commission_per_lot=7.0)
    printed = result.to_json_dict()
    assert json.loads(json.dumps(printed, allow_nan=False)) == printed
    assert printed["net_profit"] == printed["net_profit_stop_first"] == result.trades["profit"].sum()
    assert printed["total_commission"] == pytest.approx(7.0 * result.trades.height)
    assert printed["total_spread_cost"] == pytest.approx(result.trades["spread_cost"].sum())
    assert printed["data_passport"]["count"] == 2000
    assert printed["warnings"] == list(result.warnings)
    paid = printed["break_even_spread_pips"] - 1.0
    assert paid * 10.0 * float(result.trades["volume"].to_numpy().sum()) == pytest.approx(result.net_profit)


def test_exposure_counts_the_closes_with_a_position_once() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.11, 1.12, 1.13, 1.14])
    nones: list[float | None] = [None] * 4
    script = scripted(["BUY", None, None, "CLOSE", None], take_profit=[1.105, *nones], take_profit_2=[1.5, *nones])
    result = backtest(bars, script)
    assert result.trades.height == 2
    assert result.extended.exposure_pct == 60.0


def equity_times(result: BacktestResult) -> Sequence[int]:
    return [int(value) for value in result.equity["time"].to_physical()]


def test_a_simulation_can_not_be_driven_past_its_end() -> None:
    bars = sample("eurusd_h1", 20)
    specification = specification_of(bars)
    built = prepare_run(specification, EURUSD, RunData(bars=bars), signals_warm_up(specification))
    nothing = decisions_from_columns(pl.DataFrame({"action": [None] * 20}), bars, 0, specification, EURUSD)
    simulation = Simulation(built, nothing)
    simulation.simulate(20)
    simulation.simulate(20)
    assert simulation.bars_done == 20


def test_a_stray_bar_of_the_weekend_orders_what_happened_in_mondays_candle() -> None:
    times = [utc("2024-03-07 22:00") + i * timedelta(hours=1) for i in range(24)]
    times += [utc("2024-03-09 12:00")]
    times += [utc("2024-03-10 21:00") + i * timedelta(hours=1) for i in range(24)]
    closes = [1.1] * 24 + [1.2] + [1.1] * 12 + [1.0] + [1.1] * 11
    script = scripted(["BUY", None], stop_loss=[1.05, None], take_profit=[1.25, None])
    high = bars_of("H1", times, open=closes, high=[1.3 if c == 1.2 else c for c in closes], low=closes, close=closes)
    days = resample(high, timeframe("D1"), EURUSD)
    modes: dict[str, Any] = {"execution_mode": ExecutionMode.INTRA_CANDLE}
    assert backtest(days, script, **modes).ambiguous_bars == 1
    settled = backtest(days, script, finer=high, **modes)
    assert (settled.ambiguous_bars, settled.trades["exit_reason"].to_list()) == (0, ["take_profit"])


def test_a_run_without_a_trade_has_a_digest() -> None:
    quiet = [backtest(sample("eurusd_h1", 50), bar_by_bar(lambda _: None), volume=size) for size in (1.0, 2.0)]
    assert [result.trades.height for result in quiet] == [0, 0]
    assert len({result.result_digest for result in quiet}) == 2
