"""One engine child as its worker sees it: asked for runs, watched, stopped."""

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from consumer.adapters.engine_pool.child_process import ChildProcess, ChildStartFailed, ProcessEnd
from consumer.adapters.engine_pool.marks import Marks
from consumer.adapters.engine_pool.messages import (
    Outdated,
    UnreadableMessage,
    advice_message,
    outcome_from_message,
    progress_from_message,
    questions_from_message,
    run_message,
)
from consumer.adapters.engine_pool.process_tree import signal_group, tree_memory_bytes
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.advice import Advise, Question
from consumer.ports.outcomes import ChildDied, EngineOutcome, Failed, Stopped
from consumer.ports.searches import StepDied, StepDone, StepTask
from consumer.rules.budget import waited_too_long

__all__ = ["ChildStartFailed", "EngineChild"]

MODULE: Final = "consumer.adapters.engine_pool.child"
STOP_GRACE_SECONDS: Final = 0.2
"""For a child to stop by itself at the end of its chunk of bars."""
TERMINATE_GRACE_SECONDS: Final = 0.1
"""From SIGTERM to SIGKILL."""

_LONGEST_TICK_SECONDS: Final = 1.0
_ALLOCATION_FAILED: Final = (b"memory allocation of ", b"MemoryError", b"std::bad_alloc", b"Cannot allocate memory")


Answer = EngineOutcome | StepDone | StepDied | Outdated
"""What a child can answer, or its death for it."""


class _KillReason(StrEnum):
    STOP = "stop"
    TIMEOUT = "timeout"
    ADVICE_TIMEOUT = "advice timeout"
    MEMORY = "memory"
    RETIRED = "retired"


@dataclass(slots=True)
class _Run:
    """The task a child is at. elapsed_seconds, of a step those of its combination, do not count time in which the
    worker itself stood still.
    """

    task: EngineTask | StepTask
    on_progress: Callable[[EngineProgress], None]
    stop: StopSignal
    outcome: asyncio.Future[Answer]
    advise: Advise | None = None
    asking: asyncio.Task[None] | None = None
    """The ask that the run waits for."""
    waited_seconds: float = 0.0
    """For answers; no part of the elapsed ones."""
    elapsed_seconds: float = 0.0
    last_mark: int | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class EngineChild:
    """A warm interpreter that runs one task at a time.

    Making it spawns it (raises OSError); `wait_until_ready` comes next; when `ended` is done it is reaped.
    """

    def __init__(
        self,
        settings: EngineProcessSettings,
        pool_marker: str,
        executor: Executor,
        write_output: Callable[[bytes], None],
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._run: _Run | None = None
        self._task_number = 0
        self.last_bars: tuple[Any, Any] | None = None
        """Symbol and timeframe of the last task: its bars are still in the child's memory."""
        self._marks = Marks()
        self._process = ChildProcess(
            MODULE, settings, pool_marker, executor, write_output, self._on_message, (self._marks.fd,)
        )
        self._process.ended.add_done_callback(self._on_end)

    async def wait_until_ready(self) -> None:
        """Connect and wait until the child is warm. Raises ChildStartFailed; then kill it."""
        await self._process.wait_until_ready()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> asyncio.Future[ProcessEnd]:
        """How the process ended."""
        return self._process.ended

    @property
    def is_usable(self) -> bool:
        """Warm, idle, and not about to end."""
        return self._run is None and self._process.is_usable

    async def execute(
        self,
        task: EngineTask | StepTask,
        on_progress: Callable[[EngineProgress], None],
        stop: StopSignal,
        advise: Advise | None = None,
    ) -> Answer:
        """Run one task on this (usable) child. Outdated: it is replaced, ask another.

        Raises only what on_progress raises; cancelled, it kills the child.
        """
        if stop.is_set:
            return Stopped()
        run = _Run(task, on_progress, stop, self._loop.create_future(), advise)
        self._run = run
        self._task_number += 1
        self._process.begin_task()
        self.last_bars = (task.specification.get("symbol"), task.specification.get("timeframe"))
        stop.callbacks.append(self._on_stop)
        try:
            if isinstance(task, StepTask):
                self._marks.clear()
                step = {"type": "step", "marks_fd": self._marks.fd, **asdict(task)}
                self._process.send({**step, "task": self._task_number})
            else:
                self._process.send(run_message(task, self._task_number))
            outcome = await run.outcome
        except BaseException:
            self._process.kill(_KillReason.STOP)
            raise
        finally:
            self._run = None
            stop.callbacks.remove(self._on_stop)
            if run.asking is not None:
                run.asking.cancel()
            for timer in run.timers:
                timer.cancel()
        return Stopped() if stop.is_set else outcome

    def watch(self, tick_seconds: float) -> None:
        """Hold the run to its deadline and its memory; called every now and then while one runs."""
        run = self._run
        if run is None or self._process.kill_reason is not None:
            return
        # Capped: a worker that was stopped, or a machine that slept, must not fail the run it finds when it wakes.
        tick_seconds = min(tick_seconds, _LONGEST_TICK_SECONDS)
        if run.asking is not None:
            run.waited_seconds += tick_seconds
        else:
            run.elapsed_seconds += tick_seconds
        if isinstance(run.task, StepTask) and (mark := self._marks.read()) != run.last_mark:
            run.last_mark, run.elapsed_seconds = mark, 0.0
        if run.elapsed_seconds > self._settings.run_timeout_seconds:
            self._process.kill(_KillReason.TIMEOUT)
        elif run.waited_seconds > self._settings.advice_timeout_seconds:
            self._process.kill(_KillReason.ADVICE_TIMEOUT)
        elif tree_memory_bytes(self.pid) > self._settings.memory_mb * 2**20:
            self._process.kill(_KillReason.MEMORY)

    def kill(self) -> None:
        """End the child and all it started, at once; a run it is at ends Stopped. `ended` tells when."""
        self._process.kill(_KillReason.STOP if self._run is not None else _KillReason.RETIRED)

    def _on_message(self, message: dict[str, Any], body: bytes) -> None:
        run = self._run
        if run is None or run.outcome.done() or message.get("task") != self._task_number:
            return
        if message.get("type") == "progress":
            self._report(run, progress_from_message(message))
            return
        if message.get("type") == "ask":
            self._ask(run, *questions_from_message(message))
            return
        outcome = outcome_from_message(message, body)
        run.outcome.set_result(outcome)
        # The answer may come in the gap before a kill that is already under way; then the child is gone anyway.
        if message.get("retire") or isinstance(outcome, Outdated):
            self._process.kill(_KillReason.RETIRED)

    def _report(self, run: _Run, progress: EngineProgress) -> None:
        if run.stop.is_set:
            return
        try:
            run.on_progress(progress)
        except Exception as error:
            run.outcome.set_exception(error)

    def _ask(self, run: _Run, number: int, questions: tuple[Question, ...]) -> None:
        if run.advise is None or run.asking is not None:
            raise UnreadableMessage("a question that the run may not ask")
        if not run.stop.is_set:
            run.asking = self._loop.create_task(self._answer(run, run.advise, number, questions), name="advice")

    async def _answer(self, run: _Run, advise: Advise, number: int, questions: tuple[Question, ...]) -> None:
        try:
            advice = await advise(questions)
        except Exception as error:
            if not run.outcome.done():
                run.outcome.set_exception(error)
            return
        run.asking = None
        if run is self._run:
            self._process.send(advice_message(self._task_number, number, advice))

    def _on_stop(self) -> None:
        run = self._run
        if run is None:
            return
        if run.asking is not None:
            run.asking.cancel()
        self._process.send({"type": "stop", "task": self._task_number})
        run.timers.append(self._loop.call_later(STOP_GRACE_SECONDS, signal_group, self.pid, signal.SIGTERM))
        run.timers.append(
            self._loop.call_later(STOP_GRACE_SECONDS + TERMINATE_GRACE_SECONDS, self._process.kill, _KillReason.STOP)
        )

    def _on_end(self, ended: asyncio.Future[ProcessEnd]) -> None:
        if self._run is not None and not self._run.outcome.done():
            outcome = self._outcome_of_death(ended.result())
            of_step = isinstance(self._run.task, StepTask)
            self._run.outcome.set_result(_of_step(outcome, self._marks.read()) if of_step else outcome)
        self._marks.close()

    def _outcome_of_death(self, end: ProcessEnd) -> Failed | ChildDied | Stopped:
        match self._process.kill_reason:
            case _KillReason.STOP:
                return Stopped()
            case _KillReason.TIMEOUT:
                limit = self._settings.run_timeout_seconds
                return Failed("timeout", f"the run took longer than RUN_TIMEOUT_SECONDS, {limit:g} s")
            case _KillReason.ADVICE_TIMEOUT:
                return Failed("timeout", waited_too_long(self._settings.advice_timeout_seconds))
            case _KillReason.MEMORY:
                return Failed(
                    "out_of_memory", f"the run needed more than ENGINE_MEMORY_MB, {self._settings.memory_mb} MB"
                )
            case None if end.status == -signal.SIGABRT and any(sign in end.output_tail for sign in _ALLOCATION_FAILED):
                return Failed("out_of_memory", "the run asked for more memory than ENGINE_MEMORY_MB allows")
            case _:  # by itself, or for what it said
                return ChildDied(end.in_words())


def _of_step(outcome: Failed | ChildDied | Stopped, at: int | None) -> StepDied | Stopped:
    """The child's end under a step: at which combination, and what that would fail with."""
    match outcome:
        case Failed():
            return StepDied(outcome.message, at, outcome, is_final=outcome.code == "timeout")
        case ChildDied(description):
            return StepDied(description, at)
        case Stopped():
            return outcome
