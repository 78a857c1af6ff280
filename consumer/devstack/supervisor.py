"""A process that runs one server and ends it when the program that asked for it is gone, however that went.

It is apart, and started by its path rather than as a module, so that it imports nothing but psutil: it is up in tens of
milliseconds and outlives whatever happens to its parent. Two things tell it of the parent's end: its standard input
reaches end of file (at once), or its parent's process id changes (within POLL_SECONDS, also where a fork of the
parent holds the pipe open). Servers leave its care in no way: on Linux it adopts their orphans, and they get SIGKILL
should it be killed itself.

Standard input: four bytes, the length of a JSON object; the object, the fields of `supervised_process.ServerCommand`
and `parent`, the process id to watch; then one byte asks for a stop, and end of file without it says that the parent
died.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import psutil

POLL_SECONDS = 0.5
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(orders: dict[str, Any]) -> int:
    """Run the server until it ends, a stop is asked for, or the parent is gone. Returns the server's exit status."""
    wake = watch_signals()
    adopt_orphans()
    server = start_server(orders)
    parent_died = False
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin.fileno(), wake], [], [], POLL_SECONDS)
        if wake in readable and signal.SIGTERM in os.read(wake, 4096):
            stop(server, orders)
        if sys.stdin.fileno() in readable:
            parent_died = os.read(sys.stdin.fileno(), 1) == b""
            stop(server, orders)
        elif os.getppid() != orders["parent"]:
            parent_died = True
            stop(server, orders)
        reap_orphans(server)
    kill_descendants()
    if parent_died and orders["delete_when_orphaned"]:
        delete(orders["delete_when_orphaned"])
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def watch_signals() -> int:
    """Return a descriptor that becomes readable, with the signal's number, when a child ends or SIGTERM arrives."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return read_end


def adopt_orphans() -> None:
    """Make descendants whose parent dies ours, so that none of them is out of reach (Linux only)."""
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)


def start_server(orders: dict[str, Any]) -> subprocess.Popen[bytes]:
    user, group = ids_of(orders["account"])
    with open(orders["log_path"], "ab") as log:  # noqa: PTH123 - pathlib would be one more import for nothing
        return subprocess.Popen(
            orders["arguments"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=orders["working_directory"],
            env=orders["environment"],
            preexec_fn=die_with_supervisor,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )


def ids_of(account: str | None) -> tuple[int | None, int | None]:
    """User and group id of an account; None, None for our own."""
    if account is None:
        return None, None
    import pwd

    entry = pwd.getpwnam(account)
    return entry.pw_uid, entry.pw_gid


def die_with_supervisor() -> None:
    # Run in the child after it took its account: a change of account would clear this again.
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)


def set_process_option(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def stop(server: subprocess.Popen[bytes], orders: dict[str, Any]) -> None:
    """Ask the server to end, and kill what is left after the grace period. Wakes it up first if it was paused."""
    signal_each(psutil.Process().children(recursive=True), signal.SIGCONT)
    server.send_signal(orders["stop_signal"])
    deadline = time.monotonic() + orders["grace_seconds"]
    while server.poll() is None and time.monotonic() < deadline:
        reap_orphans(server)
        time.sleep(0.01)
    if server.poll() is None:
        server.kill()
        server.wait()


def reap_orphans(server: subprocess.Popen[bytes]) -> None:
    """Collect adopted children that ended; the server's own status is left to its Popen object."""
    for child in psutil.Process().children():
        if child.pid != server.pid:
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def kill_descendants() -> None:
    """Kill until nothing is left: a process may have started another one between two looks."""
    while descendants := psutil.Process().children(recursive=True):
        signal_each(descendants, signal.SIGKILL)
        psutil.wait_procs(descendants, timeout=0.2)


def delete(directory: str) -> None:
    """Remove a throwaway directory, and the one around it when this was the last in it."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(directory))  # noqa: PTH106, PTH120 - pathlib would be one more import for nothing


def signal_each(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def read_orders() -> dict[str, Any]:
    """Not through sys.stdin, whose buffer would swallow the byte that asks for a stop."""
    orders: dict[str, Any] = json.loads(read_bytes(int.from_bytes(read_bytes(4), "big")))
    return orders


def read_bytes(count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = os.read(sys.stdin.fileno(), count - len(content))
        if not part:
            sys.exit("the program that asked for a server died before it said which")
        content += part
    return content


if __name__ == "__main__":
    sys.exit(main(read_orders()))
