"""Whose a run is: who may write its row, its trades and its events. Its owner is the claim of its execution's epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumer.ports import Claim, RunFacts


@dataclass(frozen=True, slots=True)
class Standing:
    """A run's execution as whoever may end it has read it, with its row of backtest_executions locked."""

    facts: RunFacts
    state: str
    epoch: int
    attempts: int
    deaths: int
    sequence: int
    """Of the last event made for the run."""
    progress_pct: int
    cancel_noted: str | None
    """Why its end was asked for; None: it was not."""

    def is_owned_by(self, claim: Claim) -> bool:
        """Whether the claim still is the right to the run: every write under it depends on this."""
        return self.epoch == claim.epoch and self.state == "running"

    def was_ended_by(self, claim: Claim) -> bool:
        """Whether the run ended under this claim: by its owner's own finish, whose answer was lost."""
        return self.epoch == claim.epoch and self.state not in {"queued", "running"}


def standing_of(row: Mapping[str, Any], facts: RunFacts) -> Standing:
    """row: columns of backtest_executions; its cancel_reason includes cancels that are kept and not noted there."""
    return Standing(
        facts=facts,
        state=row["state"],
        epoch=row["epoch"],
        attempts=row["attempts"],
        deaths=row["deaths"],
        sequence=row["sequence"],
        progress_pct=row["progress_pct"],
        cancel_noted=row["cancel_reason"],
    )
