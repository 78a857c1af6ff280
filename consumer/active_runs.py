"""The runs that this worker holds right now, shared by the coroutines that execute, report, cancel and drain them."""

from dataclasses import dataclass, field
from enum import StrEnum

from consumer.advice.run_advice import RunAdvice
from consumer.ports import Claim, EngineProgress, StopSignal
from consumer.ports.advice import AdviceFigures


class StopWhy(StrEnum):
    """Why a running engine was told to stop."""

    CANCELLED = "cancelled"
    FENCED = "fenced"
    DRAINED = "drained"


@dataclass(slots=True)
class ActiveRun:
    """One claimed run and what is known of its way."""

    claim: Claim
    claimed_at: float
    """Monotonic seconds."""
    stop: StopSignal = field(default_factory=StopSignal)
    stop_why: StopWhy | None = None
    cancel_reason: str = ""
    progress: EngineProgress | None = None
    """Newest that the child told."""
    reported_bars: int = -1
    """bars_done of the last progress event."""
    sequence: int = 0
    """Of the last event made for the run."""
    advice: RunAdvice | None = None
    """Who asks language models for it; None: nobody does."""
    reported_llm: AdviceFigures | None = None
    """Of the last progress event."""

    def __post_init__(self) -> None:
        self.sequence = self.claim.sequence

    def note_progress(self, progress: EngineProgress) -> None:
        self.progress = progress

    @property
    def llm(self) -> AdviceFigures | None:
        """Of its calls so far; None: no model decides."""
        return self.advice.figures() if self.advice is not None else None

    def cancel(self, reason: str) -> None:
        self._stop(StopWhy.CANCELLED, reason)

    def fence(self) -> None:
        self._stop(StopWhy.FENCED)

    def drain(self) -> None:
        self._stop(StopWhy.DRAINED)

    def _stop(self, why: StopWhy, reason: str = "") -> None:
        """The first reason counts, but for a fence, which outranks all: a fenced worker writes nothing."""
        if self.stop_why is None or why is StopWhy.FENCED:
            self.stop_why, self.cancel_reason = why, reason
        self.stop.set()


ActiveRuns = dict[int, ActiveRun]
"""By run id."""
