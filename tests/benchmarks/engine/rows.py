"""The rows of the engine's table: which programs do what, on how many bars, and how long they take."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tests.benchmarks.engine.price_data import write_bars
from tests.benchmarks.engine.programs import (
    OURS,
    RAPTORBT,
    VECTORBT,
    Contender,
    Timed,
    alternate,
    peak_memory,
    whole_process,
    worker_command,
)

_LENGTHS = {"fast": 10, "slow": 30}
_FILLS_ONLY = "vectorbt, fills only"
_SEARCH_THREADS = 2
_SEARCH_SPACE = {"fast": list(range(5, 45, 2)), "slow": list(range(50, 250, 10))}


@dataclass(frozen=True, slots=True)
class Row:
    """One measured job. bars: how many. timed: ours first. memory_mb: peak of a fresh process and its rise by the run.

    target: what is to be reached, in words; "" where nothing is.
    """

    name: str
    bars: int
    timed: tuple[Timed, ...]
    target: str = ""
    memory_mb: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. scale: divides all numbers of bars, for trying the benchmark out."""

    folder: Path
    rounds: int
    scale: int

    def bars(self, full: int, seed: int = 1) -> tuple[int, Path]:
        count = max(2_000, full // self.scale)
        return count, write_bars(self.folder / str(seed), count, seed)


def all_rows(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """Every group of rows by its name, as the command line takes it."""
    five = "5 times"
    return {
        "cross": lambda: [
            _compared(plan, "SMA cross, long only", 1_000_000, {}, five),
            _compared(plan, "SMA cross, long and short", 1_000_000, {"both_sides": True}, "", (OURS, VECTORBT)),
        ],
        "stops": lambda: [
            _compared(plan, "with stop and target", 1_000_000, {"stop": 0.01, "target": 0.02}, five),
            _compared(plan, "stops that fire often", 1_000_000, {"stop": 0.003, "target": 0.004}, five),
        ],
        "large": lambda: [
            _compared(plan, "SMA cross", 5_000_000, {}, f"{five}, memory below raptorbt's", memory=True),
            _compared(
                plan,
                "with stop and target",
                5_000_000,
                {"stop": 0.01, "target": 0.02},
                f"{five}, memory below raptorbt's",
                memory=True,
            ),
        ],
        "context": lambda: [
            _compared(plan, "M1 with H4 context", 1_000_000, {"h4": True}, "2 times, aim 4", (OURS, VECTORBT))
        ],
        "rules": lambda: [_rules(plan)],
        "search": lambda: [_search(plan)],
        "process": lambda: [_fresh_process(plan)],
        "scaling": lambda: [
            _compared(plan, "SMA cross", bars, {}) for bars in (10_000, 100_000, 1_000_000, 10_000_000)
        ],
        "threads": lambda: [_threads(plan)],
        "progress": lambda: [_progress(plan)],
    }


def _compared(
    plan: Plan,
    name: str,
    bars: int,
    options: Mapping[str, Any],
    target: str = "",
    programs: Sequence[str] = (OURS, RAPTORBT, VECTORBT),
    *,
    memory: bool = False,
) -> Row:
    """Ours beside the peers, vectorbt twice: with the figures that the others compute, and without."""
    count, data = plan.bars(bars)
    job = "context" if options.get("h4") else "cross"
    contenders = [Contender(each, each, job, {**_LENGTHS, **options}) for each in programs]
    contenders.append(Contender(_FILLS_ONLY, VECTORBT, job, {**_LENGTHS, **options, "figures": False}))
    timed = alternate(contenders, data, plan.rounds)
    used = {each.name: peak_memory(each, data) for each in contenders} if memory else {}
    return Row(name, count, tuple(timed), target, used)


def _rules(plan: Plan) -> Row:
    """Rules over the same decisions written by hand: the ratio is the price of the language."""
    count, data = plan.bars(1_000_000)
    contenders = [Contender(name, OURS, job, {}) for name, job in (("by hand", "by_hand"), ("rules", "rules"))]
    return Row("five indicators, three conditions", count, tuple(alternate(contenders, data, plan.rounds)), "at most 3")


def _search(plan: Plan) -> Row:
    """400 combinations, ours with its statistics; vectorbt by its own broadcast of all of them at once."""
    # Not seed 1: there two pairs cross on the last bar, where raptorbt opens a trade and this engine takes no decision.
    count, data = plan.bars(100_000, seed=2)
    pairs = [list(pair) for pair in product(*_SEARCH_SPACE.values())]
    options = {**_SEARCH_SPACE, "pairs": pairs, "threads": _SEARCH_THREADS}
    contenders = [Contender(each, each, "search", options) for each in (OURS, RAPTORBT, VECTORBT)]
    timed = alternate(contenders, data, max(3, plan.rounds // 3), threads=_SEARCH_THREADS)
    return Row(f"{len(pairs)} combinations, 2 threads", count, tuple(timed), "10 times both, aim 20")


def _fresh_process(plan: Plan) -> Row:
    """From the start of the program to its end. Ours reads Parquet and prints JSON; peers load arrays and run."""
    count, data = plan.bars(100_000)
    ours = (
        str(Path(sys.executable).parent / "backtest"),
        *("run", "--bars", str(data / "bars.parquet"), "--symbol", "EURUSD", "--timeframe", "M1"),
        *("--strategy", "sma_cross", "--initial-balance", "1000000", "--json"),
    )
    commands: dict[str, tuple[Sequence[str], str]] = {"backtest run": (ours, "")}
    for program in (RAPTORBT, VECTORBT):
        commands[program] = worker_command(Contender(program, program, "cross", _LENGTHS), data)
    for command, requests in commands.values():
        whole_process(command, requests)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(plan.rounds):
        for name, (command, requests) in commands.items():
            seconds[name].append(whole_process(command, requests))
    timed = tuple(Timed(name, tuple(times), "") for name, times in seconds.items())
    return Row("whole fresh process", count, timed, "at most 1.0 s")


def _threads(plan: Plan) -> Row:
    """One run alone, and two at once in two threads of one process: 2 is all, 1 is nothing gained."""
    count, data = plan.bars(1_000_000)
    contenders = [
        Contender(f"{threads} at once", OURS, "two_threads", {**_LENGTHS, "threads": threads}) for threads in (1, 2)
    ]
    return Row("runs side by side", count, tuple(alternate(contenders, data, plan.rounds, compare=False)))


def _progress(plan: Plan) -> Row:
    count, data = plan.bars(1_000_000)
    contenders = [
        Contender(name, OURS, "cross", {**_LENGTHS, "stop": 0.01, "target": 0.02, "progress": watched})
        for name, watched in (("watched", True), ("not watched", False))
    ]
    timed = alternate(contenders, data, 3 * plan.rounds)
    return Row("progress and cancel", count, tuple(timed), "below 3 %")
