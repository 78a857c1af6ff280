"""The engine: processes that execute a task."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from consumer.ports.advice import Advise
from consumer.ports.outcomes import EngineOutcome


@dataclass(frozen=True, slots=True)
class EngineTask:
    """What an engine child needs to run one claim, and nothing it could not be sent by pipe."""

    run_id: int
    epoch: int
    specification: dict[str, Any]
    optimization_id: int | None = None
    """Of the search whose best combination this is: the child is at the search, and bears its title."""


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """Between two chunks: bars done of total, simulated time, equity, trades so far."""

    bars_done: int
    bars_total: int
    simulated_time: datetime
    equity: float
    trades: int


@dataclass(slots=True)
class StopSignal:
    """Tells an engine run to stop. Setting it twice is the same as once."""

    callbacks: list[Callable[[], None]] = field(default_factory=list)
    is_set: bool = False

    def set(self) -> None:
        if not self.is_set:
            self.is_set = True
            for callback in self.callbacks:
                callback()


class EnginePool(Protocol):
    """Engine processes: spawned, warm, one run at a time each, with a memory limit and a deadline.

    A dying child never takes the worker down. A run that is told to stop uses no CPU half a second later,
    whatever its strategy does. Children end within 2 s of the worker's death, however it died.
    """

    async def run(
        self,
        task: EngineTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None = None,
    ) -> EngineOutcome:
        """Execute one task on a free child, waiting for one. Never raises for what the child does.

        advise: answers the run's questions to a language model; None: it has none to ask. It is cancelled when the run
        stops; time in which the run waits for it has a limit of its own.
        Stopped where no child can be started: that is the worker's trouble, and no death of the run.
        """
        ...

    @property
    def is_ready(self) -> bool:
        """Whether a child is up. False: a claim would only wait, and another worker may have a free slot."""
        ...

    async def close(self) -> None:
        """Stop all children, at once."""
        ...
