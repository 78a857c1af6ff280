"""A child process and its connection: started, told, killed with all it started, reaped. What the two sides say to each
other is its user's business (child_handle, checker_handle).
"""

import asyncio
import contextlib
import os
import signal
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from consumer.adapters.engine_pool.messages import FrameReader, UnreadableMessage, frame, storable_text
from consumer.adapters.engine_pool.process_tree import kill_tree, signal_group
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.spawn import spawn_child

OUTPUT_PAUSE_SECONDS: Final = 0.02
"""Between two reads of what a strategy prints: 3 MB a second at most reach the worker's stderr."""

_OUTPUT_TAIL_BYTES: Final = 4096
_OUTPUT_READ_BYTES: Final = 65_536
_POLL_SECONDS: Final = 0.05


class ChildStartFailed(Exception):
    """The child ended, or was not ready in time; the message says how."""


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended."""

    status: int
    """As subprocess has it: negative for a signal."""
    fault: str
    """How it broke the protocol, for which it was killed; '' when it did not."""
    output_tail: bytes
    """The last it printed."""

    def in_words(self, who: str = "engine child") -> str:
        """With the last line that it printed."""
        if self.fault:
            return f"{who} {self.fault}"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return self._with_last_line(f"{who} killed by {signal.Signals(-self.status).name}")
            return f"{who} killed by signal {-self.status}"
        return self._with_last_line(f"{who} exited with status {self.status}")

    def _with_last_line(self, ending: str) -> str:
        lines = [line.strip() for line in self.output_tail.decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        last = fatal[-1:] or lines[-1:]
        return storable_text(ending + (f": {last[0][:300]}" if last else ""))


class ChildProcess(asyncio.Protocol):
    """A fresh interpreter that runs `module` and says when it is ready.

    Making it spawns it (raises OSError); `wait_until_ready` comes next; when `ended` is done it is reaped, and all that
    it started is gone. on_message is called with each message and its body; it raises UnreadableMessage for what it
    cannot read, and then the process is killed. more_fds: open in the process too, under the same numbers.
    """

    def __init__(
        self,
        module: str,
        settings: EngineProcessSettings,
        pool_marker: str,
        executor: Executor,
        write_output: Callable[[bytes], None],
        on_message: Callable[[dict[str, Any], bytes], None],
        more_fds: tuple[int, ...] = (),
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._write_output = write_output
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._marker = f"{pool_marker}.{uuid.uuid4().hex}"
        self._reader = FrameReader()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._killing: asyncio.Future[None] | None = None
        self._fault = ""
        self._output_tail = b""
        self.kill_reason: str | None = None
        """Why it was killed; None: it was not, or ended by itself before that."""
        self.ended: asyncio.Future[ProcessEnd] = self._loop.create_future()

        own_socket, child_socket = socket.socketpair()
        output_read, output_write = os.pipe()
        with child_socket:
            try:
                self._process = spawn_child(
                    module, settings, child_socket.fileno(), output_write, self._marker, more_fds
                )
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
        self._reaper = self._loop.create_task(self._reap(), name=f"reap child {self.pid}")

    async def wait_until_ready(self) -> None:
        """Connect and wait until the child is warm. Raises ChildStartFailed; then kill it."""
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        self.send({"type": "settings", "settings": asdict(self._settings)})
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), self._settings.start_timeout_seconds)
        except TimeoutError:
            raise ChildStartFailed(f"not ready within {self._settings.start_timeout_seconds:g} s") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Warm, and not about to end."""
        return self._killing is None and not self.ended.done() and self._ready.done()

    def send(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(frame(message))

    def begin_task(self) -> None:
        """What is printed from now on belongs to another task."""
        self._output_tail = b""

    def kill(self, reason: str) -> None:
        """End it and all it started, at once, unless that is under way already. `ended` tells when."""
        if self._killing is not None or self.ended.done():
            return
        self.kill_reason = reason
        # Freezing ends all CPU use now and takes no look through the process table; who is frozen cannot hide either.
        signal_group(self.pid, signal.SIGSTOP)
        self._killing = self._loop.run_in_executor(self._executor, kill_tree, self.pid, self._marker)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message, body in self._reader.feed(data):
                if message.get("type") == "ready" and not self._ready.done():
                    self._ready.set_result(None)
                else:
                    self._on_message(message, body)
        except UnreadableMessage as error:
            self._break_off(f"broke the protocol ({storable_text(str(error))[:300]})")

    def connection_lost(self, exc: Exception | None) -> None:
        # Mostly the first sign of a death: files are closed before a process counts as ended. Else it let go of its
        # socket, and can answer nothing any more.
        self._transport = None
        if self._killing is None and not self.ended.done():
            self._loop.call_later(_POLL_SECONDS, self._kill_if_disconnected)

    # --- inside -------------------------------------------------------------------------------------------------

    def _kill_if_disconnected(self) -> None:
        if self._killing is None and not self.ended.done() and not self._has_exited():
            self._break_off("closed its connection to the worker")

    def _break_off(self, fault: str) -> None:
        if self._killing is None:
            self._fault = fault
        self.kill("broken protocol")

    async def _reap(self) -> None:
        """Wait for the process's end, clear away what it leaves, and tell who waits for it."""
        await self._exited()
        if self._killing is None:
            # It died by itself, and what the strategy started may live on. Not yet reaped, so the pid is its own.
            self._killing = self._loop.run_in_executor(self._executor, kill_tree, self.pid, self._marker)
        await self._killing
        status = self._process.wait()
        self._on_output(last=True)
        self._close()
        end = ProcessEnd(status, self._fault, self._output_tail)
        self.ended.set_result(end)
        if not self._ready.done():
            self._ready.set_exception(ChildStartFailed(end.in_words()))
            self._ready.exception()

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
