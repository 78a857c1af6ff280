"""The engine pool: runs go to warm child processes, one at a time each; a dying child never takes the worker down.

`EngineProcesses` hands tasks to free children and keeps each slot filled; `engine_child_handle` is the worker's side of
one child, `engine_child` the child itself, `engine_messages` what they say to each other, `engine_program` what a
child does for a task, `engine_guardian` clears up after a worker that was killed.
"""

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

import structlog

from consumer.adapters.engine_pool import guardian as engine_guardian
from consumer.adapters.engine_pool.child_handle import Answer, EngineChild
from consumer.adapters.engine_pool.messages import Outdated
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.advice import Advise
from consumer.ports.outcomes import ChildDied, Completed, EngineOutcome, Failed, Stopped
from consumer.ports.searches import StepDied, StepDone, StepOutcome, StepTask

__all__ = ["EngineProcessSettings", "EngineProcesses"]

WATCH_SECONDS: Final = 0.1
START_ATTEMPTS: Final = 3
"""Failed starts of a slot in a row, after which waiting runs are told instead of kept waiting."""
FRESH_ATTEMPTS: Final = 3
"""Of a run whose strategy is edited while it is imported."""
LONGEST_BACKOFF_SECONDS: Final = 10.0
_FIRST_BACKOFF_SECONDS: Final = 0.1

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def write_to_stderr(output: bytes) -> None:
    """What strategies print goes where the worker logs."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(output.decode(errors="replace"))
        sys.stderr.flush()


class EngineProcesses:
    """Implements `consumer.ports.EnginePool` with processes. Use it as an async context, in a thread that outlives it.

    Children start in parallel, in the background: entering the context does not wait for them, `run` waits for the
    first that is free. Where no child can be started, waiting runs are Stopped after START_ATTEMPTS.
    """

    def __init__(
        self, settings: EngineProcessSettings, write_output: Callable[[bytes], None] = write_to_stderr
    ) -> None:
        self._settings = settings
        self._write_output = write_output
        self._children: set[EngineChild] = set()
        self._idle: list[EngineChild] = []
        self._waiting: deque[asyncio.Future[EngineChild | Stopped]] = deque()
        self._busy: set[EngineChild] = set()
        self._slots: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._closing = False
        self._marker = uuid.uuid4().hex
        self._guardian: subprocess.Popen[bytes] | None = None
        self._executor = ThreadPoolExecutor(max_workers=max(2, settings.slots), thread_name_prefix="engine-kill")

    async def __aenter__(self) -> Self:
        self._guardian = start_guardian(self._marker)
        for number in range(self._settings.slots):
            self._slots.append(asyncio.create_task(self._keep_slot(), name=f"engine slot {number}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(
        self,
        task: EngineTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None = None,
    ) -> EngineOutcome:
        """See EnginePool.run. Cancelled, it kills the child that was at the task."""
        outcome = await self._run_on_current_code(task, on_progress, stop, advise)
        if isinstance(outcome, StepDone | StepDied):
            return ChildDied("engine child answered a run with a step of a search")
        return outcome

    async def take_step(self, task: StepTask, stop: StopSignal) -> StepOutcome:
        """See StepPool.take_step. Cancelled, it kills the child that was at the task."""
        outcome = await self._run_on_current_code(task, _unheard, stop)
        if isinstance(outcome, Completed | ChildDied):
            return StepDied("engine child answered a step of a search with a run")
        return outcome

    async def _run_on_current_code(
        self,
        task: EngineTask | StepTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None = None,
    ) -> EngineOutcome | StepDone | StepDied:
        # Each of the children may have imported code that was changed since; the next one is fresh.
        for _ in range(self._settings.slots + FRESH_ATTEMPTS):
            outcome = await self._run_once(task, on_progress, stop, advise)
            if not isinstance(outcome, Outdated):
                return outcome
        return Failed("strategy_error", "the strategy's code changes each time it is imported")

    async def _run_once(
        self,
        task: EngineTask | StepTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None,
    ) -> Answer:
        child = await self._take(task, stop)
        if not isinstance(child, EngineChild):
            return child
        self._busy.add(child)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="engine watch")
        try:
            return await child.execute(task, on_progress, stop, advise)
        finally:
            self._busy.discard(child)
            self._offer(child)

    async def close(self) -> None:
        """Kill all children; runs under way and waiting end Stopped. Calling it again does nothing."""
        self._closing = True
        while self._waiting:
            _settle(self._waiting.popleft())
        for slot in self._slots:
            slot.cancel()
        for child in self._children:
            child.kill()
        await asyncio.gather(*self._slots, return_exceptions=True)
        if self._children:
            await asyncio.wait([child.ended for child in self._children])
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._executor.shutdown(wait=False)
        if self._guardian is not None:
            end_guardian(self._guardian)
            self._guardian = None

    @property
    def is_ready(self) -> bool:
        """See EnginePool.is_ready."""
        return bool(self._busy) or any(child.is_usable for child in self._idle)

    @property
    def child_pids(self) -> tuple[int, ...]:
        """Processes that are up: starting, idle and busy ones."""
        return tuple(child.pid for child in self._children)

    async def _take(self, task: EngineTask | StepTask, stop: StopSignal) -> EngineChild | Stopped:
        """Wait for a free child, longest waiting first."""
        if stop.is_set or self._closing:
            return Stopped()
        self._idle = [child for child in self._idle if child.is_usable]
        if self._idle:
            # One that holds the bars already, else the one used last: its memory is the warmest.
            wanted = (task.specification.get("symbol"), task.specification.get("timeframe"))
            best = max(range(len(self._idle)), key=lambda place: (self._idle[place].last_bars == wanted, place))
            return self._idle.pop(best)
        turn: asyncio.Future[EngineChild | Stopped] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)

        def give_up() -> None:
            _settle(turn)

        stop.callbacks.append(give_up)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and isinstance(turn.result(), EngineChild):
                self._offer(turn.result())
            raise
        finally:
            stop.callbacks.remove(give_up)

    def _offer(self, child: EngineChild | Stopped) -> None:
        """Give a free child to whoever waits longest, or keep it."""
        if not isinstance(child, EngineChild) or not child.is_usable:
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(child)
                return
        self._idle.append(child)

    async def _keep_slot(self) -> None:
        """Keep one child up, replacing it when it ends."""
        failures = 0
        while not self._closing:
            try:
                child = await self._start_child()
            except Exception as error:  # whatever it is, runs must be told rather than wait for ever
                failures += 1
                self._tell_of_failed_start(failures, error)
                await asyncio.sleep(min(_FIRST_BACKOFF_SECONDS * 2**failures, LONGEST_BACKOFF_SECONDS))
                continue
            failures = 0
            self._offer(child)
            end = await asyncio.shield(child.ended)
            log.info("engine_child_ended", pid=child.pid, how=end.in_words())

    async def _start_child(self) -> EngineChild:
        child = EngineChild(self._settings, self._marker, self._executor, self._write_output)
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._children.discard(child))
        try:
            await child.wait_until_ready()
        except BaseException:
            child.kill()
            raise
        return child

    def _tell_of_failed_start(self, failures: int, error: Exception) -> None:
        log.error("engine_child_start_failed", failures=failures, error=str(error))
        if failures < START_ATTEMPTS or self._busy or self._idle:
            return
        while self._waiting:
            _settle(self._waiting.popleft())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        last_tick = loop.time()
        while self._busy:
            await asyncio.sleep(WATCH_SECONDS)
            now = loop.time()
            for child in tuple(self._busy):
                child.watch(now - last_tick)
            last_tick = now
        self._watcher = None


def _unheard(_progress: EngineProgress) -> None:
    """A step tells of no bars."""


def _settle(turn: "asyncio.Future[EngineChild | Stopped]") -> None:
    if not turn.done():
        turn.set_result(Stopped())


def start_guardian(marker: str) -> "subprocess.Popen[bytes]":
    assert engine_guardian.__file__ is not None
    return subprocess.Popen(
        [sys.executable, "-I", "-S", engine_guardian.__file__, marker],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={},
    )


def end_guardian(guardian: "subprocess.Popen[bytes]") -> None:
    guardian.kill()
    guardian.wait()
    if guardian.stdin is not None:
        guardian.stdin.close()
