"""An engine pool without processes, for tests of what uses one: it runs a script in place and keeps the port's word."""

import asyncio
from collections.abc import Awaitable, Callable

from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.advice import Advise
from consumer.ports.outcomes import ChildDied, EngineOutcome, Stopped
from consumer.ports.searches import StepDied, StepOutcome, StepTask

Script = Callable[[EngineTask, Callable[[EngineProgress], None]], Awaitable[EngineOutcome]]
"""What the engine does for a task: may report progress, wait for events of the test, and answers how it ended.
An exception that it raises is the child's death."""


StepScript = Callable[[StepTask], Awaitable[StepOutcome]]
"""The same for steps of searches; an exception is the child's death at the step's first combination."""


class InMemoryEnginePool:
    """Implements `consumer.ports.EnginePool` and `StepPool`: `slots` scripts at a time, cancelled when told to stop."""

    def __init__(self, script: Script, slots: int = 1, step_script: StepScript | None = None) -> None:
        self._script = script
        self._step_script = step_script
        self._free = asyncio.Semaphore(slots)
        self._runs: set[asyncio.Task[EngineOutcome]] = set()
        self._closed = False
        self.tasks: list[EngineTask] = []
        """What was asked of the pool, in the order in which slots were free for it."""
        self.advisors: dict[int, Advise] = {}
        """By run: what a script may ask."""

    async def run(
        self,
        task: EngineTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None = None,
    ) -> EngineOutcome:
        """See EnginePool.run."""
        if stop.is_set or self._closed:
            return Stopped()
        if advise is not None:
            self.advisors[task.run_id] = advise
        running = asyncio.ensure_future(self._execute(task, on_progress, stop))
        self._runs.add(running)

        def cancel() -> None:
            running.cancel()

        stop.callbacks.append(cancel)
        try:
            await asyncio.wait([running])
        finally:
            running.cancel()
            self._runs.discard(running)
            stop.callbacks.remove(cancel)
        if stop.is_set or running.cancelled():
            return Stopped()
        return running.result()

    async def take_step(self, task: StepTask, stop: StopSignal) -> StepOutcome:
        """See StepPool.take_step."""
        if stop.is_set or self._closed or self._step_script is None:
            return Stopped()
        taking = asyncio.ensure_future(self._take_step(self._step_script, task))

        def cancel() -> None:
            taking.cancel()

        stop.callbacks.append(cancel)
        try:
            await asyncio.wait([taking])
        finally:
            taking.cancel()
            stop.callbacks.remove(cancel)
        return Stopped() if stop.is_set or taking.cancelled() else taking.result()

    async def _take_step(self, script: StepScript, task: StepTask) -> StepOutcome:
        async with self._free:
            try:
                return await script(task)
            except Exception as error:
                return StepDied(f"engine child died: {error!r}", task.step["first"])

    @property
    def is_ready(self) -> bool:
        return not self._closed

    async def close(self) -> None:
        """End all runs as Stopped."""
        self._closed = True
        for running in tuple(self._runs):
            running.cancel()
        if self._runs:
            await asyncio.wait(self._runs)

    async def _execute(
        self, task: EngineTask, on_progress: Callable[[EngineProgress], None], stop: StopSignal
    ) -> EngineOutcome:
        def report(progress: EngineProgress) -> None:
            if not stop.is_set:
                on_progress(progress)

        async with self._free:
            self.tasks.append(task)
            try:
                return await self._script(task, report)
            except Exception as error:
                return ChildDied(f"engine child died: {error!r}")
