"""What a program owes where nothing stands around it: standard streams that are there, and, as a container's first
process, an end for every process that lost its parent.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def open_standard_streams() -> None:
    """Open what the caller closed (`<&-`, `>&-`, `2>&-`). Else the next file or socket gets the number of a standard
    stream, and whoever closes the one closes the other.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


def stand_apart_from_first_process() -> None:
    """As process 1 of a container without an init, go on in a child; the parent hands signals on, takes leave of every
    process that is left to it, and ends as the child does. Anywhere else nothing happens.

    Call it before there are threads.
    """
    if os.getpid() != 1:
        return
    child = os.fork()
    if child:
        os._exit(_wait_for(child))


def _wait_for(child: int) -> int:
    """The exit status of the child, as a shell has it; others end meanwhile without a trace."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for name in FORWARDED:
        signal.signal(getattr(signal, name), forward)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
