"""The probe finds every way of looking ahead that we know of, and lets honest strategies pass."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.audit.probe import Audit, audit_strategy
from engine.audit.rewrites import Future, rewrite_after
from engine.deciders.chosen import choose_strategy
from engine.errors import NoData, StrategyError
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.numeric.times import as_us
from engine.prepared import RunData
from engine.specification import ExecutionMode, Specification
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Decision, Market, View
from tests.engine.audit import look_ahead_strategies as strategies
from tests.engine.bar_builders import utc
from tests.engine.run_builders import EURUSD

DATA = Path(__file__).parents[2] / "data"


def gbpusd(rows: int = 2000) -> Bars:
    return bars_from_frame(pl.read_parquet(DATA / "gbpusd_h1.parquet").head(rows), timeframe("H1"), "gbpusd_h1")


def audit(strategy: type[Any], data: RunData | None = None, moments: int = 16, **fields: Any) -> Audit:
    data = RunData(bars=gbpusd()) if data is None else data
    times = data.bars.frame["time"]
    always: dict[str, Any] = {"start": times[100], "end": times[-1] + timedelta(hours=1), "context_timeframes": ("H4",)}
    chosen = always | fields
    specification = Specification(
        symbol="GBPUSD",
        timeframe="H1",
        strategy_key="audited",
        strategy_params={},
        **chosen,
    )
    instrument = packaged_instruments()["GBPUSD"]
    return audit_strategy(specification, instrument, data, choose_strategy(strategy, "audited", {}), moments=moments)


@pytest.mark.parametrize("defect", strategies.LOOKING_AHEAD)
def test_the_defect_is_found(defect: str) -> None:
    strategy, column = strategies.LOOKING_AHEAD[defect]
    found = audit(strategy)
    assert found.finding is not None
    assert (found.finding.defect, found.finding.column) == ("look_ahead", column)
    assert found.finding.was != found.finding.became
    assert found.finding.moment_us is not None
    assert found.finding.time_us < found.finding.moment_us
    assert 0 < found.changed <= found.probes


@pytest.mark.parametrize("name", strategies.HONEST)
@pytest.mark.parametrize("mode", ExecutionMode)
def test_an_honest_strategy_passes(name: str, mode: ExecutionMode) -> None:
    found = audit(strategies.HONEST[name], execution_mode=mode, spread_pips=1.0)
    assert found.finding is None
    assert (found.changed, found.unanswered) == (0, 0)
    assert found.decisions > 5
    assert found.probes == found.moments * len(Future)


def test_what_is_named_is_the_first_decision_that_changed() -> None:
    """The mean of all closes reaches back to the beginning: the very first decision changes, not one at a moment."""
    found = audit(strategies.WholeSeriesNormalisation).finding
    assert found is not None
    bars = gbpusd()
    decided = strategies.WholeSeriesNormalisation.decide_all(
        strategies.WholeSeriesNormalisation(
            strategies.WholeSeriesNormalisation.Params(), packaged_instruments()["GBPUSD"]
        ),
        Market(bars.frame, {}),
    )["action"]
    first = next(row for row in range(100, bars.height) if decided[row] is not None)
    assert found.time_us <= bars.time_us[first]


def test_a_strategy_that_looks_one_bar_ahead_is_caught_at_the_bar_before_the_moment() -> None:
    found = audit(strategies.NegativeShift).finding
    assert found is not None
    assert found.moment_us == found.time_us + 3_600_000_000


def test_the_same_audit_gives_the_same_answer() -> None:
    assert audit(strategies.CentredWindow) == audit(strategies.CentredWindow)


def test_decisions_by_chance_are_called_unrepeatable_and_not_look_ahead() -> None:
    found = audit(strategies.Dice).finding
    assert found is not None
    assert found.defect == "unrepeatable"
    assert "asked again on the same bars" in str(found)


def test_a_bar_strategy_that_keeps_the_future_of_an_earlier_run_is_found() -> None:
    """A view never shows the future; what was kept in the class shows as another answer on the same bars."""
    found = audit(strategies.RemembersAsBars).finding
    assert found is not None
    assert found.defect == "unrepeatable"


def test_a_strategy_that_changes_its_market_is_noted_with_the_column_and_not_found_at_fault() -> None:
    found = audit(strategies.ShiftsInPlace)
    assert found.finding is None
    assert found.notes == ("it changes the frames it is given, first close; they are its own",)
    assert audit(strategies.HONEST["sma_cross"]).notes == ()


def test_an_indicator_over_the_repeated_rows_of_a_context_is_noted_with_the_way_on() -> None:
    found = audit(strategies.AveragesContextRows, context_timeframes=("H4", "D1"))
    assert found.finding is None
    said = "an indicator is computed over market.context['{}'], whose rows repeat each bar until the next one closes"
    assert [note.partition(";")[0] for note in found.notes] == [said.format("H4"), said.format("D1")]
    assert "market.on('H4', function)" in found.notes[0]
    assert audit(strategies.AveragesContextBars, context_timeframes=("H4", "D1")).notes == ()


def test_what_is_computed_on_a_contexts_own_bars_does_not_look_ahead() -> None:
    found = audit(strategies.AveragesContextBars)
    assert (found.finding, found.unanswered) == (None, 0)
    assert found.decisions > 10


def test_futures_that_a_strategy_cannot_take_are_counted_and_not_held_against_it() -> None:
    found = audit(strategies.NeedsManyBars)
    assert found.finding is None
    assert found.unanswered > 0
    assert found.unanswered_reason is not None
    assert "at least 400 bars" in found.unanswered_reason


def test_nothing_found_is_never_said_when_nothing_could_be_tried() -> None:
    class OnlyTheWhole(strategies.NeedsManyBars):
        def decide_all(self, market: Market) -> pl.DataFrame:
            if market.bars.height < 2000 or market.bars["close"].to_numpy().sum() != gbpusd().close.sum():
                raise ValueError("other bars")
            return super().decide_all(market)

    with pytest.raises(StrategyError, match="no other future could be tried"):
        audit(OnlyTheWhole)


def test_a_strategy_that_fails_on_the_bars_as_they_are_fails_the_audit() -> None:
    class Broken(strategies.NeedsManyBars):
        def decide_all(self, market: Market) -> pl.DataFrame:
            raise LookupError("no such level")

    with pytest.raises(StrategyError, match="no such level"):
        audit(Broken)


def test_one_bar_has_no_future() -> None:
    bars = gbpusd()
    with pytest.raises(NoData, match="two bars"):
        audit(strategies.HONEST["sma_cross"], start=bars.frame["time"][500], end=bars.frame["time"][501])


def test_given_context_bars_are_rewritten_too() -> None:
    """A file of H4 bars holds the future as well; what had closed stays."""
    bars = gbpusd()
    found = audit(strategies.ContextInTime, RunData(bars=bars, context={"H4": resample(bars, timeframe("H4"), EURUSD)}))
    assert (found.finding, found.unanswered) == (None, 0)


def test_a_strategy_asked_bar_by_bar_is_asked_for_few_bars_before_each_moment() -> None:
    """Asked from the start of the run, 96 futures of two half and whole runs each took minutes."""
    asked = 0

    class Counts(strategies.BarCrossWithWarmUp):
        def decide(self, view: View) -> Decision | None:
            nonlocal asked
            asked += 1
            return super().decide(view)

    found = audit(Counts)
    assert (found.finding, found.probes) == (None, 96)
    assert asked < 13 * 1900
    asked_from_the_start = 48 * 1900
    assert asked < asked_from_the_start / 3


def test_an_audit_sees_as_many_bars_before_the_start_as_a_run_does() -> None:
    """It saw 2000 whatever the strategy asked for, and took rows for others where the data hold more."""
    heights: set[int] = set()

    class Columns(SmaCross):
        warm_up_bars = 40

        def decide_all(self, market: Market) -> pl.DataFrame:
            heights.add(market.bars.height)
            return super().decide_all(market)

    class ByBar(strategies.BarCrossWithWarmUp):
        def decide(self, view: View) -> Decision | None:
            heights.add(len(view.close))
            return super().decide(view)

    for strategy in (Columns, ByBar):
        heights.clear()
        found = audit(strategy, start=gbpusd().frame["time"][1000])
        assert (found.finding, found.unanswered) == (None, 0)
        assert (max(heights), min(heights)) == (1040, 41)


# ---------------------------------------------------------------------------------------------------- futures


@pytest.mark.parametrize("future", Future)
def test_a_rewritten_future_is_of_valid_bars_and_leaves_the_past_alone(future: Future) -> None:
    bars = gbpusd()
    moment_us = int(bars.close_time_us[700])
    data = RunData(bars=bars, context={"H4": resample(bars, timeframe("H4"), EURUSD)}, conversion={"GBPUSD": bars})
    changed = rewrite_after(data, moment_us, future, 1)
    for before, after in ((data.bars, changed.bars), (data.context["H4"], changed.context["H4"])):
        bars_from_frame(after.frame, after.timeframe, "rewritten")
        known = int((before.close_time_us <= moment_us).sum())
        assert after.frame.head(known).equals(before.frame.head(known))
        if future is Future.CUT:
            assert after.height == known
        else:
            assert after.frame["time"].equals(before.frame["time"])
            for name in ("open", "high", "low", "close", "volume"):
                changed_rows = np.count_nonzero(
                    after.frame[name].to_numpy()[known:] != before.frame[name].to_numpy()[known:]
                )
                assert (name == "volume" and future is Future.MIRRORED) or changed_rows > (before.height - known) / 2
    assert changed.conversion["GBPUSD"].height == bars.height


def test_the_moment_is_a_close_and_bars_still_open_then_belong_to_the_future() -> None:
    bars = gbpusd()
    h4 = resample(bars, timeframe("H4"), EURUSD)
    moment_us = as_us(utc("2017-01-10 11:00"))
    cut = rewrite_after(RunData(bars=bars, context={"H4": h4}), moment_us, Future.CUT, 1)
    assert cut.bars.frame["time"][-1] == utc("2017-01-10 10:00")
    assert cut.context["H4"].frame["time"][-1] == utc("2017-01-10 06:00")
