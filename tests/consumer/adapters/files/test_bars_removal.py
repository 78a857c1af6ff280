"""Saving bars while the same bars are being removed: in whatever order the steps fall, what was saved is there."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from threading import Semaphore, Thread

import polars as pl
import pytest

from consumer.adapters.files.artifacts import ArtifactFiles, bars_digest, bars_name
from consumer.errors import ArtifactsUnavailable
from consumer.ports.retention import BARS_KEPT_SECONDS

BARS = pl.DataFrame(
    {
        "time": [datetime(2024, 1, 2, tzinfo=UTC)],
        **{name: [1.0] for name in ("open", "high", "low", "close", "volume")},
    },
    schema_overrides={"time": pl.Datetime("us", "UTC")},
)
DIGEST = bars_digest(BARS)
DAY = 86_400
STEPS = 5
"""No side takes more steps in the store than this; a turn of a side that has none left is nobody's."""


class Turns:
    """Lets one of two sides take one step in the store at a time, in a given order."""

    def __init__(self) -> None:
        self._may_go = {"saver": Semaphore(0), "remover": Semaphore(0)}
        self._has_stopped = Semaphore(0)
        self._ended: set[str] = set()

    def wait(self, side: str) -> None:
        """Called before each step: the one before is done."""
        self._has_stopped.release()
        self._may_go[side].acquire()

    def end(self, side: str) -> None:
        self._ended.add(side)
        self._has_stopped.release()

    def give(self, side: str) -> None:
        """Let a side go on until its next step, or its end."""
        if side not in self._ended:
            self._may_go[side].release()
            self._has_stopped.acquire()

    def await_both(self) -> None:
        """Until both stand before their first step."""
        for _ in self._may_go:
            self._has_stopped.acquire()


class SteppedFiles:
    """A store in memory, as one of two sides sees it: each access waits for its turn."""

    def __init__(self, side: str, turns: Turns, written: dict[str, float]) -> None:
        self._side, self._turns, self.written = side, turns, written

    def written_at(self, name: str) -> float | None:
        self._turns.wait(self._side)
        return self.written.get(name)

    def exists(self, name: str) -> bool:
        return self.written_at(name) is not None

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        del content, durable
        self._turns.wait(self._side)
        self.written[name] = time.time()

    def remove(self, name: str) -> None:
        self._turns.wait(self._side)
        self.written.pop(name, None)

    def location(self, name: str) -> str:
        return name


def artifacts_over(files: SteppedFiles) -> ArtifactFiles:
    artifacts = ArtifactFiles("nowhere")
    artifacts._files = files  # type: ignore[assignment]  # has what these two calls need
    return artifacts


def race(order: tuple[str, ...], age_seconds: float) -> tuple[bool, bool, bool]:
    """Let both sides take their steps in this order. Was it saved, at the first try or once the other was done? Was it
    removed? Is it there?"""
    turns, written = Turns(), {bars_name(DIGEST): time.time() - age_seconds}
    saved: list[str | None] = []
    removed: list[bool] = []

    def save() -> None:
        try:
            saved.append(artifacts_over(SteppedFiles("saver", turns, written)).save_bars(BARS))
        except ArtifactsUnavailable:
            saved.append(None)
        turns.end("saver")

    def remove() -> None:
        files = artifacts_over(SteppedFiles("remover", turns, written))
        removed.append(files.remove_bars(DIGEST, time.time() - 5 * DAY))
        turns.end("remover")

    threads = [Thread(target=save), Thread(target=remove)]
    for thread in threads:
        thread.start()
    turns.await_both()
    for side in order:
        turns.give(side)
    for thread in threads:
        thread.join(timeout=30)
    return saved[0] is not None, removed[0], bars_name(DIGEST) in written


def orders() -> Iterator[tuple[str, ...]]:
    """Every order of the steps of both sides."""
    for places in combinations(range(2 * STEPS), STEPS):
        yield tuple("saver" if place in places else "remover" for place in range(2 * STEPS))


def test_bars_that_were_saved_are_there_whatever_a_removal_does_meanwhile() -> None:
    refused = removed = 0
    for order in orders():
        was_saved, was_removed, is_there = race(order, 10 * DAY)
        assert is_there or not was_saved, order
        refused, removed = refused + (not was_saved), removed + was_removed
    assert refused  # the race is met,
    assert removed  # and both ways


def test_without_a_look_for_the_notice_saved_bars_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArtifactFiles, "_is_being_removed", lambda _self, _digest: False)
    results = [race(order, 10 * DAY) for order in orders()]
    assert any(was_saved and not is_there for was_saved, _, is_there in results)


def test_bars_in_use_are_never_removed() -> None:
    for order in orders():
        _, was_removed, is_there = race(order, BARS_KEPT_SECONDS / 2)
        assert (was_removed, is_there) == (False, True)
