"""A sweep gives what single runs give, in order, whatever the threads."""

from typing import Any

import pytest

from engine.deciders.chosen import choose_strategy
from engine.errors import InvalidParams
from engine.prepared import RunData
from engine.search.sweep import grid, sweep
from engine.specification import ExecutionMode
from engine.strategies.sma_cross import SmaCross
from engine.watch import Cancelled
from tests.engine.run_builders import EURUSD, backtest, sample, specification_of

BARS = sample("eurusd_h1", 1500)
COMBINATIONS = grid(fast=(3, 5), slow=(10, 20), stop_loss_pips=(10,), take_profit_pips=(12,))
SETTINGS: dict[str, Any] = {"execution_mode": ExecutionMode.INTRA_CANDLE, "spread_pips": 0.5, "commission_per_lot": 3.0}


@pytest.mark.parametrize("threads", [1, 2])
def test_each_combination_earns_what_it_earns_alone(threads: int) -> None:
    specification = specification_of(BARS, **SETTINGS)
    results = sweep(specification, EURUSD, RunData(bars=BARS), SmaCross, COMBINATIONS, threads=threads)
    assert len(results) == 4
    for combination, result in zip(COMBINATIONS, results, strict=True):
        alone = backtest(BARS, choose_strategy(SmaCross, "sma_cross", combination), **SETTINGS)
        assert result.metrics == alone.metrics
        assert result.ambiguous_bars == alone.ambiguous_bars
        assert result.params == choose_strategy(SmaCross, "", combination).params.model_dump()
    assert len({result.metrics.net_profit for result in results}) == 4


def test_many_combinations_come_back_in_order_whatever_the_threads() -> None:
    many = grid(fast=(3, 4, 5), slow=range(10, 45))
    specification = specification_of(BARS, **SETTINGS)
    one, three = (
        sweep(specification, EURUSD, RunData(bars=BARS), SmaCross, many, threads=threads) for threads in (1, 3)
    )
    assert [(result.params["fast"], result.params["slow"]) for result in three] == [
        (combination["fast"], combination["slow"]) for combination in many
    ]
    assert three == one


def test_a_wrong_combination_is_refused_before_anything_runs() -> None:
    asked: list[int] = []
    with pytest.raises(InvalidParams, match="fast"):
        sweep(
            specification_of(BARS), EURUSD, RunData(bars=BARS), SmaCross, [{"fast": 3}, {"fast": 0}],
            on_progress=lambda progress: asked.append(progress.bars_done),
        )  # fmt: skip
    assert asked == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sweep_can_be_stopped(threads: int) -> None:
    with pytest.raises(Cancelled):
        sweep(
            specification_of(BARS), EURUSD, RunData(bars=BARS), SmaCross, COMBINATIONS,
            threads=threads, on_progress=lambda _: False,
        )  # fmt: skip


def test_the_last_name_of_a_grid_varies_fastest() -> None:
    assert grid(a=(1, 2), b=(3, 4)) == [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]
