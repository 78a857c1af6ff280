"""Draws that learn, batch by batch, over the folds of a search: the state that a child keeps between two asks.

It depends on what was found alone: whoever has told the same batches draws the same ones next.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from engine.search.figures import worth_of
from engine.search.gathering import Gathering
from engine.search.parts import Shard
from engine.search.question import Question

Batch = dict[str, Any]
"""fold, the number of its first combination within it, its position over all folds, and rows as drawn; plain JSON."""
Counted = Callable[[Batch], Iterable[Shard] | None]
"""The shards of a batch; None: not all of them are there."""


class Learning:
    """One search's draws, from the first on."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._folds = list(question.fold_numbers)
        self._position = 0
        self._begin_fold()
        self.pending = self._draw()
        """The batch that is to be simulated next; None: there are enough, or no more are found."""

    @property
    def total(self) -> int:
        """Combinations, times folds: those drawn, and those that are still wanted."""
        if self.pending is None:
            return self._position
        wanted = max(self._question.room, self.pending["number"] + len(self.pending["rows"]))
        return int(self.pending["position"] - self.pending["number"] + wanted + self._question.room * len(self._folds))

    def catch_up(self, counted: Counted) -> Batch | None:
        """Tell what is there of each batch, and return the first that is not there yet."""
        while self.pending is not None and (shards := counted(self.pending)) is not None:
            self._tell(shards)
            self.pending = self._draw()
        return self.pending

    def _begin_fold(self) -> None:
        from engine.search.tpe import Learner  # late: optuna takes a second, and few searches need it

        question, self._fold = self._question, self._folds.pop(0)
        self._learner = Learner(question.space, question.judge, question.samples or 0, question.seed)
        sample = question.bench(self._fold).sample
        self._gathering = Gathering(question.room, sample, question.metric, question.min_trades, self._fold)

    def _draw(self) -> Batch | None:
        while not (rows := self._learner.ask()).shape[0]:
            if not self._folds:
                return None
            self._begin_fold()
        batch = {
            "fold": self._fold,
            "number": self._gathering.completed,
            "position": self._position,
            "rows": rows.tolist(),
        }
        self._position += len(rows)
        return batch

    def _tell(self, shards: Iterable[Shard]) -> None:
        first = self._gathering.completed
        for shard in shards:
            self._gathering.add(shard)
        told = np.where(self._gathering.may_be_best, worth_of(self._gathering.values, self._question.metric), np.nan)
        self._learner.tell(told[first : self._gathering.completed].tolist())
