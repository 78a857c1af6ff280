"""The engine guardian, `python -I -S engine_guardian.py MARKER`: outlives a worker that was killed, by a moment.

The kernel ends engine children with their worker, but not what strategies started in them. This process waits until its
standard input, which the worker holds, is closed, and kills whatever still carries the pool's marker. Standard library
only, and started as a file: it is to be small and up at once. Where there is no /proc it has nothing to do.
"""

import os
import signal
import sys
import time
from contextlib import suppress

VARIABLE = b"BACKTEST_ENGINE_CHILD="
"""process_tree.MARKER_VARIABLE, which this file cannot import."""
PATIENCE_SECONDS = 2.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    marker = VARIABLE + sys.argv[1].encode()
    while os.read(0, 1024):
        pass
    deadline = time.monotonic() + PATIENCE_SECONDS
    while kill_marked(marker) and time.monotonic() < deadline:
        time.sleep(0.01)


def kill_marked(marker: bytes) -> int:
    """Kill every process whose environment has the marker; returns how many there were."""
    killed = 0
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208  # no pathlib: see above
        if entry.isdigit() and int(entry) != os.getpid() and _is_marked(entry, marker):
            with suppress(OSError):
                os.kill(int(entry), signal.SIGKILL)
                killed += 1
    return killed


def _is_marked(entry: str, marker: bytes) -> bool:
    try:
        with open(f"/proc/{entry}/environ", "rb") as file:  # noqa: PTH123  # no pathlib: see above
            return any(variable.startswith(marker) for variable in file.read().split(b"\0"))
    except OSError:
        return False


if __name__ == "__main__":
    main()
