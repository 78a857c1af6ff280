"""Results of a search put together as they come, in any order; memory grows by some 60 bytes a combination."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.search.combinations import Combinations
from engine.search.figures import FIGURES, by_name, candidates, column, ranking
from engine.search.parts import BEST_KEPT, Shard
from engine.warm_up import WarmUp, most_of


@dataclass(frozen=True, slots=True)
class Failure:
    """The failed combination of the lowest number."""

    number: int
    code: str
    message: str


class Gathering:
    """What of a search's shards decides its outcome.

    values: the metric of each number, NaN for none. ratios: mean / std(ddof=1) of its returns, NaN for none.
    may_be_best: whether it has the metric and trades enough.
    """

    def __init__(
        self, room: int, sample: frozenset[int] | range, metric: str, min_trades: int, fold: int | None = None
    ) -> None:
        """room: how many combinations there will be at most. fold: of a walk-forward."""
        self.sample, self.metric, self.min_trades, self.fold = sample, metric, min_trades, fold
        self.values, self.ratios = np.full(room, np.nan), np.full(room, np.nan)
        self.may_be_best = np.zeros(room, bool)
        self.completed = 0
        self.failed = 0
        self.first_failure: Failure | None = None
        self.warm_up: WarmUp | None = None
        self.best_numbers = np.empty(0, np.int64)
        """Of the best 100, in their order."""
        self._best_figures = np.empty((0, len(FIGURES)))
        self._returns: dict[int, Floats] = {}
        self._digests = np.zeros(room, "S32")

    @property
    def succeeded(self) -> int:
        return self.completed - self.failed

    @property
    def best(self) -> int | None:
        """The number of the best so far; None while there is none that may be."""
        if not self.best_numbers.size or not self.may_be_best[self.best_numbers[0]]:
            return None
        return int(self.best_numbers[0])

    def add(self, shard: Shard) -> None:
        """Take note of a part's results. Each part is added once."""
        numbers, figures = shard.part.numbers, shard.figures
        self.values[numbers] = column(figures, self.metric)
        self.ratios[numbers] = shard.ratios
        self.may_be_best[numbers] = candidates(figures, self.metric, self.min_trades)
        self._digests[numbers] = _digests(shard, self.fold)
        self.completed += numbers.size
        self.failed += len(shard.errors)
        self._note_failures(shard)
        if shard.warm_up is not None:
            self.warm_up = shard.warm_up if self.warm_up is None else most_of((self.warm_up, shard.warm_up))
        # Copies: a row would hold on to all of its shard.
        self._returns.update(
            {number: row.copy() for number, row in zip(shard.kept.tolist(), shard.returns, strict=True)}
        )
        self._keep_best(numbers, figures)

    def results(self, combinations: Combinations) -> list[dict[str, Any]]:
        """Return the best 100: params, metrics, rank."""
        return [
            {"params": combinations.at(number), "metrics": by_name(row), "rank": rank}
            for rank, (number, row) in enumerate(zip(self.best_numbers.tolist(), self._best_figures, strict=True), 1)
        ]

    def figures_of_best(self) -> dict[str, Any]:
        """Return the figures of the first of the best 100, of which there must be one."""
        return by_name(self._best_figures[0])

    def returns_of(self, number: int) -> Floats:
        """Return those of one of the sample or of the best 100."""
        return self._returns[number]

    def returns_of_sample(self) -> Floats:
        """Return those of the sample that did not fail, in order of number, shape (n, T)."""
        return self._stacked([number for number in sorted(self._returns) if number in self.sample])

    def returns_kept(self) -> tuple[list[int], Floats]:
        """Return the numbers of the sample and of the best 100, and their returns."""
        numbers = sorted(self._returns)
        return numbers, self._stacked(numbers)

    def digests(self) -> NDArray[np.bytes_]:
        """Return what stands for each result that is there, in order of number."""
        there: NDArray[np.bytes_] = self._digests[self._digests != b""]
        return there

    def _stacked(self, numbers: list[int]) -> Floats:
        return np.stack([self._returns[number] for number in numbers]) if numbers else np.empty((0, 0))

    def _note_failures(self, shard: Shard) -> None:
        for number, (code, message) in shard.errors.items():
            if self.first_failure is None or number < self.first_failure.number:
                self.first_failure = Failure(number, code, message)

    def _keep_best(self, numbers: NDArray[np.int64], figures: Floats) -> None:
        numbers, figures = np.concatenate([self.best_numbers, numbers]), np.vstack([self._best_figures, figures])
        order = ranking(figures, numbers, self.metric, self.min_trades)
        self.best_numbers, self._best_figures = numbers[order[:BEST_KEPT]], figures[order[:BEST_KEPT]]
        best = set(self.best_numbers.tolist())
        for number in [each for each in self._returns if each not in best and each not in self.sample]:
            del self._returns[number]


def _digests(shard: Shard, fold: int | None) -> list[bytes]:
    """Return SHA-256 over fold, parameters (their row: the space is in the search's digest), figures and error code."""
    figures = np.where(np.isnan(shard.figures), np.nan, shard.figures + 0.0).astype("<f8")
    rows = np.ascontiguousarray(shard.part.rows)
    of_fold = b"" if fold is None else b"%d" % fold
    found = []
    for number, row, of_run in zip(shard.part.numbers.tolist(), rows, figures, strict=True):
        code = shard.errors[number][0].encode() if number in shard.errors else b""
        parts = (of_fold, row.tobytes(), of_run.tobytes(), code)
        found.append(hashlib.sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest())
    return found
