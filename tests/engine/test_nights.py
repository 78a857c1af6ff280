"""Swap of positions around 17:00 New York: who was open across it, at which rate, and from which close equity knows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from engine.errors import NoRateYet
from engine.market.bars import Bars
from engine.market.instruments import packaged_instruments
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from engine.specification import ExecutionMode
from engine.strategy import Action, Decision
from tests.engine.bar_builders import bars_of, closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, scripted, specification_of

PAYING = replace(EURUSD, swap_long=-10.0, swap_short=-10.0)
"""One lot and night: 10 points of 1 USD."""
NEXT_OPEN = ExecutionMode.NEXT_OPEN


def flat(name: str, times: Sequence[datetime]) -> Bars:
    return bars_of(name, times)


def every(hours: int, start: str, count: int) -> list[datetime]:
    return [utc(start) + i * timedelta(hours=hours) for i in range(count)]


def held(bars: Bars, bought: str, left: str, **changes: Any) -> BacktestResult:
    """Decided at the closes of the bars that open then."""
    actions = dict(zip((utc(bought), utc(left)), ("BUY", "CLOSE"), strict=True))
    script = scripted([actions.get(time) for time in bars.frame["time"]])
    return backtest(bars, script, instrument=PAYING, **changes)


def swaps(result: BacktestResult) -> list[float]:
    return result.trades["swap"].to_list()


def test_daily_bars_in_on_tuesdays_open_and_out_on_wednesdays_pay_one_night() -> None:
    days = flat("D1", every(24, "2024-01-08 00:00", 5))
    result = held(days, "2024-01-08 00:00", "2024-01-09 00:00", execution_mode=NEXT_OPEN)
    # Tuesday the 9th at 00:00 to Wednesday the 10th at 00:00: over Tuesday's 17:00 alone.
    assert swaps(result) == [-10.0]


def test_h4_from_wednesday_20_to_24_utc_lies_open_across_the_triple_night_in_winter() -> None:
    bars = flat("H4", every(4, "2024-01-10 00:00", 10))
    result = held(bars, "2024-01-10 16:00", "2024-01-10 20:00", execution_mode=NEXT_OPEN)
    assert (result.trades["entry_time"][0], result.trades["exit_time"][0]) == (
        utc("2024-01-10 20:00"),
        utc("2024-01-11 00:00"),
    )
    assert swaps(result) == [-30.0]


def test_h4_from_wednesday_16_to_20_utc_pays_nothing() -> None:
    bars = flat("H4", every(4, "2024-01-10 00:00", 10))
    result = held(bars, "2024-01-10 12:00", "2024-01-10 16:00", execution_mode=NEXT_OPEN)
    assert swaps(result) == [0.0]


@pytest.mark.parametrize(
    ("mode", "bought", "left", "paid"),
    [
        # Fills at closes count just before them, fills at opens just after: H1 bars of which one closes at 22:00 UTC.
        ("close_price", "2024-01-08 21:00", "2024-01-08 22:00", -10.0),
        ("close_price", "2024-01-08 20:00", "2024-01-08 21:00", 0.0),
        ("close_price", "2024-01-08 22:00", "2024-01-08 23:00", 0.0),
        ("next_open", "2024-01-08 20:00", "2024-01-08 21:00", -10.0),
        ("next_open", "2024-01-08 21:00", "2024-01-08 22:00", 0.0),
        ("next_open", "2024-01-08 19:00", "2024-01-08 20:00", 0.0),
    ],
)
def test_a_night_at_the_hour_lies_after_fills_at_its_close_and_before_fills_at_its_open(
    mode: str, bought: str, left: str, paid: float
) -> None:
    bars = flat("H1", every(1, "2024-01-08 15:00", 12))
    assert swaps(held(bars, bought, left, execution_mode=ExecutionMode(mode))) == [paid]


def test_a_stop_inside_the_bar_that_straddles_the_night_counts_at_its_open_and_pays_nothing() -> None:
    bars = closes_bars("H4", utc("2024-01-10 12:00"), [1.1, 1.1, 1.0, 1.0])
    result = backtest(
        bars,
        scripted(["BUY", None, None, None], stop_loss=[1.05, None, None, None]),
        instrument=PAYING,
        execution_mode=ExecutionMode.INTRA_CANDLE,
    )
    assert result.trades.select("exit_reason", "swap").rows() == [("stop_loss", 0.0)]
    at_close = backtest(
        bars, scripted(["BUY", None, None, None], stop_loss=[1.05, None, None, None]), instrument=PAYING
    )
    assert at_close.trades.select("exit_reason", "swap").rows() == [("stop_loss", -30.0)]


def test_a_position_that_leaves_at_the_last_close_pays_the_night_inside_the_last_bar() -> None:
    bars = flat("D1", every(24, "2024-01-08 00:00", 2))
    result = backtest(bars, scripted(["BUY", None]), instrument=PAYING)
    assert result.trades.select("exit_reason", "swap").rows() == [("end_of_data", -10.0)]


def test_equity_knows_a_charge_from_the_first_close_after_it() -> None:
    # Over a hole from Monday 20:00 to Thursday 20:00 UTC: three nights of weights 1, 1 and 3, before the last bar.
    bars = flat(
        "H1", [utc("2024-01-08 18:00"), utc("2024-01-08 19:00"), utc("2024-01-11 20:00"), utc("2024-01-11 21:00")]
    )
    result = backtest(bars, scripted(["BUY", None, None, None]), instrument=PAYING)
    assert result.equity["equity"].to_list() == [10_000.0, 10_000.0, 9_950.0, 9_950.0]
    hourly = backtest(flat("H1", every(1, "2024-01-08 20:00", 4)), scripted(["BUY", *[None] * 3]), instrument=PAYING)
    assert hourly.equity["equity"].to_list() == [10_000.0, 9_990.0, 9_990.0, 9_990.0]


def test_a_charge_at_the_close_of_17_itself_that_takes_the_last_equity_closes_the_position_there_charged() -> None:
    ruinous = replace(PAYING, swap_long=-10_000.0)
    bars = flat("H1", every(1, "2024-01-08 20:00", 4))
    result = backtest(bars, scripted(["BUY", *[None] * 3]), instrument=ruinous)
    assert result.trades.select("exit_time", "exit_reason", "swap").rows() == [
        (utc("2024-01-08 21:00"), "stop_out", -10_000.0)
    ]
    inside = backtest(flat("H4", every(4, "2024-01-08 16:00", 4)), scripted(["BUY", *[None] * 3]), instrument=ruinous)
    assert inside.trades.select("exit_time", "exit_reason", "swap").rows() == [
        (utc("2024-01-08 20:00"), "stop_out", -10_000.0)
    ]


def test_a_strategy_asked_bar_by_bar_pays_the_same_nights() -> None:
    bars = flat("H4", every(4, "2024-01-09 00:00", 20))
    times: dict[datetime, Action] = {
        utc("2024-01-09 16:00"): "BUY",
        utc("2024-01-10 20:00"): "CLOSE",
        utc("2024-01-11 08:00"): "BUY",
    }
    actions = [times.get(time) for time in bars.frame["time"]]
    by_time: dict[datetime, Action] = {time.replace(tzinfo=None): action for time, action in times.items()}

    def decide(view: Any) -> Any:
        action = by_time.get(view.time[-1].item())
        return None if action is None else Decision(action)

    for mode in ExecutionMode:
        column = backtest(bars, scripted(actions), instrument=PAYING, execution_mode=mode)
        asked = backtest(bars, bar_by_bar(decide), instrument=PAYING, execution_mode=mode)
        assert swaps(column) == swaps(asked)
        assert min(swaps(column)) < 0.0
        assert column.equity.equals(asked.equity)


# ------------------------------------------------------------------------------------------- rates of the night

EURGBP = replace(packaged_instruments()["EURGBP"], swap_long=-10.0)


def converted(pair: Bars, actions: Sequence[str | None], bars: Bars, swap_long: float = -10.0) -> BacktestResult:
    instrument = replace(EURGBP, swap_long=swap_long, swap_short=-10.0)
    specification = specification_of(bars, symbol="EURGBP")
    data = RunData(bars=bars, conversion={"GBPUSD": pair})
    return run_backtest(specification, instrument, data, scripted(actions))


def test_a_night_inside_a_bar_is_converted_at_the_last_close_before_it_and_not_at_the_bars() -> None:
    days = flat("D1", every(24, "2024-01-09 00:00", 3))
    hourly = closes_bars("H1", utc("2024-01-08 00:00"), [1.0 + i / 100 for i in range(24 * 5)])
    result = converted(hourly, ["BUY", None, None], days)
    # Wednesday's 22:00 UTC, three nights at the close of the hour before; Thursday's, one.
    rates = [float(hourly.close[2 * 24 + 21]), float(hourly.close[3 * 24 + 21])]
    assert swaps(result) == [pytest.approx(-10.0 * (3 * rates[0] + rates[1]), abs=1e-8)]


def test_where_the_swap_is_0_points_no_rate_is_needed_for_the_night() -> None:
    # The pair's first bar closes after Wednesday's 17:00 and before the first valuation that needs it.
    bars = flat("D1", every(24, "2024-01-09 00:00", 3))
    late = closes_bars("H1", utc("2024-01-10 23:00"), [1.25] * 80)
    flat_at_first = [None, "BUY", None]
    assert swaps(converted(late, flat_at_first, bars, swap_long=0.0)) == [0.0]


def test_a_night_without_a_rate_fails_the_run_with_currency_and_the_time_of_the_night() -> None:
    # Known at Tuesday's close, eight days old at the night in the hole before the last bar.
    bars = flat("H1", [utc("2024-01-09 12:00"), utc("2024-01-09 13:00"), utc("2024-01-17 23:00")])
    pair = flat("H1", [utc("2024-01-09 12:00"), utc("2024-01-09 13:00"), utc("2024-01-17 23:00")])
    with pytest.raises(NoRateYet, match=r"from GBP to USD is known at 2024-01-16T22:00:00Z: .* 2024-01-09T14:00:00Z"):
        converted(pair, ["BUY", None, None], bars)
    assert converted(pair, ["BUY", None, None], bars, swap_long=0.0).trades.height == 1


def test_a_conversion_file_that_ended_in_2016_fails_a_run_of_2024() -> None:
    bars = flat("H1", every(1, "2024-01-09 10:00", 4))
    old = flat("H1", every(1, "2016-01-09 10:00", 4))
    with pytest.raises(NoRateYet) as failed:
        converted(old, ["BUY", None, None, None], bars)
    assert str(failed.value) == (
        "no rate from GBP to USD is known at 2024-01-09T11:00:00Z: the last GBPUSD bar closed at 2016-01-09T14:00:00Z,"
        " too long before"
    )
