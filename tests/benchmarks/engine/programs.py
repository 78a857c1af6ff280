"""The measured programs as processes that wait for their turn, and alternating rounds over them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
PEER_ENVIRONMENT = ROOT / ".venv-bench"
PEERS = ROOT / "tests" / "benchmarks" / "peers"
OURS, RAPTORBT, VECTORBT = "this engine", "raptorbt", "vectorbt"
_COMMANDS: Mapping[str, Sequence[str]] = {
    OURS: (sys.executable, "-m", "tests.benchmarks.engine.worker"),
    RAPTORBT: (str(PEER_ENVIRONMENT / "bin" / "python"), str(PEERS / "raptorbt_worker.py")),
    VECTORBT: (str(PEER_ENVIRONMENT / "bin" / "python"), str(PEERS / "vectorbt_worker.py")),
}
_THREAD_SETTINGS = ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
_SAME_PRICE = 1e-9


@dataclass(frozen=True, slots=True)
class Contender:
    """One program on one job. name: as the table shows it. options: of the worker's job."""

    name: str
    program: str
    job: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timed:
    """One contender's rounds. trades: what it traded, in words: how many, and that they are the first one's."""

    name: str
    seconds: tuple[float, ...]
    trades: str

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def spread(self) -> tuple[float, float]:
        """Lower and upper quartile."""
        lower, upper = np.percentile(self.seconds, (25, 75))
        return float(lower), float(upper)


class TradesDifferError(Exception):
    """Programs did not do the same work, so their times say nothing."""


def alternate(
    contenders: Sequence[Contender], data: Path, rounds: int, *, threads: int = 1, compare: bool = True
) -> list[Timed]:
    """Run every contender once to warm up and to compare its trades with the first one's, then in turns.

    Each round begins with another contender, so that none always runs after the same one. Raises TradesDifferError.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(each, data, threads)) for each in contenders]
        seconds: list[list[float]] = [[] for _ in workers]
        for each in workers:
            each.ask(do="run")
        words = _compared(workers, data, contenders) if compare else [""] * len(workers)
        for turn in range(rounds):
            for index in np.roll(np.arange(len(workers)), -turn):
                seconds[index].append(float(workers[index].ask(do="run")["seconds"]))
    return [Timed(each.name, tuple(times), word) for each, times, word in zip(contenders, seconds, words, strict=True)]


def peak_memory(contender: Contender, data: Path) -> tuple[float, float]:
    """Run once in a fresh process. Return its high-water mark, and by how much the run raised it, in MB."""
    with worker(contender, data, 1) as fresh:
        before = fresh.ask(do="memory")["now_mb"]
        fresh.ask(do="run")
        peak = fresh.ask(do="memory")["peak_mb"]
    return peak, peak - before


def whole_process(command: Sequence[str], requests: str = "") -> float:
    """Start a program, wait for its end, and return the seconds it took. Raises CalledProcessError when it failed."""
    begun = time.perf_counter()
    subprocess.run(command, input=requests, text=True, check=True, capture_output=True, cwd=ROOT, env=_environment(1))
    return time.perf_counter() - begun


def worker_command(contender: Contender, data: Path) -> tuple[Sequence[str], str]:
    """Return what starts a worker, and what makes it run its job once: for whole_process."""
    prepare = {"do": "prepare", "job": contender.job, "data": str(data), "options": dict(contender.options)}
    return _COMMANDS[contender.program], json.dumps(prepare) + '\n{"do": "run"}\n'


class Worker:
    """A program that answers one request at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended without an answer to {request}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def worker(contender: Contender, data: Path, threads: int) -> Iterator[Worker]:
    """Start a program with its job prepared; it ends with the block."""
    process = subprocess.Popen(
        _COMMANDS[contender.program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(threads),
    )
    try:
        started = Worker(process)
        started.ask(do="prepare", job=contender.job, data=str(data), options=dict(contender.options))
        yield started
    finally:
        process.kill()
        process.wait()


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(_THREAD_SETTINGS, str(threads))}


def _compared(workers: Sequence[Worker], data: Path, contenders: Sequence[Contender]) -> list[str]:
    """Say of each worker how many trades it made, all of them being the first worker's."""
    ours: dict[str, Any] = {}
    words = []
    for number, (each, contender) in enumerate(zip(workers, contenders, strict=True)):
        into = data / f"trades_{number}.npz"
        each.ask(do="trades", into=str(into))
        with np.load(into) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        ours = ours or found
        difference = _difference(ours, found)
        if difference:
            raise TradesDifferError(f"{contender.job} {contender.options}: {contender.name} {difference}")
        words.append(f"{len(found['entry_bar']):,}{', the same' if number else ''}")
    return words


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say in what the trades differ, number, bars or prices; nothing where they are the same."""
    count = len(theirs["entry_bar"])
    if count != len(ours["entry_bar"]):
        return f"made {count:,} trades in place of {len(ours['entry_bar']):,}"
    differ = np.zeros(count, bool)
    for name, values in theirs.items():
        differ |= ~np.isclose(ours[name], values, rtol=_SAME_PRICE if name.endswith("price") else 0.0, atol=0.0)
    return f"made {int(differ.sum()):,} other trades of {count:,}" if differ.any() else ""
