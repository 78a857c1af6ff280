"""A bar strategy sees what is known at its close and nothing else, however it looks."""

from typing import Any

import numpy as np
import pytest

from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.strategy import Decision, Position, View
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, opened, sample

COLUMNS = ("time", "open", "high", "low", "close", "volume")


def test_arrays_end_at_the_deciding_bar_and_begin_with_the_warm_up() -> None:
    bars = sample("eurusd_h1", 60)
    sizes: list[int] = []

    def look(view: View) -> None:
        sizes.append(view.close.size)
        for name in COLUMNS:
            array = getattr(view, name)
            assert array.size == view.close.size
            assert array.ndim == 1
        assert view.time.dtype == np.dtype("datetime64[us]")
        assert view.time.view(np.int64).tolist() == bars.time_us[: view.time.size].tolist()
        assert view.high.tolist() == bars.high[: view.high.size].tolist()
        assert view.volume.tolist() == bars.volume[: view.volume.size].tolist()

    backtest(bars, bar_by_bar(look), start=opened(bars, 20))
    assert sizes == list(range(21, 61))


def test_nothing_of_the_future_is_reachable_through_an_array() -> None:
    bars = sample("eurusd_h1", 60)

    def look(view: View) -> None:
        known = view.close.size
        for seen, count in ((view, known), (view.context["H4"], view.context["H4"].close.size)):
            for name in COLUMNS:
                array: Any = getattr(seen, name)
                while array is not None:
                    future = array[..., count:]
                    unseen = np.isnan(future.view(np.float64)) | np.isnat(future.view("datetime64[us]"))
                    assert unseen.all()
                    array = array.base

    backtest(bars, bar_by_bar(look), context_timeframes=("H4",))


def test_arrays_are_read_only() -> None:
    def look(view: View) -> None:
        for name in COLUMNS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(view, name)[0] = getattr(view, name)[0]

    backtest(sample("eurusd_h1", 3), bar_by_bar(look))


def test_context_shows_only_bars_closed_by_this_close() -> None:
    bars = sample("eurusd_h1", 100)
    longer = resample(bars, timeframe("H4"), EURUSD)

    def look(view: View) -> None:
        seen = view.context["H4"]
        close_us = int(view.time[-1].astype(np.int64)) + bars.timeframe.duration_us
        known = int(np.count_nonzero(longer.close_time_us <= close_us))
        assert seen.close.tolist() == longer.close[:known].tolist()
        assert seen.time.view(np.int64).tolist() == longer.time_us[:known].tolist()

    backtest(bars, bar_by_bar(look), context_timeframes=("H4",), start=opened(bars, 30))


def test_position_balance_and_equity_are_those_before_the_decision() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1, 1.11, 1.12, 1.12])
    seen: list[tuple[Position | None, float, float]] = []

    def decide(view: View) -> Decision | None:
        seen.append((view.position, view.balance, view.equity))
        entry = Decision("BUY", 0.5, stop_loss=1.0, take_profits=(1.115, 1.3))
        return {1: entry, 3: Decision("CLOSE")}.get(view.close.size)

    backtest(bars, bar_by_bar(decide), commission_per_lot=20.0)
    entry_time = np.datetime64("2024-01-08T00:00:00", "us")
    opened_position = Position("BUY", 1.1, 0.5, entry_time, 1.0, (1.115, 1.3))
    half = Position("BUY", 1.1, 0.25, entry_time, 1.1, (1.3,))
    assert seen == [
        (None, 10_000.0, 10_000.0),
        (opened_position, 9_995.0, 10_495.0),
        (half, 10_492.5, 10_992.5),
        (None, 10_990.0, 10_990.0),
    ]


def test_equity_is_told_at_every_bar_of_a_long_wait() -> None:
    bars = sample("eurusd_h1", 700)
    told: list[float] = []

    def decide(view: View) -> Decision | None:
        told.append(view.equity)
        return Decision("BUY") if view.close.size == 1 else None

    result = backtest(bars, bar_by_bar(decide))
    assert told[1:-1] == result.equity["equity"].to_list()[1:-1]
