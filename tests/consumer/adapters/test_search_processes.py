"""Processes of a search: each combination is counted once, whatever ends a process or holds it up."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.adapters.engine_pool.search_messages import OnBegin, SimulatePart, shard_message, shard_of
from consumer.adapters.engine_pool.search_processes import SearchProcesses
from consumer.errors import SearchProcessLost
from engine.search.figures import FIGURES
from engine.search.parts import Part, Shard
from engine.warm_up import WarmUp


@dataclass(frozen=True)
class Search:
    """Opens a search whose figures are the numbers themselves, and which meets with accidents at some."""

    folder: Path
    kills: tuple[int, ...] = ()
    """Numbers that end their process each time."""
    kills_once: tuple[int, ...] = ()
    hangs: tuple[int, ...] = ()
    refuses: bool = False

    def __call__(self) -> SimulatePart:
        if self.refuses:
            raise ValueError("no bars here")
        return self.simulate

    def simulate(self, fold: int | None, part: Part, on_begin: OnBegin) -> Shard:
        for number in part.numbers.tolist():
            on_begin(number)
            once = self.folder / f"killed-{number}"
            if number in self.kills or (number in self.kills_once and not once.exists()):
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            while number in self.hangs:
                time.sleep(0.01)
        return shard(part, fold)


def shard(part: Part, fold: int | None) -> Shard:
    figures = np.full((len(part), len(FIGURES)), np.nan)
    figures[:, 0], figures[:, 1] = part.numbers, -1 if fold is None else fold
    kept = part.numbers[part.numbers % 3 == 0]
    errors = {number: ("strategy_error", f"of {number}") for number in part.numbers.tolist() if number % 5 == 0}
    warm_up = WarmUp({"H1": 500}, {"H1": 30})
    return Shard(part, figures, part.numbers / 7.0, errors, kept, np.outer(kept, [1.0, 2.0]), warm_up)


def searched(search: Search, works: list[tuple[int | None, Part]], workers: int = 2, **options: Any) -> list[Any]:
    limits = {"memory_mb": 1024, "timeout_seconds": 60.0, "max_attempts": 2, **options}
    with SearchProcesses(workers, **limits) as processes:
        processes.open(search)
        return list(processes.simulate(works))


def by_number(found: list[Any]) -> dict[tuple[int | None, int], tuple[Any, ...]]:
    """Each result once, or the test fails."""
    results: dict[tuple[int | None, int], tuple[Any, ...]] = {}
    for fold, each in found:
        for at, number in enumerate(each.part.numbers.tolist()):
            assert (fold, number) not in results
            results[fold, number] = (each.figures[at, 0], each.ratios[at], each.errors.get(number))
    return results


def numbers(count: int) -> Part:
    return Part(0, np.arange(count))


def test_every_number_of_every_fold_comes_back_once(tmp_path: Path) -> None:
    found = by_number(searched(Search(tmp_path), [(0, numbers(70)), (1, numbers(70))]))
    assert found.keys() == {(fold, number) for fold in (0, 1) for number in range(70)}
    assert found[1, 33] == (33.0, 33 / 7.0, None)
    assert found[1, 35] == (35.0, 5.0, ("strategy_error", "of 35"))


def test_one_that_ends_its_process_is_tried_again_and_fails_alone(tmp_path: Path) -> None:
    found = by_number(searched(Search(tmp_path, kills=(20,), kills_once=(7,)), [(None, numbers(50))]))
    assert found.keys() == {(None, number) for number in range(50)}
    assert found[None, 7][0] == 7.0
    assert found[None, 20][2] == ("crash_loop", "its process ended 2 times, the last with status -9")
    assert [number for (_, number), result in found.items() if result[2] is not None and number % 5] == []


def test_one_that_takes_too_long_is_ended_alone(tmp_path: Path) -> None:
    found = by_number(searched(Search(tmp_path, hangs=(4,)), [(None, numbers(12))], timeout_seconds=0.5))
    assert found.keys() == {(None, number) for number in range(12)}
    assert found[None, 4][2] == ("timeout", "took more than 0.5 s")
    assert found[None, 6][0] == 6.0


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(SearchProcessLost, match="no bars here"):
        searched(Search(tmp_path, refuses=True), [(None, numbers(5))], workers=1)


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    with SearchProcesses(1, 1024, 60.0, 2) as processes:
        processes.open(Search(tmp_path, hangs=(0,)))
        pid = processes._processes[0]._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def parts() -> Part:
    return Part(10, np.arange(20, 32))


def test_a_shard_is_read_as_it_was_written(parts: Part) -> None:
    written = shard(parts, 3)
    read = shard_of(*shard_message(written), parts)
    for name in ("figures", "ratios", "kept", "returns"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert (read.errors, read.warm_up) == (written.errors, written.warm_up)
