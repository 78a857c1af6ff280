"""One engine child as its worker sees it: started, asked, watched, killed, reaped."""

import asyncio
import contextlib
import os
import signal
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, assert_never, cast

from consumer.adapters.engine_pool.messages import (
    FrameReader,
    UnreadableMessage,
    frame,
    outcome_from_message,
    progress_from_message,
    storable_text,
)
from consumer.adapters.engine_pool.process_tree import kill_tree, signal_group, tree_memory_bytes
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.spawn import spawn_child
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import ChildDied, EngineOutcome, Failed, Stopped

STOP_GRACE_SECONDS: Final = 0.2
"""For a child to stop by itself at the end of its chunk of bars."""
TERMINATE_GRACE_SECONDS: Final = 0.1
"""From SIGTERM to SIGKILL."""
OUTPUT_PAUSE_SECONDS: Final = 0.02
"""Between two reads of what a strategy prints: 3 MB a second at most reach the worker's stderr."""

_OUTPUT_TAIL_BYTES: Final = 4096
_OUTPUT_READ_BYTES: Final = 65_536
_LONGEST_TICK_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05
_ALLOCATION_FAILED: Final = (b"memory allocation of ", b"MemoryError", b"std::bad_alloc", b"Cannot allocate memory")


class ChildStartFailed(Exception):
    """The child ended, or was not ready in time; the message says how."""


class _KillReason(StrEnum):
    STOP = "stop"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    BROKEN_PROTOCOL = "broken_protocol"
    RETIRED = "retired"


@dataclass(slots=True)
class _Run:
    """The task a child is at. elapsed_seconds does not count time in which the worker itself stood still."""

    task: EngineTask
    on_progress: Callable[[EngineProgress], None]
    stop: StopSignal
    outcome: asyncio.Future[EngineOutcome]
    elapsed_seconds: float = 0.0
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class EngineChild(asyncio.Protocol):
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
        self._executor = executor
        self._write_output = write_output
        self._loop = asyncio.get_running_loop()
        self._marker = f"{pool_marker}.{uuid.uuid4().hex}"
        self._reader = FrameReader()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._run: _Run | None = None
        self._task_number = 0
        self._kill_reason: _KillReason | None = None
        self._killing: asyncio.Future[None] | None = None
        self._fault = ""
        self._output_tail = b""
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """How the process ended, in words."""
        self.last_bars: tuple[Any, Any] | None = None
        """Symbol and timeframe of the last task: its bars are still in the child's memory."""

        own_socket, child_socket = socket.socketpair()
        output_read, output_write = os.pipe()
        with child_socket:
            try:
                self._process = spawn_child(settings, child_socket.fileno(), output_write, self._marker)
            except BaseException:
                own_socket.close()
                os.close(output_read)
                raise
            finally:
                os.close(output_write)
        self._output_fd = output_read
        os.set_blocking(output_read, False)
        self._loop.add_reader(output_read, self._on_output)
        self._socket = own_socket
        self._transport: asyncio.Transport | None = None
        self._reaper = self._loop.create_task(self._reap(), name=f"reap engine child {self.pid}")

    async def wait_until_ready(self) -> None:
        """Connect and wait until the child is warm. Raises ChildStartFailed; then kill it."""
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        self._send({"type": "settings", "settings": asdict(self._settings)})
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), self._settings.start_timeout_seconds)
        except TimeoutError:
            raise ChildStartFailed(f"not ready within {self._settings.start_timeout_seconds:g} s") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Warm, idle, and not about to end."""
        return self._run is None and self._kill_reason is None and not self.ended.done() and self._ready.done()

    async def execute(
        self, task: EngineTask, on_progress: Callable[[EngineProgress], None], stop: StopSignal
    ) -> EngineOutcome:
        """Run one task on this (usable) child. Raises only what on_progress raises; cancelled, it kills the child."""
        if stop.is_set:
            return Stopped()
        run = _Run(task, on_progress, stop, self._loop.create_future())
        self._run = run
        self._task_number += 1
        self._output_tail = b""
        self.last_bars = (task.specification.get("symbol"), task.specification.get("timeframe"))
        stop.callbacks.append(self._on_stop)
        try:
            self._send({"type": "run", "task": self._task_number, **asdict(task)})
            outcome = await run.outcome
        except BaseException:
            self._kill(_KillReason.STOP)
            raise
        finally:
            self._run = None
            stop.callbacks.remove(self._on_stop)
            for timer in run.timers:
                timer.cancel()
        return Stopped() if stop.is_set else outcome

    def watch(self, tick_seconds: float) -> None:
        """Hold the run to its deadline and its memory; called every now and then while one runs."""
        run = self._run
        if run is None or self._kill_reason is not None:
            return
        # Capped: a worker that was stopped, or a machine that slept, must not fail the run it finds when it wakes.
        run.elapsed_seconds += min(tick_seconds, _LONGEST_TICK_SECONDS)
        if run.elapsed_seconds > self._settings.run_timeout_seconds:
            self._kill(_KillReason.TIMEOUT)
        elif tree_memory_bytes(self.pid) > self._settings.memory_mb * 2**20:
            self._kill(_KillReason.MEMORY)

    def kill(self) -> None:
        """End the child and all it started, at once; a run it is at ends Stopped. `ended` tells when."""
        self._kill(_KillReason.STOP if self._run is not None else _KillReason.RETIRED)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message, body in self._reader.feed(data):
                self._on_message(message, body)
        except UnreadableMessage as error:
            self._fault = f"broke the protocol ({storable_text(str(error))[:300]})"
            self._kill(_KillReason.BROKEN_PROTOCOL)

    def connection_lost(self, exc: Exception | None) -> None:
        # Mostly the first sign of a death: files are closed before a process counts as ended. Else it let go of its
        # socket, and can answer nothing any more.
        self._transport = None
        if self._kill_reason is None and not self.ended.done():
            self._loop.call_later(_POLL_SECONDS, self._kill_if_disconnected)

    # --- inside -------------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(frame(message))

    def _on_message(self, message: dict[str, Any], body: bytes) -> None:
        if message.get("type") == "ready" and not self._ready.done():
            self._ready.set_result(None)
            return
        run = self._run
        if run is None or run.outcome.done() or message.get("task") != self._task_number:
            return
        if message.get("type") == "progress":
            self._report(run, progress_from_message(message))
            return
        outcome = outcome_from_message(message, body)
        run.outcome.set_result(outcome)
        # The answer may come in the gap before a kill that is already under way; then the child is gone anyway.
        if message.get("retire"):
            self._kill(_KillReason.RETIRED)

    def _report(self, run: _Run, progress: EngineProgress) -> None:
        if run.stop.is_set:
            return
        try:
            run.on_progress(progress)
        except Exception as error:
            run.outcome.set_exception(error)

    def _on_stop(self) -> None:
        run = self._run
        if run is None:
            return
        self._send({"type": "stop", "task": self._task_number})
        run.timers.append(self._loop.call_later(STOP_GRACE_SECONDS, signal_group, self.pid, signal.SIGTERM))
        run.timers.append(
            self._loop.call_later(STOP_GRACE_SECONDS + TERMINATE_GRACE_SECONDS, self._kill, _KillReason.STOP)
        )

    def _kill(self, reason: _KillReason) -> None:
        if self._kill_reason is not None or self.ended.done():
            return
        self._kill_reason = reason
        # Freezing ends all CPU use now and takes no look through the process table; who is frozen cannot hide either.
        signal_group(self.pid, signal.SIGSTOP)
        self._killing = self._loop.run_in_executor(self._executor, kill_tree, self.pid, self._marker)

    def _kill_if_disconnected(self) -> None:
        if self._kill_reason is None and not self.ended.done() and not self._has_exited():
            self._fault = "closed its connection to the worker"
            self._kill(_KillReason.BROKEN_PROTOCOL)

    async def _reap(self) -> None:
        """Wait for the process's end, clear away what it leaves, and settle what waits for it."""
        await self._exited()
        if self._killing is None and (self._run is not None or not self._ready.done()):
            # It died under a run: what the strategy started may live on. Not yet reaped, so the pid is still its own.
            self._kill_reason = self._kill_reason or _KillReason.RETIRED
            self._killing = self._loop.run_in_executor(self._executor, kill_tree, self.pid, self._marker)
            died_by_itself = True
        else:
            died_by_itself = False
        if self._killing is not None:
            await self._killing
        status = self._process.wait()
        self._on_output(last=True)
        self._close()
        description = _describe_end(status, self._fault, self._output_tail)
        self.ended.set_result(description)
        if not self._ready.done():
            self._ready.set_exception(ChildStartFailed(description))
            self._ready.exception()
        if self._run is not None and not self._run.outcome.done():
            reason = None if died_by_itself else self._kill_reason
            self._run.outcome.set_result(self._outcome_of_death(reason, status, description))

    async def _exited(self) -> None:
        """Wait until the process has ended, without reaping it."""
        if not hasattr(os, "pidfd_open"):
            while not self._has_exited():  # noqa: ASYNC110  # nothing tells of it on this system
                await asyncio.sleep(_POLL_SECONDS)
            return
        descriptor = os.pidfd_open(self.pid)
        exited = asyncio.Event()
        self._loop.add_reader(descriptor, exited.set)
        try:
            await exited.wait()
        finally:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _has_exited(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _outcome_of_death(self, reason: _KillReason | None, status: int, description: str) -> EngineOutcome:
        match reason:
            case _KillReason.STOP:
                return Stopped()
            case _KillReason.TIMEOUT:
                limit = self._settings.run_timeout_seconds
                return Failed("timeout", f"the run took longer than RUN_TIMEOUT_SECONDS, {limit:g} s")
            case _KillReason.MEMORY:
                return Failed(
                    "out_of_memory", f"the run needed more than ENGINE_MEMORY_MB, {self._settings.memory_mb} MB"
                )
            case None if status == -signal.SIGABRT and any(sign in self._output_tail for sign in _ALLOCATION_FAILED):
                return Failed("out_of_memory", "the run asked for more memory than ENGINE_MEMORY_MB allows")
            case None | _KillReason.BROKEN_PROTOCOL | _KillReason.RETIRED:
                return ChildDied(description)
            case _:
                assert_never(reason)

    def _on_output(self, *, last: bool = False) -> None:
        """Pass on what the child printed, at a bounded rate."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._output_fd, _OUTPUT_READ_BYTES)
            if data:
                self._output_tail = (self._output_tail + data)[-_OUTPUT_TAIL_BYTES:]
                self._write_output(data)
            if not last:
                self._loop.remove_reader(self._output_fd)
                if data:
                    self._loop.call_later(OUTPUT_PAUSE_SECONDS, self._listen_to_output)

    def _listen_to_output(self) -> None:
        if not self.ended.done():
            self._loop.add_reader(self._output_fd, self._on_output)

    def _close(self) -> None:
        self._loop.remove_reader(self._output_fd)
        os.close(self._output_fd)
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()


def _describe_end(status: int, fault: str, output_tail: bytes) -> str:
    """The end of a process in words, with the last line it printed."""
    if fault:
        return f"engine child {fault}"
    if status < 0:
        with contextlib.suppress(ValueError):
            return _with_last_line(f"killed by {signal.Signals(-status).name}", output_tail)
        return f"engine child killed by signal {-status}"
    return _with_last_line(f"exited with status {status}", output_tail)


def _with_last_line(ending: str, output_tail: bytes) -> str:
    lines = [line.strip() for line in output_tail.decode(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    last = fatal[-1:] or lines[-1:]
    return storable_text(f"engine child {ending}" + (f": {last[0][:300]}" if last else ""))
