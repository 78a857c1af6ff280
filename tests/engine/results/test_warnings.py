"""What a run says of itself: sentences that a careful person would have asked for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from engine.deciders.signals import signals_from_frame
from engine.market.bars import Bars
from engine.market.instruments import packaged_instruments
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import ExecutionMode
from tests.engine.bar_builders import bars_of, closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, opened, scripted, specification_of

HOURS = closes_bars("H1", utc("2024-01-08 00:00"), [1.1] * 48)


def said(bars: Bars = HOURS, actions: Sequence[str | None] = (), **changes: Any) -> tuple[str, ...]:
    script = [*actions, *[None] * (bars.height - len(actions))]
    columns = {name: changes.pop(name) for name in ("stop_loss",) if name in changes}
    return but_no_decision(backtest(bars, scripted(script, **columns), **changes).run_warnings)


def but_no_decision(warnings: Sequence[str]) -> tuple[str, ...]:
    """Leave out what a run without decisions is told, beside which others are looked at here."""
    return tuple(each for each in warnings if not each.startswith("no decision in"))


def test_a_run_of_nothing_odd_says_nothing() -> None:
    assert said(actions=["BUY", None, "CLOSE"], volume=0.1) == ()


def test_a_range_far_beyond_the_data_does_not_complete_without_a_word() -> None:
    assert said(start=utc("2020-01-01 00:00"), end=utc("2030-01-01 00:00")) == (
        "the range asked for begins 1468 days before its first bar, which opens at 2024-01-08T00:00:00Z",
        "the range asked for ends 2183 days after its last bar, which opens at 2024-01-09T23:00:00Z",
    )


def test_four_days_beyond_the_data_are_a_long_weekend() -> None:
    first, behind = utc("2024-01-08 00:00"), utc("2024-01-10 00:00")
    four = timedelta(days=4)
    assert said(start=first - four, end=behind + four) == ()
    assert len(said(start=first - four - timedelta(seconds=1), end=behind + four + timedelta(seconds=1))) == 2


def test_a_month_that_begins_in_the_middle_of_the_range_is_not_late() -> None:
    months = bars_of("MN1", [utc("2024-02-01 00:00"), utc("2024-03-01 00:00")])
    assert said(months, start=utc("2024-01-02 00:00"), end=utc("2024-04-01 00:00")) == ()
    assert len(said(months, start=utc("2023-12-01 00:00"), end=utc("2024-04-01 00:00"))) == 1


def test_a_risk_written_as_a_percentage_is_asked_about() -> None:
    (warning,) = said(risk_pct=1.0)
    assert warning == "risk_pct 1 risks 100 % of equity a trade: it is a fraction, 0.01 is 1 %"
    assert said(risk_pct=0.2) == ()
    assert len(said(risk_pct=0.21)) == 1


def test_a_thousand_lots_on_ten_thousand_dollars_are_not_taken_in_silence() -> None:
    assert said(actions=["BUY", "CLOSE", "SELL", "CLOSE"], volume=1_000.0) == (
        "a position was 11,000 times equity, the largest at 2024-01-08T00:00:00Z",
    )
    # 9 lots are 99 times 10 000, 9.1 are 100.1 times.
    assert said(actions=["BUY", "CLOSE"], volume=9.0) == ()
    assert len(said(actions=["BUY", "CLOSE"], volume=9.1)) == 1


def test_a_position_is_one_whatever_number_of_rows_it_left_in() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1, 1.2, 1.3])
    script = scripted(
        ["BUY", None, None, None], take_profit=[1.15, None, None, None], take_profit_2=[1.25, *[None] * 3]
    )
    result = backtest(bars, script, volume=9.2, execution_mode=ExecutionMode.INTRA_CANDLE, stop_to_entry=False)
    assert result.trades.height == 2
    assert result.run_warnings == ("a position was 101 times equity, the largest at 2024-01-08T00:00:00Z",)


def test_signals_outside_of_the_range_are_counted() -> None:
    times = [opened(HOURS, row) for row in (0, 5, 20, 40)]
    frame = pl.DataFrame({"time": times, "action": ["BUY", "CLOSE", "BUY", "CLOSE"]})

    def warnings(first: int, end: int) -> tuple[str, ...]:
        asked = specification_of(HOURS, start=opened(HOURS, first), end=opened(HOURS, end), volume=0.1)
        signals = signals_from_frame(frame, "s.csv", HOURS, first, asked, EURUSD)
        return run_backtest(asked, EURUSD, RunData(bars=HOURS), signals).run_warnings

    assert warnings(0, 47) == ()
    assert warnings(1, 47) == ("1 of 4 signal is outside of the run's range and left out",)
    assert warnings(10, 30) == ("3 of 4 signals are outside of the run's range and left out",)


# ------------------------------------------------------------------------------------------- conversion

EURGBP = packaged_instruments()["EURGBP"]
DAYS = bars_of("D1", [utc("2024-01-08 00:00") + timedelta(days=day) for day in range(30)])


def converted(pair: Bars, actions: Sequence[str | None] = ()) -> tuple[str, ...]:
    script = scripted([*actions, *[None] * (DAYS.height - len(actions))])
    asked = specification_of(DAYS, symbol="EURGBP", volume=0.1)
    result = run_backtest(asked, EURGBP, RunData(bars=DAYS, conversion={"GBPUSD": pair}), script)
    return but_no_decision(result.run_warnings)


def days(first: int, end: int, step: int = 1) -> Bars:
    return bars_of("D1", [utc("2024-01-08 00:00") + timedelta(days=day) for day in range(first, end, step)])


def test_conversion_that_spans_the_run_says_nothing() -> None:
    assert converted(days(-1, 30)) == ()


def test_conversion_that_begins_late_ends_early_or_is_old_is_told() -> None:
    assert converted(days(3, 30)) == (
        "conversion GBPUSD: its bars begin at 2024-01-11T00:00:00Z, no rate is known before",
    )
    assert converted(days(-1, 20)) == (
        "conversion GBPUSD: its bars end at 2024-01-28T00:00:00Z, before the run does",
        "conversion GBPUSD: its newest rate is up to 10 days old, at 2024-02-07T00:00:00Z",
    )
    assert converted(days(-1, 30, step=6)) == (
        "conversion GBPUSD: its newest rate is up to 5 days old, at 2024-01-13T00:00:00Z",
    )


@pytest.mark.parametrize("mode", ExecutionMode)
def test_what_opened_nothing_is_counted_in_every_mode(mode: ExecutionMode) -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1] * 5)
    warnings = said(bars, ["BUY", "BUY"], stop_loss=[None, 1.0, None, None, None], risk_pct=0.0001, execution_mode=mode)
    assert warnings == (
        "2 decisions opened nothing: 1 had no stop to size the risk by, 1 came to less than one lot step",
    )


def test_usdt_and_wide_ranges_stand_beside_each_other() -> None:
    tether = replace(packaged_instruments()["BTCUSD"], symbol="BTCUSDT", quote="USDT")
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [40_000.0] * 5)
    warnings = said(bars, instrument=tether, end=utc("2025-01-08 00:00"))
    assert warnings == (
        "the range asked for ends 366 days after its last bar, which opens at 2024-01-08T04:00:00Z",
        "profit in USDT counts as USD, one for one",
    )


def test_one_reason_for_opening_nothing_says_its_count_once() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1] * 5)
    below = said(bars, ["BUY", "BUY"], stop_loss=[1.0] * 5, risk_pct=0.0001)
    assert below == ("2 decisions opened nothing: they came to less than one lot step",)
    stopless = said(bars, ["BUY"], risk_pct=0.01)
    assert stopless == ("1 decision opened nothing: it had no stop to size the risk by",)


def test_a_stop_out_by_the_margin_does_not_say_that_no_equity_was_left() -> None:
    # 1 lot at 1.1 with leverage 20: margin 5 500, half of which is 2 750; at 1.02 equity is 10 000 - 8 000.
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.1, 1.02, 1.02])
    (warning,) = said(bars, ["BUY"], volume=1.0, leverage=20.0, stop_out_pct=50.0)
    assert warning == (
        "stopped out: equity was at or below 2,750.00, 50 % of the margin, at the close of the bar at"
        " 2024-01-08T02:00:00Z, the run ended there with 2,000.00"
    )
    (gone,) = said(closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 0.9, 0.9]), ["BUY"], volume=1.0, leverage=20.0)
    assert gone.startswith("stopped out: no equity was left at the close of the bar at 2024-01-08T01:00:00Z")


@pytest.mark.parametrize("style", [scripted, bar_by_bar])
def test_a_strategy_that_never_decides_does_not_end_without_a_word(style: Any) -> None:
    decider = scripted([None] * 48) if style is scripted else bar_by_bar(lambda view: None)
    assert backtest(HOURS, decider).run_warnings == ("no decision in 48 bars",)
