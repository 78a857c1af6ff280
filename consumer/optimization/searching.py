"""A whole search by processes of this machine: what is computed, what is kept of it, and that the best stands alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from consumer.optimization.pace import Pace
from consumer.optimization.tables import returns_of, rows_of
from engine.search.answer import Answer, Simulate, answer
from engine.search.figures import LOWER_IS_BETTER, candidates, column
from engine.search.parts import Shard
from engine.search.question import Question

RETURNS: Final = "returns_file_path"
_NOT_ASKED_FOR: Final = "no results file was asked for"
_WALK_FORWARD: Final = "walk_forward"


class Table(Protocol):
    """Where every combination is written, in order (adapters.files.search_tables)."""

    def add(self, rows: pl.DataFrame) -> None: ...

    def finish(self) -> None: ...

    def write_beside(self, kind: str, table: pl.DataFrame) -> Path: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a search stands. best_value: of the best so far, None while there is none."""

    done: int
    total: int
    per_second: float
    seconds_left: float | None
    best_value: float | None


def search(
    question: Question,
    simulate: Simulate,
    *,
    clock: Callable[[], float],
    table: Table | None = None,
    show: Callable[[Standing], None] | None = None,
    trials_before: int = 0,
) -> Answer:
    """Carry the search out, writing to the table and showing where it stands, and run its best as an ordinary run.

    Raises what `engine.search.answer.answer` raises, ResultsDisagree, and what the table raises.
    """
    watch = _Watch(question, clock, table, show)
    found = answer(question, simulate, watch.take, trials_before)
    if found.best_params is not None and not question.folds:
        found.best_run()
    _note_returns(found, table)
    if table is not None:
        watch.write_rest(table)
        table.finish()
    return found


class _Watch:
    """Takes each shard as it comes."""

    def __init__(
        self,
        question: Question,
        clock: Callable[[], float],
        table: Table | None,
        show: Callable[[Standing], None] | None,
    ) -> None:
        self._question, self._clock, self._table, self._show = question, clock, table, show
        self._waiting: dict[tuple[int, int], pl.DataFrame] = {}
        self._next = (question.fold_numbers[0] or 0, 0)
        self._done = 0
        self._best: float | None = None
        self._pace = Pace(question.total)

    def take(self, fold: int | None, shard: Shard) -> None:
        if self._table is not None:
            self._waiting[fold or 0, shard.part.first] = rows_of(self._question, fold, shard)
            self._write_those_in_order(self._table)
        self._done += len(shard.part)
        if self._show is None:
            return
        self._pace.note(self._done, self._clock())
        self._note_best(shard)
        self._show(
            Standing(self._done, self._question.total, self._pace.per_second, self._pace.seconds_left, self._best)
        )

    def _write_those_in_order(self, table: Table) -> None:
        """Shards come as they are done; what comes too early waits, which is little unless a combination hangs."""
        while (rows := self._waiting.pop(self._next, None)) is not None:
            table.add(rows)
            fold, first = self._next
            first += rows.height
            self._next = (fold, first) if first < self._question.room else (fold + 1, 0)

    def write_rest(self, table: Table) -> None:
        """Write what no earlier one will come before any more: where tpe ended early, the next fold."""
        for key in sorted(self._waiting):
            table.add(self._waiting.pop(key))

    def _note_best(self, shard: Shard) -> None:
        question = self._question
        values = column(shard.figures, question.metric)[candidates(shard.figures, question.metric, question.min_trades)]
        if values.size:
            best = float(values.min() if question.metric in LOWER_IS_BETTER else values.max())
            both = (best,) if self._best is None else (best, self._best)
            self._best = min(both) if question.metric in LOWER_IS_BETTER else max(both)


def _note_returns(found: Answer, table: Table | None) -> None:
    """Write the returns beside the results, and say in the statistics where they are, or why nowhere."""
    statistics = found.statistics
    statistics[RETURNS] = None
    if found.question.folds:
        statistics["null_reasons"][RETURNS] = _WALK_FORWARD
    elif table is None:
        statistics["null_reasons"][RETURNS] = _NOT_ASKED_FOR
    else:
        statistics[RETURNS] = str(table.write_beside("returns", returns_of(found)))
