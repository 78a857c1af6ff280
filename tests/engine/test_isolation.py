"""Whatever a strategy does to what it is given, the next run in the same process is that of a fresh one."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.deciders.decider import Decider
from engine.errors import SearchFailed, StrategyError
from engine.market.bars import Bars
from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.search import optimize
from engine.simulate import run_backtest
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Decision, Instrument, Market, Position, StrategyParams, View
from tests.engine.run_builders import EURUSD, sample, specification_of

BARS = sample("eurusd_h1", 400)
DATA = RunData(bars=BARS, context={"H4": resample(BARS, timeframe("H4"), EURUSD)})
SPECIFICATION = specification_of(BARS, context_timeframes=("H4", "D1"), stop_loss_pips=15.0, take_profit_pips=15.0)


def _write(array: Any) -> None:
    array[...] = 1


def _unlock(array: Any) -> None:
    array.flags.writeable = True
    _write(array)


def _unlock_bases(array: Any) -> None:
    while isinstance(array, np.ndarray):
        with suppress(ValueError):
            _unlock(array)
        array = array.base


def _all_columns(change: Callable[[Any], None]) -> Callable[[pl.DataFrame], None]:
    def changed(frame: pl.DataFrame) -> None:
        for name in frame.columns:
            with suppress(ValueError, TypeError):
                change(frame[name].to_numpy())

    return changed


def _set_first(frame: pl.DataFrame) -> None:
    frame["close"][0] = 9.0
    frame[1, "close"] = 9.0
    frame.to_series(4)[2] = 9.0


TO_FRAMES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "replace_column": lambda frame: frame.replace_column(4, pl.Series("close", np.linspace(1, 2, frame.height))),
    "insert_column": lambda frame: frame.insert_column(1, pl.Series("sma", np.zeros(frame.height))),
    "drop_in_place": lambda frame: frame.drop_in_place("close"),
    "rename": lambda frame: setattr(frame, "columns", [f"x{name}" for name in frame.columns]),
    "hstack": lambda frame: frame.hstack([pl.Series("more", np.zeros(frame.height))], in_place=True),
    "vstack": lambda frame: frame.vstack(frame.clone(), in_place=True),
    "extend": lambda frame: frame.extend(frame.clone()),
    "set items": _set_first,
    "scatter": lambda frame: frame["close"].scatter([0, 1, 2], 9.0),
    "sort in place": lambda frame: frame["close"].sort(in_place=True),
    "append": lambda frame: frame["close"].append(frame["close"]),
    "write": _all_columns(_write),
    "setflags": _all_columns(_unlock),
    "bases": _all_columns(_unlock_bases),
    "to_numpy(writable)": lambda frame: _write(frame["close"].to_numpy(writable=True)),
    "frame.to_numpy": lambda frame: _unlock_bases(frame.drop("time").to_numpy()),
}


def _each_array(change: Callable[[Any], None]) -> Callable[[View], None]:
    def changed(view: View) -> None:
        for candles in (view, *view.context.values()):
            for name in ("time", "open", "high", "low", "close", "volume"):
                with suppress(ValueError):
                    change(getattr(candles, name))

    return changed


def _set_standing(view: Any) -> None:
    view.balance, view.equity = -1.0, float("nan")
    view.position = Position("BUY", 1.0, 1.0, view.time[-1], None, ())


TO_VIEWS: dict[str, Callable[[View], Any]] = {
    "write": _each_array(_write),
    "setflags": _each_array(_unlock),
    "bases": _each_array(_unlock_bases),
    "sort in place": _each_array(lambda array: array.sort()),
    "standing": _set_standing,
    "context": lambda view: view.context.clear(),  # type: ignore[attr-defined]  # a Mapping says that it has none
}


class VandalParams(StrategyParams):
    levels: list[int] = Field(default=[3])


def vandal_of_columns(deeds: tuple[str, ...], *, raises: bool) -> type:
    class Vandal(_Vandal):
        def decide_all(self, market: Market) -> pl.DataFrame:
            height = market.bars.height
            actions = pl.Series("action", ["BUY" if row % 9 == 0 else None for row in range(height)], pl.String)
            for frame in (market.bars, *market.context.values()):
                for deed in deeds:
                    # What one deed made of a frame another may not be able to work on.
                    with suppress(Exception):
                        TO_FRAMES[deed](frame)
            if raises:
                raise RuntimeError("after the deed")
            return actions.to_frame()

    return Vandal


def vandal_of_views(deeds: tuple[str, ...], *, raises: bool) -> type:
    class Vandal(_Vandal):
        def decide(self, view: View) -> Decision | None:
            bar = view.close.size
            for deed in deeds:
                TO_VIEWS[deed](view)
            if raises and bar == 50:
                raise RuntimeError("after the deed")
            return Decision("BUY" if bar % 2 else "SELL") if bar % 9 == 0 else None

    return Vandal


class _Vandal:
    Params = VandalParams

    def __init__(self, params: VandalParams, instrument: Instrument) -> None:
        params.levels.append(len(params.levels))
        vars(instrument)["pip"] = 0.5
        vars(params)["more"] = 1
        vars(instrument)["contract"] = 1.0


def honest() -> ChosenStrategy:
    return choose_strategy(SmaCross, "sma_cross", {"fast": 3, "slow": 8})


def run(decider: Decider, data: RunData = DATA) -> BacktestResult:
    return run_backtest(SPECIFICATION, EURUSD, data, decider)


def fresh() -> str:
    """The digest on bars that nobody has had in hand."""
    values = {column.name: column.to_list() for column in BARS.frame}
    untouched = Bars(BARS.timeframe, pl.DataFrame(values, BARS.frame.schema))
    context = {"H4": resample(untouched, timeframe("H4"), EURUSD)}
    return run(honest(), RunData(bars=untouched, context=context)).result_digest


FRESH = fresh()
WAYS = ("run", "search", "audit")


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    deeds=st.one_of(
        st.tuples(st.just(True), st.lists(st.sampled_from(sorted(TO_FRAMES)), min_size=1, max_size=4)),
        st.tuples(st.just(False), st.lists(st.sampled_from(sorted(TO_VIEWS)), min_size=1, max_size=3)),
    ),
    raises=st.booleans(),
)
def test_whatever_a_strategy_does_the_next_run_is_that_of_a_fresh_process(
    way: str, deeds: tuple[bool, list[str]], raises: bool
) -> None:
    columns, chosen_deeds = deeds
    make = vandal_of_columns if columns else vandal_of_views
    vandal = make(tuple(chosen_deeds), raises=raises)
    chosen = choose_strategy(vandal, "vandal", {})
    with suppress(StrategyError, SearchFailed):
        if way == "run":
            run(chosen)
        elif way == "search":
            optimize(SPECIFICATION, EURUSD, DATA, vandal, {"levels": [[3], [1, 2]]}, threads=2)
        else:
            audit_strategy(SPECIFICATION, EURUSD, DATA, chosen, moments=1)
    assert chosen.params.model_dump() == {"levels": [3]}
    assert run(honest()).result_digest == FRESH


@pytest.mark.parametrize("deed", sorted(TO_VIEWS))
def test_what_is_done_to_a_view_changes_no_fill_of_the_run_itself(deed: str) -> None:
    tampering, quiet = (choose_strategy(vandal_of_views(deeds, raises=False), "", {}) for deeds in ((deed,), ()))
    assert run(tampering).trades.equals(run(quiet).trades)


def test_a_run_that_decides_by_changed_frames_has_the_digest_of_its_data() -> None:
    """The digest says what the data were, not what a strategy made of its copy."""
    tampering, quiet = (
        choose_strategy(vandal_of_columns(deeds, raises=False), "", {}) for deeds in (("replace_column",), ())
    )
    assert run(tampering).result_digest == run(quiet).result_digest


def test_a_fresh_process_gives_the_digest_that_is_compared_with() -> None:
    program = "from tests.engine.test_isolation import honest, run; print(run(honest()).result_digest)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == FRESH
