"""One checker as its worker sees it: asked one check at a time, held to its time and memory."""

import asyncio
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from consumer.adapters.engine_pool.child_process import ChildProcess, ProcessEnd
from consumer.adapters.engine_pool.messages import UnreadableMessage, problems_from_message
from consumer.adapters.engine_pool.process_tree import tree_memory_bytes
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import StrategyCheck, Verdict
from consumer.preparation.strategy_verdict import unchecked_params, unknown_strategy
from schemas.problems import FieldProblem

MODULE: Final = "consumer.adapters.engine_pool.checker"
_LONGEST_TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """The strategy's code took too long, or took its process down."""

    problem: FieldProblem
    at_import: bool


class AskAnother(StrEnum):
    """There is no answer, and the check is not to blame."""

    CHANGED = "changed"
    """The code is not what this process imported."""
    KILLED = "killed"
    """Somebody killed the process: the system without memory, a person, or the pool that closes."""


Answer = Verdict | Trouble | AskAnother


class _KillReason(StrEnum):
    TIMEOUT = "timeout"
    MEMORY = "memory"
    RETIRED = "retired"


@dataclass(slots=True)
class _Task:
    check: StrategyCheck
    answer: "asyncio.Future[Answer]"
    is_imported: bool = False
    elapsed_seconds: float = 0.0
    """Without time in which the worker itself stood still."""


class Checker:
    """A warm interpreter for the code of one package. package: '' until the first check."""

    def __init__(
        self,
        settings: EngineProcessSettings,
        load_seconds: float,
        pool_marker: str,
        executor: Executor,
        write_output: Callable[[bytes], None],
        package: str,
    ) -> None:
        self._settings = settings
        self._load_seconds = load_seconds
        self._loop = asyncio.get_running_loop()
        self._task: _Task | None = None
        self._task_number = 0
        self.package = package
        self.free_since = time.monotonic()
        """Monotonic seconds."""
        self.process = ChildProcess(MODULE, settings, pool_marker, executor, write_output, self._on_message)
        self.process.ended.add_done_callback(self._on_end)

    @property
    def is_free(self) -> bool:
        """Warm, idle, and not about to end."""
        return self._task is None and self.process.is_usable

    @property
    def busy_with(self) -> str | None:
        """The strategy that is being asked."""
        return self._task.check.key if self._task is not None else None

    @property
    def busy_seconds(self) -> float:
        """At one check; 0 while it is at none."""
        return self._task.elapsed_seconds if self._task is not None else 0.0

    def ask(self, check: StrategyCheck) -> "asyncio.Future[Answer]":
        """Ask this (free) checker."""
        task = self._task = _Task(check, self._loop.create_future())
        self._task_number += 1
        self.process.begin_task()
        asked = {"key": check.key, "params": check.params, "space": check.space}
        self.process.send({"type": "check", "task": self._task_number, **asked})
        return task.answer

    def watch(self, tick_seconds: float) -> None:
        """Hold the check to its time and memory; called every now and then while there is one."""
        task = self._task
        if task is None:
            return
        # Capped: a worker that was stopped, or a machine that slept, must not blame the check it finds when it wakes.
        task.elapsed_seconds += min(tick_seconds, _LONGEST_TICK_SECONDS)
        if task.elapsed_seconds >= self._load_seconds:
            self.process.kill(_KillReason.TIMEOUT)
        elif tree_memory_bytes(self.process.pid) > self._settings.memory_mb * 2**20:
            self.process.kill(_KillReason.MEMORY)

    def kill(self) -> None:
        """End it at once; a check it is at wants another one."""
        self.process.kill(_KillReason.RETIRED)

    def _on_message(self, message: dict[str, Any], _: bytes) -> None:
        task = self._task
        if task is None or message.get("task") != self._task_number:
            return
        match message.get("type"):
            case "imported":
                task.is_imported = True
            case "changed":
                self._answer(task, AskAnother.CHANGED)
                self.kill()
            case "verdict":
                problems = problems_from_message(message)
                self._answer(task, problems)
                if any(problem.code == "unknown_strategy" for problem in problems):
                    self.kill()  # parts of the module that failed stay imported
            case other:
                raise UnreadableMessage(f"there is no message {other!r}")

    def _on_end(self, ended: "asyncio.Future[ProcessEnd]") -> None:
        task = self._task
        if task is not None:
            self._answer(task, self._answer_of_death(task, ended.result()))

    def _answer(self, task: _Task, answer: Answer) -> None:
        self._task = None
        self.free_since = time.monotonic()
        if not task.answer.cancelled():
            task.answer.set_result(answer)

    def _answer_of_death(self, task: _Task, end: ProcessEnd) -> Trouble | AskAnother:
        match self.process.kill_reason:
            case _KillReason.RETIRED:
                return AskAnother.KILLED
            case _KillReason.TIMEOUT:
                step = "check" if task.is_imported else "import"
                how = f"took longer than {self._load_seconds:g} s to {step}"
            case _KillReason.MEMORY:
                how = f"needed more than ENGINE_MEMORY_MB, {self._settings.memory_mb} MB"
            case _ if end.fault:
                how = end.fault
            case _ if end.status == -signal.SIGKILL:
                return AskAnother.KILLED
            case _ if end.status < 0:
                how = f"ended its process by {_signal_name(-end.status)}"
            case _:
                how = f"ended its process with exit status {end.status}"
        if task.is_imported:
            return Trouble(unchecked_params(task.check.key, how), at_import=False)
        return Trouble(unknown_strategy(f"names strategy {task.check.key!r}, whose code {how}"), at_import=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
