"""One task inside an engine child: its progress, its stop, and what its errors mean."""

import select
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Final, Protocol

from consumer.adapters.engine_pool.marks import map_marks, write_mark
from consumer.adapters.engine_pool.messages import (
    Outdated,
    advice_from_message,
    ask_message,
    progress_message,
    storable_text,
)
from consumer.errors import ArtifactsUnavailable, Unavailable
from consumer.installed.strategy_code import CodeChanged
from consumer.ports import EngineTask
from consumer.ports.advice import AdviceFailed as AdviceRefused
from consumer.ports.advice import Question
from consumer.ports.outcomes import Completed, Failed, Stopped
from consumer.ports.searches import StepDone, StepTask
from engine.errors import AdviceFailed, EngineError, InvalidParams
from engine.expressions.document import KEY as RULES
from schemas.problems import FieldProblem

PROGRESS_SECONDS: Final = 0.05
"""At most one progress message in this time, the first and the last of a run aside. Of a run that is over sooner and
told nothing on its way there is none."""
LOOK_SECONDS: Final = 0.002
"""Between two looks for a stop."""


class TaskControl(Protocol):
    """What a task tells and asks while it runs. Its methods raise StopRequested when the worker wants it to end."""

    def report(self, bars_done: int, bars_total: int, simulated_time_us: int, equity: float, trades: int) -> None:
        """Tell the worker, unless it was told just now. Cheap: call it as often as there is something to tell."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait before something is tried again."""
        ...

    def ask(self, questions: Sequence[Question]) -> tuple[str | None, ...]:
        """Ask language models, and wait for what they say (ports.advice.Advice). Raises engine.errors.AdviceFailed."""
        ...

    def mark(self, number: int) -> None:
        """Of a search's step: begin this combination. The worker reads it should the process end or hang."""
        ...


Execute = Callable[[EngineTask | StepTask, TaskControl], Completed | StepDone]
"""What a program makes of the settings: the function that carries out tasks, one after the other."""


class Channel(Protocol):
    """The part of the child's connection that a task needs."""

    def fileno(self) -> int: ...
    def send(self, message: dict[str, Any], body: bytes = b"") -> None: ...
    def receive_now(self) -> list[dict[str, Any]]: ...
    def has_room(self) -> bool: ...


class StopRequested(BaseException):
    """The worker wants the run to end. A BaseException: nothing between the bars and here may take it for an error."""


def execute_task(
    execute: Execute, message: dict[str, Any], channel: Channel
) -> Completed | StepDone | Failed | Stopped | Outdated:
    """Carry out one `run` or `step` message, whatever happens in it."""
    task: EngineTask | StepTask
    if message["type"] == "step":
        task = StepTask(**{each.name: message[each.name] for each in fields(StepTask)})
    else:
        task = EngineTask(message["run_id"], message["epoch"], message["specification"])
    try:
        return execute(task, _Control(channel, message["task"], message.get("marks_fd")))
    except StopRequested:
        return Stopped()
    except CodeChanged:
        return Outdated()
    except BaseException as error:
        return failure_of(error)


def failure_of(error: BaseException) -> Failed:
    """Say what an error of a run means to the one who asked for it: code and message."""
    if any(isinstance(each, MemoryError) for each in _chain(error)):
        return Failed("out_of_memory", "the run asked for more memory than ENGINE_MEMORY_MB allows")
    match error:
        case InvalidParams():
            # A document's own fields are known by their names (preparation.strategy_verdict).
            where = "" if error.strategy_key == RULES else "strategy_params."
            details = tuple(FieldProblem(where + each.field, error.code, each.message) for each in error.problems)
            return Failed(error.code, str(error), details)
        case EngineError():
            return Failed(error.code, str(error))
        case ArtifactsUnavailable():
            return Failed("artifacts_unavailable", str(error))
        case Unavailable():
            return Failed("market_data_unavailable", str(error))
        case Exception():
            traceback.print_exception(error, file=sys.stderr)
            return Failed("internal_error", f"a defect of this program: {described(error)}")
        case _:
            # SystemExit and its kind: nothing here raises them, so the strategy did.
            return Failed("strategy_error", described(error))


def described(error: BaseException) -> str:
    """Type and message; a strategy's exception may fail at saying what it is."""
    try:
        text = str(error)
    except BaseException as unspeakable:
        text = f"(no message: {type(unspeakable).__name__})"
    return storable_text(f"{type(error).__name__}: {text}" if text else type(error).__name__)


class _Control:
    """TaskControl over the child's connection."""

    def __init__(self, channel: Channel, task_number: int, marks_fd: int | None = None) -> None:
        self._channel = channel
        self._task_number = task_number
        self._next_look = 0.0
        self._next_report = 0.0
        self._reported_bars = -1
        self._last_is_told_from = time.monotonic() + PROGRESS_SECONDS
        self._marks = map_marks(marks_fd) if marks_fd is not None else None
        self._asks = 0

    def mark(self, number: int) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._raise_if_stopped()
            self._next_look = now + LOOK_SECONDS
        if self._marks is not None:
            write_mark(self._marks, number)

    def report(self, bars_done: int, bars_total: int, simulated_time_us: int, equity: float, trades: int) -> None:
        now = time.monotonic()
        is_last = bars_done == bars_total
        if now >= self._next_look:
            self._raise_if_stopped()
            self._next_look = now + LOOK_SECONDS
        if bars_done in (0, self._reported_bars) or (now < self._next_report and not is_last):
            return
        if is_last and self._reported_bars < 0 and now < self._last_is_told_from:
            return  # the answer comes right behind it
        # A worker that stands still (SIGSTOP) does not read; the run goes on, later progress tells more anyway.
        if self._channel.has_room():
            figures = progress_message(self._task_number, bars_done, bars_total, simulated_time_us, equity, trades)
            self._channel.send(figures)
            self._reported_bars = bars_done
            self._next_report = now + PROGRESS_SECONDS

    def pause(self, seconds: float) -> None:
        self._raise_if_stopped()
        select.select([self._channel], [], [], seconds)
        self._raise_if_stopped()

    def ask(self, questions: Sequence[Question]) -> tuple[str | None, ...]:
        self._asks += 1
        self._channel.send(ask_message(self._task_number, self._asks, questions))
        while True:
            select.select([self._channel], [], [])
            for message in self._received():
                if message.get("type") == "advice" and message.get("ask") == self._asks:
                    advice = advice_from_message(message)
                    if isinstance(advice, AdviceRefused):
                        raise AdviceFailed(advice.code, advice.message)
                    return advice

    def _raise_if_stopped(self) -> None:
        self._received()

    def _received(self) -> list[dict[str, Any]]:
        """What came for this task. Raises StopRequested."""
        messages = [each for each in self._channel.receive_now() if each.get("task") == self._task_number]
        if any(each.get("type") == "stop" for each in messages):
            raise StopRequested
        return messages


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, each once."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__
