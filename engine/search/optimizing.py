"""A whole search in this process: `optimize`."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from engine.market.instruments import Instrument
from engine.prepared import RunData
from engine.search.answer import Answer, OnShard, Simulate, answer
from engine.search.folds import WalkForward, read_walk_forward
from engine.search.limits import MOST_COMBINATIONS, Method
from engine.search.parts import Part, Shard, chooser, simulate_part
from engine.search.question import Question, ask
from engine.specification import Specification

_TOGETHER: Final = 16
"""Combinations a task, at most."""


def optimize(
    specification: Specification,
    instrument: Instrument,
    data: RunData,
    strategy: Any,
    space: Mapping[str, Any],
    *,
    threads: int = 2,
    min_trades: int = 30,
    method: Method = "grid",
    samples: int | None = None,
    seed: int = 0,
    metric: str = "sharpe_ratio",
    walk_forward: WalkForward | Mapping[str, Any] | None = None,
    most: int = MOST_COMBINATIONS,
    strategy_version: str | None = None,
    on_shard: OnShard | None = None,
) -> Answer:
    """Search the space for the parameters of a strategy class that are best by the metric, and judge how much of it is
    luck. The specification's parameters are those that are not varied.

    Every figure is that of `run_backtest` with the same parameters; the second simulation of ambiguous bars is left
    out. threads change nothing but the time. Raises what `ask` and `answer` raise.
    """
    walk = (
        walk_forward
        if walk_forward is None or isinstance(walk_forward, WalkForward)
        else read_walk_forward(walk_forward)
    )
    question = ask(
        specification,
        instrument,
        data,
        chooser(strategy, specification, strategy_version),
        space,
        method=method,
        samples=samples,
        seed=seed,
        metric=metric,
        min_trades=min_trades,
        walk_forward=walk,
        most=most,
        strategy_version=strategy_version,
    )
    return answer(question, in_threads(question, threads), on_shard)


def in_threads(question: Question, threads: int) -> Simulate:
    """Return what simulates parts in threads of this process; compiled code runs without the interpreter lock."""
    benches = {fold: question.bench(fold) for fold in question.fold_numbers}

    def simulate(parts: Sequence[tuple[int | None, Part]]) -> Iterator[tuple[int | None, Shard]]:
        combinations = sum(len(part) for _, part in parts)
        size = max(1, min(_TOGETHER, combinations // (4 * max(1, threads))))
        tasks = [(fold, piece) for fold, part in parts for piece in part.cut(size)]
        if threads <= 1 or len(tasks) == 1:
            yield from ((fold, simulate_part(benches[fold], part)) for fold, part in tasks)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="search") as pool:
            running = [(fold, pool.submit(simulate_part, benches[fold], part)) for fold, part in tasks]
            try:
                for fold, shard in running:
                    yield fold, shard.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return simulate
