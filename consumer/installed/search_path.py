"""Whether what adds folders to the search path changed since this process began.

The interpreter reads .pth files once, at its start: what an editable install brings later, only a fresh process finds.
Imported first of all in a child, so that no install falls between its start and the look taken here.
"""

import os
import sys
from contextlib import suppress
from typing import Final

PathFiles = tuple[tuple[str, int, int], ...]
"""Path, nanosecond of the last change and size of each .pth file."""


def is_search_path_stale() -> bool:
    """Whether a process that starts now might find modules that this one does not."""
    return _path_files() != _AT_START


def _path_files() -> PathFiles:
    found = []
    for folder in _FOLDERS:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith(".pth"):
                    state = entry.stat()
                    found.append((entry.path, state.st_mtime_ns, state.st_size))
    return tuple(sorted(found))


_FOLDERS: Final = tuple(sys.path)
"""As they were at the start: those that a strategy adds are its own business."""
_AT_START: Final = _path_files()
