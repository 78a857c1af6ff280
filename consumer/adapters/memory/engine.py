"""An engine pool without processes, for tests of what uses one: it runs a script in place and keeps the port's word."""

import asyncio
from collections.abc import Awaitable, Callable

from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import ChildDied, EngineOutcome, Stopped

Script = Callable[[EngineTask, Callable[[EngineProgress], None]], Awaitable[EngineOutcome]]
"""What the engine does for a task: may report progress, wait for events of the test, and answers how it ended.
An exception that it raises is the child's death."""


class InMemoryEnginePool:
    """Implements `consumer.ports.EnginePool`: `slots` scripts at a time, each cancelled when told to stop."""

    def __init__(self, script: Script, slots: int = 1) -> None:
        self._script = script
        self._free = asyncio.Semaphore(slots)
        self._runs: set[asyncio.Task[EngineOutcome]] = set()
        self._closed = False
        self.tasks: list[EngineTask] = []
        """What was asked of the pool, in the order in which slots were free for it."""

    async def run(
        self, task: EngineTask, on_progress: Callable[[EngineProgress], None], stop: StopSignal
    ) -> EngineOutcome:
        """See EnginePool.run."""
        if stop.is_set or self._closed:
            return Stopped()
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
