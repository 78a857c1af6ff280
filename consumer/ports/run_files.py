"""What a run's engine child left in the artefact store, for whoever tells of the run."""

from typing import Protocol

import polars as pl


class RunFiles(Protocol):
    """The tables of a run's attempt. Raises ArtifactsUnavailable, also for one that is not there (any more)."""

    def read_equity(self, run_id: int, epoch: int) -> pl.DataFrame:
        """Columns time, balance and equity, a row a bar, in order of time."""
        ...

    def read_ledger(self, run_id: int, epoch: int) -> pl.DataFrame:
        """Every booked item: time, position_id, kind, amount, balance."""
        ...
