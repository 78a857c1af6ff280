"""What the ranges of a search have left in files, for those who put it together: asks of tpe, and the gather."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from consumer.optimization.learning import Batch
from consumer.optimization.shard_tables import shard_of_table
from consumer.ports.search_files import SearchFiles
from consumer.ports.searches import StepTask
from engine.search.parts import Part, Shard, failed_shard

Patiently = Callable[[Callable[[], Any]], Any]
"""Takes a step again and again while its store is away."""


@dataclass(frozen=True, slots=True)
class StoredShards:
    """What ranges have left, for those who put it together. Ranges lie within a fold, those of tpe within a batch."""

    files: SearchFiles
    task: StepTask
    patiently: Patiently
    starts: dict[int | None, int] = field(default_factory=dict)
    """Position of the first combination of each fold of tpe."""
    ends: set[int] = field(default_factory=set)

    def parts(self, wanted: Sequence[tuple[int | None, Part]]) -> Iterator[tuple[int | None, Shard]]:
        """Implements `engine.search.answer.Simulate`."""
        plan = self.task.step["plan"]
        for fold, part in wanted:
            start = (fold or 0) * plan["count"]
            if plan["learns"]:  # batches come one after the other, and so do folds
                start = self.starts.setdefault(fold, max(self.ends, default=0))
                self.ends.add(start + part.first + len(part))
            for shard in self._between(start, part):
                yield fold, shard

    def batch(self, batch: Batch) -> list[Shard] | None:
        """Implements `learning.Counted`."""
        part = Part(batch["number"], np.array(batch["rows"], np.float64))
        shards = list(self._between(batch["position"] - batch["number"], part))
        return shards if sum(len(shard.part) for shard in shards) == len(part) else None

    def _between(self, start: int, part: Part) -> Iterator[Shard]:
        first, last = start + part.first, start + part.first + len(part)
        for result in self.task.step["results"]:
            if result["first"] < first or result["last"] > last:
                continue
            if result["file"] is not None:
                yield shard_of_table(self._read(result["file"]))[1]
            else:
                code, _, message = result["error"].partition(": ")
                number = result["first"] - start
                row = part.rows[number - part.first : number - part.first + 1]
                yield failed_shard(number, row, 0, code, message)

    def _read(self, place: str) -> pl.DataFrame:
        table: pl.DataFrame = self.patiently(lambda: self.files.read_part(self.task.optimization_id, place))
        return table
