"""Where the data of a throwaway stack lie: in memory if there is plenty of it, else in a temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

MEMORY_FILE_SYSTEM = Path("/dev/shm")  # a directory of our own is made below  # nosec B108
TEMPORARY_DIRECTORIES = (Path("/var/tmp"), Path("/tmp"))  # a directory of our own is made below  # nosec B108
FREE_MEMORY_NEEDED_BYTES = 8 * 1024**3
FREE_SPACE_NEEDED_BYTES = 4 * 1024**3


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A new directory that every account may enter, removed at the end. TMPDIR decides where it lies, if it is set."""
    directory = Path(tempfile.mkdtemp(prefix="backtest-devstack-", dir=_parent()))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def everybody_may_enter(directory: Path) -> bool:
    """Whether an account that owns nothing of this path may enter it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (directory, *directory.parents))


def _parent() -> Path:
    wanted = Path(tempfile.gettempdir())
    if "TMPDIR" not in os.environ and _is_roomy_memory(MEMORY_FILE_SYSTEM):
        return MEMORY_FILE_SYSTEM  # a new database costs a third there of what it costs on a disk
    return next(
        (path for path in (wanted, *TEMPORARY_DIRECTORIES) if path.is_dir() and everybody_may_enter(path)), wanted
    )


def _is_roomy_memory(directory: Path) -> bool:
    """Whether it is there, ours to write to and execute from, and large (64 MB are usual in a container)."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    file_system = os.statvfs(directory)
    return (
        not file_system.f_flag & os.ST_NOEXEC
        and file_system.f_bavail * file_system.f_frsize >= FREE_SPACE_NEEDED_BYTES
        and psutil.virtual_memory().available >= FREE_MEMORY_NEEDED_BYTES
    )
