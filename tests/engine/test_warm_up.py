"""How much of the past a run sees, and that nothing older decides, is hashed or is spoken of."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.errors import InvalidSpecification, StrategyError
from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import Specification, check_specification
from engine.strategies.nearest_patterns import NearestPatterns
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Market
from engine.warm_up import most_of, signals_warm_up, strategy_warm_up
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, NoParams, backtest, opened, sample, scripted, specification_of

BARS = sample("eurusd_h1", 4_000)
START = 3_500


class Listening:
    """Says nothing of its needs, and writes down what it sees."""

    seen: tuple[int, dict[str, Any]] = (0, {})

    def decide_all(self, market: Market) -> pl.DataFrame:
        type(self).seen = market.bars["time"][0], {name: frame["time"] for name, frame in market.context.items()}
        return pl.DataFrame({"action": [None] * market.bars.height})


def asking(**attributes: Any) -> type[Listening]:
    return type("Asking", (Listening,), attributes)


def run(strategy: type[Listening], **changes: Any) -> Any:
    chosen = ChosenStrategy(lambda _params, _instrument: strategy(), NoParams())
    object.__setattr__(chosen, "strategy", _Class(strategy))
    return backtest(BARS, chosen, start=opened(BARS, START), **changes)


class _Class:
    """A class that is made without arguments, its attributes kept."""

    def __init__(self, made: type[Listening]) -> None:
        self._made = made

    def __call__(self, params: Any, instrument: Any) -> Listening:
        del params, instrument
        return self._made()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def specification(**changes: Any) -> Specification:
    return specification_of(BARS, **changes)


@pytest.mark.parametrize(
    ("attributes", "bars"),
    [
        ({}, 2_000),
        ({"warm_up_bars": 7}, 7),
        ({"warm_up_bars": 0}, 0),
        ({"warm_up_bars": staticmethod(lambda _params, name: {"H1": 30}[name])}, 30),
        ({"longest_length": 20}, 800),
        ({"longest_length": 5}, 500),
        ({"longest_length": 5, "warm_up_bars": 3}, 3),
    ],
)
def test_a_run_sees_as_many_bars_before_its_start_as_its_strategy_asks_for(
    attributes: dict[str, Any], bars: int
) -> None:
    strategy = asking(**attributes)
    result = run(strategy)
    assert result.first_row == bars
    assert strategy.seen[0] == opened(BARS, START - bars)
    assert result.passport.count == len(BARS.time_us) - START + bars


def test_the_built_in_strategies_see_40_times_their_longest_length_at_least_500() -> None:
    def of(strategy: Any, **params: Any) -> int:
        chosen = choose_strategy(strategy, "key", params)
        return chosen.warm_up(specification()).bars["H1"]

    assert of(SmaCross, fast=5, slow=12) == 500
    assert of(SmaCross, fast=10, slow=30) == 1_200
    # It looks at whole windows only, so that once is enough.
    assert of(NearestPatterns, length=24, memory=5_000, horizon=8) == 5_032


def test_a_runs_own_number_comes_first_and_signals_see_nothing_unasked() -> None:
    assert run(asking(warm_up_bars=30), warm_up_bars=11).first_row == 11
    assert signals_warm_up(specification()).bars == {"H1": 0}
    assert signals_warm_up(specification(warm_up_bars=9, context_timeframes=("H4",))).bars == {"H1": 9, "H4": 9}


def test_each_context_has_as_many_of_its_own_bars_made_of_as_many_run_bars_as_that_takes() -> None:
    strategy = asking(warm_up_bars=60)
    run(strategy, context_timeframes=("H4", "D1"))
    start = opened(BARS, START)
    _, context = strategy.seen
    for name in ("H4", "D1"):
        whole = resample(BARS, timeframe(name), EURUSD).frame["time"]
        before = whole.filter(whole < start).tail(60)
        assert context[name].drop_nulls()[0] >= before[0]
        # The run's first bar sees the last of them that had closed; the oldest one is the sixtieth before the start.
    given = resample(BARS, timeframe("D1"), EURUSD)
    result = backtest(
        BARS,
        ChosenStrategy(_Class(strategy), NoParams()),
        start=start,
        context_timeframes=("D1",),
        context={"D1": given},
    )
    assert result.trades.height == 0
    assert strategy.seen[1]["D1"].drop_nulls()[0] >= given.frame["time"].filter(given.frame["time"] < start).tail(60)[0]


def test_nothing_older_than_the_warm_up_changes_anything_or_is_hashed() -> None:
    strategy = choose_strategy(SmaCross, "sma_cross", {"fast": 5, "slow": 12})
    window = specification(start=opened(BARS, START))
    whole = run_backtest(window, EURUSD, RunData(bars=BARS), strategy)
    short = run_backtest(window, EURUSD, RunData(bars=BARS.rows(START - 500, 4_000)), strategy)
    shorter = run_backtest(window, EURUSD, RunData(bars=BARS.rows(START - 499, 4_000)), strategy)
    assert whole.to_json_dict() == short.to_json_dict()
    assert whole.trades.equals(shorter.trades)
    assert whole.result_digest != shorter.result_digest


def test_the_digest_knows_how_much_was_to_be_seen() -> None:
    strategy = choose_strategy(SmaCross, "sma_cross", {"fast": 5, "slow": 12})
    window = specification(start=opened(BARS, 100))
    bars = BARS.rows(0, 400)
    digests = {
        run_backtest(replace(window, warm_up_bars=each), EURUSD, RunData(bars=bars), strategy).result_digest
        for each in (None, 500, 600)
    }
    # 500 is what the strategy asks for: said or not, it is one run. Of both 100 bars are there.
    assert len(digests) == 2


def test_data_that_begin_too_late_for_the_longest_length_are_a_warning() -> None:
    strategy = choose_strategy(SmaCross, "sma_cross", {"fast": 5, "slow": 12})

    def warnings(before: int, **changes: Any) -> tuple[str, ...]:
        asked = specification(start=opened(BARS, before), **changes)
        return run_backtest(asked, EURUSD, RunData(bars=BARS), strategy).run_warnings

    up = "the strategy's indicators up, which look back over 12"
    assert warnings(11) == (f"only 11 H1 bars lie before the start: the first bar only warms {up}",)
    assert warnings(1) == (f"only 1 H1 bar lies before the start: the first 11 bars only warm {up}",)
    assert warnings(0) == (f"no H1 bar lies before the start: the first 12 bars only warm {up}",)
    assert warnings(12) == ()
    assert warnings(0, warm_up_bars=0) == ()
    assert backtest(BARS, scripted([None] * 4_000)).run_warnings == ("no decision in 4,000 bars",)


def test_a_sweep_sees_what_the_neediest_of_its_combinations_needs() -> None:
    needs = [choose_strategy(SmaCross, "key", {"fast": 5, "slow": slow}).warm_up(specification()) for slow in (12, 30)]
    assert most_of(needs).bars == {"H1": 1_200}
    assert most_of(needs).wanted == {"H1": 30}


@pytest.mark.parametrize("said", [-1, 1_000_001, 2.0, True, "500"])
def test_a_warm_up_that_is_no_number_of_bars_fails_the_run_with_what_it_is(said: Any) -> None:
    with pytest.raises(StrategyError, match=f"warm_up_bars for H1 is {said!r}, not a whole number from 0 to 1000000"):
        run(asking(warm_up_bars=said))


def test_a_warm_up_that_raises_is_the_strategys_failure() -> None:
    def broken(params: Any, name: str) -> int:
        raise KeyError(name)

    with pytest.raises(StrategyError, match="its warm-up raised KeyError: 'H1'"):
        run(asking(warm_up_bars=staticmethod(broken)))


@pytest.mark.parametrize("wrong", [-1, 1_000_001])
def test_a_specification_asks_for_0_to_a_million_bars(wrong: int) -> None:
    with pytest.raises(InvalidSpecification, match=r"^warm_up_bars: is from 0 to 1000000$"):
        check_specification(specification(warm_up_bars=wrong), EURUSD)


def test_a_strategys_need_is_asked_for_each_timeframe() -> None:
    by_timeframe = asking(warm_up_bars=staticmethod(lambda _params, name: {"H1": 10, "D1": 250}[name]))
    found = strategy_warm_up(by_timeframe, None, specification(context_timeframes=("D1",)))
    assert found.bars == {"H1": 10, "D1": 250}
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [1.1] * 30)
    assert backtest(bars, scripted([None] * 30), start=opened(bars, 20)).first_row == 20


def test_a_strategys_own_context_needs_no_list() -> None:
    strategy = asking(
        context_timeframes=staticmethod(lambda _params: ("D1",)),
        warm_up_bars=staticmethod(lambda _params, name: {"H1": 10, "H4": 20, "D1": 30}[name]),
    )
    asked = specification(context_timeframes=("H4",))
    found = strategy_warm_up(strategy, None, asked)
    assert found.bars == {"H1": 10, "H4": 20, "D1": 30}
    assert found.contexts(asked) == ("H4", "D1")
    run(strategy)
    days = resample(BARS, timeframe("D1"), EURUSD).frame["time"]
    assert list(strategy.seen[1]) == ["D1"]
    assert strategy.seen[1]["D1"].drop_nulls()[0] == days.filter(days < opened(BARS, START))[-2]


def test_a_context_of_the_runs_own_timeframe_is_no_further_one() -> None:
    strategy = asking(context_timeframes=("H1",), warm_up_bars=5)
    assert strategy_warm_up(strategy, None, specification()).contexts(specification()) == ()
    assert run(strategy).first_row == 5


def test_an_own_context_that_is_no_timeframe_fails_the_run() -> None:
    with pytest.raises(StrategyError, match="context_timeframes has 'H5', which is no timeframe"):
        run(asking(context_timeframes=("H4", "H5")))
