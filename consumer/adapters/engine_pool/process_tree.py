"""Finding, weighing and killing a process together with everything it started, however well that hides.

A strategy may start sub-processes, detach them (`setsid`, double fork) or clear their environment. Three traces lead to
them: descent (the child adopts its orphans, see engine_child), process group, and a variable in their environment.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

MARKER_VARIABLE: Final = "BACKTEST_ENGINE_CHILD"
"""Environment variable that names the engine child; whatever a strategy starts inherits it."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_ROUNDS: Final = 50
_QUIET_ROUNDS: Final = 2
"""One is not enough: a process may start another and end between the listing and the look at it."""
_DEATH_SECONDS: Final = 1.0
"""A killed process that is deep in the kernel (a write to a dead disk) may take any time to go."""
_POLL_SECONDS: Final = 0.001


def kill_tree(pid: int, marker: str) -> None:
    """Kill the process and all it started, and wait until they use no more CPU.

    Blocks for some ten milliseconds, so call it off the event loop. pid: a child of this process that was not waited
    for yet, so that the number cannot be another's. Processes are frozen as they are found, so that none starts
    another behind the search's back.
    """
    frozen: dict[int, psutil.Process] = {}
    quiet_rounds = 0
    for _ in range(_ROUNDS):
        found = [each for each in _relatives(pid, marker) if each.pid not in frozen]
        quiet_rounds = 0 if found else quiet_rounds + 1
        if quiet_rounds == _QUIET_ROUNDS:
            break
        for process in found:
            frozen[process.pid] = process
            _signal(process, signal.SIGSTOP)
    for process in frozen.values():
        _signal(process, signal.SIGKILL)
    signal_group(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEATH_SECONDS
    while not all(map(_has_ended, frozen.values())) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that the process leads, if there is any of it left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def tree_memory_bytes(pid: int) -> int:
    """Memory of the process and its descendants, shared pages counted once; 0 when it is gone."""
    own = _resident_bytes(pid)
    descendants = _descendants(pid)
    if not descendants:
        return own
    return _proportional_bytes(pid) + sum(_proportional_bytes(each) for each in descendants)


def _relatives(pid: int, marker: str) -> list[psutil.Process]:
    """The process, its descendants, its group and whatever carries the marker; zombies left out."""
    processes = _all_processes()
    children: dict[int, list[int]] = {}
    related = {pid}
    for process in processes.values():
        with suppress(psutil.Error, OSError):
            children.setdefault(process.ppid(), []).append(process.pid)
            if os.getpgid(process.pid) == pid or process.environ().get(MARKER_VARIABLE) == marker:
                related.add(process.pid)
    pending = list(related)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in related:
                related.add(child)
                pending.append(child)
    return [processes[each] for each in related if each in processes and not _has_ended(processes[each])]


def _all_processes() -> dict[int, psutil.Process]:
    """By id. Made afresh: process_iter keeps objects that may stand for an earlier process of the same number."""
    found = {}
    for pid in psutil.pids():
        with suppress(psutil.Error):
            found[pid] = psutil.Process(pid)
    return found


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    # psutil compares start times first: never another process that got the number meanwhile.
    with suppress(psutil.Error, OSError):
        process.send_signal(number)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return _portable_resident_bytes(pid)


def _portable_resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _descendants(pid: int) -> list[int]:
    """Descendants by the kernel's own list (Linux); threads other than the first may have started some too."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_bytes().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _proportional_bytes(pid: int) -> int:
    """Resident memory with shared pages divided among their owners: forks share most of theirs."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _resident_bytes(pid)
