"""At which combination of a search a child is: eight bytes in a file without a name, written by the child and read by
its worker, also after the child's death. A message for each combination would cost more than some combinations take.
"""

import struct
import tempfile
from mmap import mmap
from typing import Final

_NUMBER: Final = struct.Struct("<q")
NOWHERE: Final = -1
"""Between two steps, and while one is prepared."""


class Marks:
    """The worker's side; the child inherits `fd`."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._file.truncate(_NUMBER.size)
        self.fd = self._file.fileno()
        self._memory = mmap(self.fd, _NUMBER.size)

    def clear(self) -> None:
        """Another step begins."""
        _NUMBER.pack_into(self._memory, 0, NOWHERE)

    def read(self) -> int | None:
        """Where the child is, or was when it ended. None: at no combination."""
        number = int(_NUMBER.unpack_from(self._memory, 0)[0])
        return None if number < 0 else number

    def close(self) -> None:
        self._memory.close()
        self._file.close()


def write_mark(memory: mmap, number: int) -> None:
    """The child's side, on its own mapping of the file."""
    _NUMBER.pack_into(memory, 0, number)


def map_marks(fd: int) -> mmap:
    """The file as the child sees it."""
    return mmap(fd, _NUMBER.size)
