"""Watching a simulation: progress between chunks of bars, and the word to stop."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.prepared import PreparedRun
from engine.simulation import Simulation

CHUNK_BARS = 65_536
"""Bars between two looks at progress and cancel; about half a millisecond."""
BARS_A_LOOK = 16
"""The same where the strategy is asked bar by bar and may take its time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a simulation stands after a chunk. simulated_time_us: close of the last bar done.

    While the second simulation of an ambiguous run goes on, bars_done stays at bars_total.
    """

    bars_done: int
    bars_total: int
    simulated_time_us: int
    balance: float
    equity: float
    trades: int


OnProgress = Callable[[Progress], bool | None]
"""Called between chunks; returning False stops the run, anything else lets it go on."""


class Cancelled(Exception):
    """The run was stopped by its on_progress callback; there is no result."""


class Watch:
    """Reports progress and listens for a stop."""

    def __init__(self, run: PreparedRun, on_progress: OnProgress | None, chunk_bars: int) -> None:
        if chunk_bars < 1:
            raise ValueError("chunk_bars must be at least 1")
        self._run = run
        self._on_progress = on_progress
        self.chunk_bars = chunk_bars if on_progress is not None or chunk_bars != CHUNK_BARS else run.bar_count
        self.bars_a_look = min(BARS_A_LOOK, chunk_bars)
        self.first_pass = True

    def look(self, simulation: Simulation, bars_done: int | None = None) -> None:
        """Call on_progress, if there is one. Raises Cancelled when it says so."""
        if self._on_progress is None:
            return
        done = simulation.bars_done if bars_done is None else bars_done
        shown = done if self.first_pass else self._run.bar_count
        newest_us = int(self._run.close_time_us[done - 1] if done else self._run.time_us[0])
        equity = simulation.equity.item(done - 1) if done else simulation.balance
        progress = Progress(shown, self._run.bar_count, newest_us, simulation.balance, equity, simulation.rows)
        if self._on_progress(progress) is False:
            raise Cancelled
