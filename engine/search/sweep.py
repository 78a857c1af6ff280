"""Many parameter combinations on the same bars: what each would have earned, without keeping any trade list."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.market.instruments import Instrument
from engine.prepared import PreparedRun, RunData, prepare_run
from engine.results.measuring import measure
from engine.results.metrics import Metrics
from engine.simulate import simulate_once
from engine.specification import Specification
from engine.warm_up import most_of
from engine.watch import CHUNK_BARS, OnProgress, Watch

_TOGETHER = 4
"""Combinations a task, at most: with more, an error of one would be told late."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One combination. params: as validated, defaults filled in. metrics: of the stop-first simulation."""

    params: dict[str, Any]
    metrics: Metrics
    ambiguous_bars: int
    stopped_out: bool


def sweep(
    specification: Specification,
    instrument: Instrument,
    data: RunData,
    strategy: Any,
    combinations: Sequence[Mapping[str, Any]],
    *,
    threads: int = 2,
    on_progress: OnProgress | None = None,
) -> list[SweepResult]:
    """Simulate every combination on the same bars; results in the order of `combinations`, whatever the threads.

    Bars, rates, nights and spreads are made once; the warm-up is that of the combination that needs the most. The
    compiled parts run without the interpreter lock, so threads help column strategies; each simulation has its own
    strategy object and its own books. Every figure is that of `run_backtest`; the second simulation of ambiguous bars
    is left out. specification.strategy_params is not used. on_progress is called as in run_backtest, by any of the
    threads; returning False stops the sweep with Cancelled.

    Raises InvalidParams before anything is simulated, and what run_backtest raises: the first combination's in order.
    """
    chosen = [choose_strategy(strategy, specification.strategy_key or "", params) for params in combinations]
    run = prepare_run(specification, instrument, data, most_of(each.warm_up(specification) for each in chosen))

    def some(deciders: Sequence[ChosenStrategy]) -> list[SweepResult]:
        return [_simulate_one(run, decider, on_progress) for decider in deciders]

    if threads <= 1:
        return some(chosen)
    # Handing over costs as much as a kernel takes; few combinations are spread over all threads all the same.
    size = max(1, min(_TOGETHER, len(chosen) // (4 * threads)))
    with ThreadPoolExecutor(threads, thread_name_prefix="sweep") as pool:
        running = [pool.submit(some, chosen[at : at + size]) for at in range(0, len(chosen), size)]
        try:
            return [result for each in running for result in each.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def grid(**choices: Iterable[Any]) -> list[dict[str, Any]]:
    """Return every combination of the choices, the last name varying fastest: grid(fast=(5, 10), slow=(20, 40))."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def _simulate_one(run: PreparedRun, decider: ChosenStrategy, on_progress: OnProgress | None) -> SweepResult:
    finished = simulate_once(run, decider, Watch(run, on_progress, CHUNK_BARS))
    return SweepResult(
        params=decider.params.model_dump(),
        metrics=measure(run, finished.trail),
        ambiguous_bars=finished.ambiguous_bars,
        stopped_out=bool(finished.state["stopped_out"]),
    )
