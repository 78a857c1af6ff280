"""A search gives what single runs give, the same whatever the threads, and what fails stands beside the rest."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import Field

from engine.deciders.chosen import choose_strategy
from engine.errors import InvalidParams, InvalidSpace, ResultsDisagree, SearchFailed
from engine.prepared import RunData
from engine.search import optimize
from engine.search.answer import Answer
from engine.search.figures import FIGURES
from engine.search.parts import sample_of
from engine.specification import ExecutionMode
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Decision, Instrument, Market, StrategyParams, View
from tests.engine.run_builders import EURUSD, backtest, sample, specification_of

BARS = sample("eurusd_h1", 3000)
SETTINGS: dict[str, Any] = {"execution_mode": ExecutionMode.INTRA_CANDLE, "spread_pips": 0.5, "commission_per_lot": 3.0}
SPACE = {"fast": [3, 5, 12], "slow": {"from": 10, "to": 40, "step": 10}, "stop_loss_pips": [12, None]}
FIXED = {"take_profit_pips": 15}


def searched(space: Any = SPACE, strategy: Any = SmaCross, fixed: Any = FIXED, **options: Any) -> Answer:
    specification = specification_of(BARS, strategy_params=fixed, **SETTINGS)
    return optimize(specification, EURUSD, RunData(bars=BARS), strategy, space, **options)


def every_so_many(market: Market, bars: int, buys: Callable[[int], bool]) -> pl.DataFrame:
    rows = range(market.bars.height)
    actions = [("BUY" if buys(row) else "SELL") if row % bars == 0 else None for row in rows]
    return pl.DataFrame({"action": pl.Series(actions, dtype=pl.String)})


@pytest.fixture(scope="module")
def answer() -> Answer:
    return searched()


def alone(params: dict[str, Any], strategy: Any = SmaCross, **changes: Any) -> Any:
    return backtest(
        BARS, choose_strategy(strategy, "test", params), **{**SETTINGS, "strategy_params": params, **changes}
    )


def test_every_figure_is_that_of_a_single_run_to_the_last_bit(answer: Answer) -> None:
    assert (answer.total, answer.completed, answer.failed) == (22, 22, 0)
    assert answer.statistics["left_out"] == 2
    assert len(answer.results) == 22
    for result in answer.results:
        figures = alone({**FIXED, **result["params"]}).to_json_dict()
        assert result["metrics"] == {name: figures[name] for name in FIGURES}
    assert sum(result["metrics"]["ambiguous_bars"] for result in answer.results) > 0


def test_the_best_is_the_first_of_the_results_and_runs_alone_to_the_same(answer: Answer) -> None:
    assert answer.best_params == answer.results[0]["params"]
    assert answer.best_value == answer.results[0]["metrics"]["sharpe_ratio"]
    assert [result["rank"] for result in answer.results] == list(range(1, 23))
    values = [result["metrics"]["sharpe_ratio"] for result in answer.results]
    assert values == sorted(values, reverse=True)
    assert answer.best_run().metrics.sharpe_ratio == answer.best_value


def test_the_best_that_runs_alone_to_something_else_is_refused() -> None:
    class Moody:
        """Decides otherwise at its eighth making."""

        made = 0

        class Params(StrategyParams):
            n: int = Field(1, ge=1)

        def __init__(self, params: Any, instrument: Instrument) -> None:
            del params, instrument
            Moody.made += 1

        def decide_all(self, market: Market) -> pl.DataFrame:
            every = 7 if Moody.made <= 3 else 9
            actions = [
                ("BUY" if row % 2 else "SELL") if row % every == 0 else None for row in range(market.bars.height)
            ]
            return pl.DataFrame({"action": pl.Series(actions, dtype=pl.String)})

    found = searched({"n": [1, 2, 3]}, Moody, {}, threads=1)
    with pytest.raises(ResultsDisagree, match=r'\{"n": 1\}, run alone gives another total_trades'):
        found.best_run()


def test_threads_and_the_order_of_work_change_nothing(answer: Answer) -> None:
    for threads in (1, 3):
        other = searched(threads=threads)
        assert other.results == answer.results
        assert other.statistics == answer.statistics
        assert other.result_digest == answer.result_digest


def test_the_digest_is_another_one_for_another_question(answer: Answer) -> None:
    others = [
        searched({**SPACE, "fast": [3, 5]}),
        searched(fixed={"take_profit_pips": 16}),
        searched(min_trades=31),
        searched(metric="net_profit"),
        searched(seed=1),
        searched(strategy_version="another"),
    ]
    assert len({each.result_digest for each in (answer, *others)}) == 7


def test_each_combination_sees_its_own_warm_up() -> None:
    """One that remembers where its data begin gives other figures where another's warm-up is seen."""

    class Remembers:
        class Params(StrategyParams):
            length: int = Field(10, ge=1)

        @staticmethod
        def warm_up_bars(params: Any, timeframe: str) -> int:
            del timeframe
            return int(params.length)

        def __init__(self, params: Any, instrument: Instrument) -> None:
            del params, instrument

        def decide_all(self, market: Market) -> pl.DataFrame:
            acts = [
                ("BUY" if row % 40 < 20 else "SELL") if row % 20 == 0 else None for row in range(market.bars.height)
            ]
            return pl.DataFrame({"action": pl.Series(acts, dtype=pl.String)})

    start = BARS.frame["time"][500]
    specification = specification_of(BARS, start=start, strategy_params={}, **SETTINGS)
    found = optimize(specification, EURUSD, RunData(bars=BARS), Remembers, {"length": [7, 13, 100]}, min_trades=1)
    for result in found.results:
        figures = alone(result["params"], Remembers, start=start).to_json_dict()
        assert result["metrics"] == {name: figures[name] for name in FIGURES}
    assert len({result["metrics"]["net_profit"] for result in found.results}) == 3


class Fragile:
    """Asked bar by bar; fails where its parameter says so."""

    class Params(StrategyParams):
        n: int = 1
        how: str = "not"

    def __init__(self, params: Params, instrument: Instrument) -> None:
        del instrument
        self._params = params
        self._bar = 0

    def decide(self, view: View) -> Decision | None:
        self._bar += 1
        if self._bar == 50 and self._params.how == "raise":
            raise ValueError("bar 50")
        if self._bar == 50 and self._params.how == "memory":
            raise MemoryError
        if self._bar % self._params.n:
            return None
        return Decision("BUY" if view.position is None else "CLOSE")


def test_one_that_fails_is_a_result_and_the_others_go_on() -> None:
    found = searched({"how": ["memory", "not", "raise"], "n": [4, 5]}, Fragile, {})
    assert (found.total, found.completed, found.failed) == (6, 6, 4)
    assert found.statistics["trials"] == 2
    assert [result["params"] for result in found.results] == [{"how": "not", "n": n} for n in (4, 5)] or [
        result["params"]["n"] for result in found.results
    ] == [5, 4]
    failure = found.gathered[0].first_failure
    assert failure is not None
    assert (failure.number, failure.code) == (0, "out_of_memory")


def test_where_all_fail_the_search_fails_with_the_first() -> None:
    with pytest.raises(SearchFailed, match=r"the first: strategy_error: .*bar 50") as failed:
        searched({"n": [4, 5]}, Fragile, {"how": "raise"})
    assert failed.value.code == "strategy_error"


def test_none_with_trades_enough_has_no_best_and_a_warning() -> None:
    found = searched(min_trades=100_000)
    assert found.best_params is None
    assert found.best_value is None
    assert found.robust_params is None
    assert found.statistics["deflated_sharpe"] is None
    assert len(found.results) == 22
    assert any("no combination has 100000 trades" in warning for warning in found.warnings)


def test_a_fixed_parameter_may_not_be_varied_too() -> None:
    with pytest.raises(InvalidSpace, match=r"param_grid\.fast: is among the fixed"):
        searched({"fast": [3]}, fixed={"fast": 4})


def test_what_no_run_would_take_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidParams, match=r"param_grid\.fats"):
        searched({"fats": [3]})
    with pytest.raises(InvalidSpace, match="optimize_metric: 'sharp'"):
        searched(metric="sharp")


def test_random_draws_are_the_same_for_their_seed_and_have_no_robust_one() -> None:
    space = {"fast": {"low": 2, "high": 20, "int": True}, "slow": {"low": 25, "high": 90, "int": True, "log": True}}
    one, two = (searched(space, method="random", samples=12, seed=4, threads=threads) for threads in (1, 2))
    assert one.result_digest == two.result_digest
    assert one.robust_params is None
    assert one.total == 12
    assert set(one.statistics["parameter_sensitivity"]) == {"fast", "slow"}


def test_tpe_that_draws_nothing_that_stands_says_so() -> None:
    with pytest.raises(InvalidParams, match=r"param_grid\.fast: the strategy refuses every combination, the first"):
        searched(
            {"fast": {"low": 90, "high": 190, "int": True}, "slow": {"low": 5, "high": 80, "int": True}},
            method="tpe",
            samples=1,
        )


def test_a_sample_of_a_large_search_is_by_hash() -> None:
    digests = {number: hashlib.sha256(f"7/{number}".encode()).hexdigest() for number in range(3000)}
    assert set(sample_of(3000, 7)) == set(sorted(digests, key=digests.__getitem__)[:2000])
    assert list(sample_of(2000, 7)) == list(range(2000))


def test_returns_are_one_a_day_from_the_deposit_and_0_after_a_stop_out() -> None:
    found = searched({"fast": [3], "slow": [10, 20]}, fixed={}, min_trades=1)
    gathering = found.gathered[0]
    for number in range(2):
        result = alone(found.combinations[0].at(number), volume=1.0)
        returns = gathering.returns_of(number)
        assert returns.size == result.days.label.size
        assert np.prod(1.0 + returns) == pytest.approx(result.final_equity / 10_000.0, rel=1e-9)
    ruined = specification_of(BARS, volume=400.0, **SETTINGS)
    ended = optimize(ruined, EURUSD, RunData(bars=BARS), SmaCross, {"fast": [3], "slow": [10]}, min_trades=1)
    returns = ended.gathered[0].returns_of(0)
    assert ended.results[0]["metrics"]["final_equity"] <= 0
    assert returns.size == gathering.returns_of(0).size
    assert returns[-100:].tolist() == [0.0] * 100
