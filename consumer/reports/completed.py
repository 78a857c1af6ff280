"""A run that has results, and the way to its tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumer.errors import FilesGone, NoSuchRun, NotCompleted
from consumer.ports.history import History, Row


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """row: as History tells it; specification: what it executed, {} where nobody recorded it."""

    row: Row
    specification: Mapping[str, Any]

    @property
    def run_id(self) -> int:
        run_id: int = self.row["id"]
        return run_id

    @property
    def epoch(self) -> int:
        """Of the attempt that completed. Raises FilesGone for a run that no worker of this service completed."""
        epoch: int | None = self.row["epoch"]
        if epoch is None:
            raise FilesGone(f"what run {self.run_id} left")
        return epoch

    @property
    def bars_place(self) -> str:
        """Where its bars lie. Raises FilesGone where the row names none any more."""
        place: str | None = self.row["data_file_path"]
        if place is None:
            raise FilesGone(f"the file of the bars of run {self.run_id}")
        return place

    @property
    def deposit(self) -> float:
        deposit: float = self.row["initial_balance"]
        return deposit


async def completed(history: History, run_id: int) -> CompletedRun:
    """Raises NoSuchRun, and NotCompleted for one that has no results."""
    row = await history.run(run_id)
    if row is None:
        raise NoSuchRun(run_id)
    if row["status"] != "completed":
        raise NotCompleted(run_id, row["status"])
    return CompletedRun(row, await history.specification_of(run_id) or {})
