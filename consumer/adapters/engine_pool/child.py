"""An engine child, `python -P -m consumer.adapters.engine_pool.child SOCKET_FD WORKER_PID`; child_handle starts it.

It tells the kernel to end it with its worker before it imports anything heavy, warms up, and then serves one task at a
time. Strategies run in its main thread, so this module trusts nothing they may do to the process: prints go to stderr,
Ctrl-C is the worker's, and a child that a strategy left in doubt (threads, sub-processes, memory) asks to be replaced.
"""

import ctypes
import faulthandler
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import consumer.installed.search_path  # noqa: F401  # light; looks at what this process began with

TITLE: Final = "backtest-engine"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_BACKSTOP_MB: Final = 2048
_OOM_SCORE_ADJUSTMENT: Final = 500


def main() -> None:
    """Serve the worker until it goes away."""
    channel, settings = attach(TITLE)
    execute = _open_program(settings)
    # What is there now stays for good: later collections need not walk it.
    gc.collect()
    gc.freeze()
    _serve(channel, execute, settings.memory_mb)


def attach(title: str) -> tuple["Channel", Any]:
    """Become the worker's child, which ends with it: the connection to it, and the settings that it sent."""
    socket_fd, worker_pid = int(sys.argv[1]), int(sys.argv[2])
    _end_with_worker(worker_pid)
    connection = socket.socket(fileno=socket_fd)
    connection.set_inheritable(False)
    threading.Thread(target=_watch_worker, args=(connection,), daemon=True, name="watch worker").start()
    set_title(f"{title} idle")
    _ignore_polite_signals()
    faulthandler.enable()
    # Imported late: until here nothing slow stands between the start and _end_with_worker.
    from consumer.adapters.engine_pool.settings import EngineProcessSettings

    channel = Channel(connection)
    settings = EngineProcessSettings(**channel.receive()["settings"])
    _limit_memory(settings.memory_mb)
    return channel, settings


class Channel:
    """The blocking side of the protocol."""

    def __init__(self, connection: socket.socket) -> None:
        from consumer.adapters.engine_pool.messages import FrameReader

        self._connection = connection
        self._reader = FrameReader()
        self._received: list[dict[str, Any]] = []
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)

    def fileno(self) -> int:
        return self._connection.fileno()

    def receive(self) -> dict[str, Any]:
        """Wait for the next message. Ends the process when the worker is gone."""
        while not self._received:
            self._take(self._connection.recv(65_536))
        return self._received.pop(0)

    def receive_now(self) -> list[dict[str, Any]]:
        """The messages that are there already."""
        with suppress(BlockingIOError):
            self._take(self._connection.recv(65_536, socket.MSG_DONTWAIT))
        received, self._received = self._received, []
        return received

    def send(self, message: dict[str, Any], body: bytes = b"") -> None:
        from consumer.adapters.engine_pool.messages import frame

        self._connection.sendall(frame(message, len(body)))
        if body:
            self._connection.sendall(body)

    def has_room(self) -> bool:
        """Whether a small message can be sent without waiting: a worker that stands still must not hold up the run."""
        return bool(self._writable.poll(0))

    def _take(self, data: bytes) -> None:
        if not data:
            os._exit(0)
        self._received += [message for message, _ in self._reader.feed(data)]


def _serve(channel: Channel, execute: Callable[..., Any], memory_mb: int) -> None:
    """Answer task after task. Raises only when the worker cannot be talked to."""
    from consumer.adapters.engine_pool.messages import outcome_message
    from consumer.adapters.engine_pool.task import execute_task
    from consumer.ports.outcomes import Completed, Failed

    threads_at_rest = _python_threads()
    channel.send({"type": "ready"})
    while True:
        message = channel.receive()
        if message["type"] not in {"run", "step"}:
            continue  # a stop that crossed the answer of its task
        number = message["task"]
        search = message["optimization_id"]  # of a run, where it is the best of one
        set_title(f"{TITLE} run={message['run_id']}" if search is None else f"{TITLE} opt={search}")
        outcome = execute_task(execute, message, channel)
        retire = _reason_to_retire(threads_at_rest, memory_mb)
        body = outcome.trades_csv if isinstance(outcome, Completed) else b""
        set_title(f"{TITLE} idle")
        try:
            answer = outcome_message(outcome, number, retire)
            channel.send(answer, body)
        except ValueError as error:
            refusal = Failed("internal_error", f"the result cannot be told to the worker: {error}")
            channel.send(outcome_message(refusal, number, retire))


def _end_with_worker(worker_pid: int) -> None:
    """Have the kernel kill this process when the worker's thread that made it ends, whatever this one is doing then."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # Orphans of a strategy's sub-processes become children of this one, where they can be found.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != worker_pid:
        os._exit(0)  # it died before the request above stood


def _watch_worker(connection: socket.socket) -> None:
    """End the group when the worker's end closes: where no signal tells of its death, and for sub-processes."""
    hang_up = select.poll()
    hang_up.register(connection, 0)
    while not hang_up.poll():
        pass
    os.killpg(0, signal.SIGKILL)


def _ignore_polite_signals() -> None:
    """Leave SIGINT and SIGTERM sent to all processes at once (by systemd, say) to the worker: it decides how to drain.

    Handlers that do nothing, not SIG_IGN, which sub-processes of a strategy would inherit.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def _limit_memory(memory_mb: int) -> None:
    """Refuse absurd allocations outright, and be the kernel's first choice when the machine runs out.

    The worker watches resident memory; this is for what grows faster than it looks. Generous, because allocators
    reserve more than they use, and a run within its limit must never fail by this.
    """
    limit = (2 * memory_mb + _BACKSTOP_MB) * 2**20
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # writing a core of gigabytes would outlive every deadline
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123  # no pathlib yet
        file.write(str(_OOM_SCORE_ADJUSTMENT))


def _open_program(settings: Any) -> Callable[..., Any]:
    module_name, _, name = settings.program.partition(":")
    program = getattr(importlib.import_module(module_name), name)
    execute: Callable[..., Any] = program(settings)
    return execute


def _reason_to_retire(threads_at_rest: int, memory_mb: int) -> str:
    """Why this process should not serve another task; '' when it may."""
    if _python_threads() > threads_at_rest:
        return "the strategy left threads behind"
    if _has_children():
        return "the strategy left processes behind"
    if _resident_mb() > memory_mb / 2:
        return "it holds more than half of its memory limit"
    return ""


def _python_threads() -> int:
    """All that run Python, those without a Thread object too."""
    return len(sys._current_frames())  # noqa: SLF001  # documented in `sys`; threading.active_count() misses some


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _resident_mb() -> float:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # once a run: pathlib would double it
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def set_title(title: str) -> None:
    """What `ps` shows."""
    import setproctitle

    setproctitle.setproctitle(title)


if __name__ == "__main__":
    main()
