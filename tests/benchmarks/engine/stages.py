"""CPU time by stage of this engine's runs: python -m tests.benchmarks.engine.stages; for docs/performance.md.

CPU time, not wall time, so that it may run beside other work; the smallest of several runs.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

from engine import prepared, simulate, simulation
from engine.deciders import columns
from engine.market.bars import Bars
from engine.results import metrics
from tests.benchmarks.engine import price_data, worker

_BARS, _RUNS = 1_000_000, 15
_JOBS: Mapping[str, Mapping[str, Any]] = {
    "cross": {},
    "stop and target": {"stop": 0.01, "target": 0.02},
    "stops that fire often": {"stop": 0.003, "target": 0.004},
    "H4 context": {"h4": True},
}
_STAGES: tuple[tuple[str, Any, str], ...] = (
    ("crossings", worker, "sma_crosses"),
    ("action column", worker, "actions"),
    ("level columns", worker, "_levels"),
    ("resampling", prepared, "_context"),
    ("context join", columns, "join_context"),
    ("decisions read", columns, "read_table"),
    ("decisions checked", columns, "first_fault"),
    ("decisions made ready", columns, "to_carry_out"),
    ("run made ready", simulate, "prepare_run"),
    ("fill loop", simulation, "advance"),
    ("drawdown", metrics, "drawdown"),
)


def main() -> None:
    """Print a table of milliseconds, a column a job; `other` is what no stage accounts for."""
    bars = worker.bars_of(price_data.make_bars(_BARS, 1), "M1")
    jobs = [_measured(bars, {"fast": 10, "slow": 30, **options}) for options in _JOBS.values()]
    print("| stage | " + " | ".join(_JOBS) + " |")
    print("|---|" + "---:|" * len(jobs))
    for stage in (*(name for name, _, _ in _STAGES), "other", "whole run"):
        print(f"| {stage} | " + " | ".join(f"{column[stage]:.1f}" for column in jobs) + " |")


def _measured(bars: Bars, options: dict[str, Any]) -> dict[str, float]:
    """Return milliseconds by stage; the whole run's is measured without looking at its stages."""
    worker.cross(bars, options)
    whole, runs = [], []
    for _ in range(_RUNS):
        begun = time.process_time()
        worker.cross(bars, options)
        whole.append(time.process_time() - begun)
        with _watched() as spent:
            worker.cross(bars, options)
        runs.append(spent)
    stages = {name: min(run[name] for run in runs) * 1e3 for name, _, _ in _STAGES}
    whole_run = min(whole) * 1e3
    return {**stages, "other": whole_run - sum(stages.values()), "whole run": whole_run}


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    spent = {name: 0.0 for name, _, _ in _STAGES}
    with ExitStack() as stack:
        for name, module, function in _STAGES:
            stack.enter_context(patch.object(module, function, _adding(spent, name, module, function)))
        yield spent


def _adding(spent: dict[str, float], name: str, module: ModuleType, function: str) -> Callable[..., Any]:
    original = getattr(module, function)

    @functools.wraps(original)
    def timed(*arguments: Any, **named: Any) -> Any:
        begun, before = time.process_time(), sum(spent.values())
        try:
            return original(*arguments, **named)
        finally:
            # Less what stages inside this one have taken.
            spent[name] += time.process_time() - begun - (sum(spent.values()) - before)

    return timed


if __name__ == "__main__":
    main()
