"""Where a search's steps leave what is for each other, and its removal.

Apart from the files themselves: the worker's own process does no more than that, and loads no data frames.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.errors import ArtifactsUnavailable


class SearchParts:
    """The parts of searches below one root: a path, a file:// URL or an object store's URL."""

    def __init__(self, url: str) -> None:
        with translated():
            self._files = open_file_store(url)

    def remove(self, optimization_id: int) -> None:
        """Remove the parts of a search that has ended. Raises ArtifactsUnavailable."""
        with translated():
            self._files.remove_folder(parts_of(optimization_id))


def parts_of(optimization_id: int) -> str:
    """The folder of a search's parts, below the root."""
    return f"searches/{optimization_id}/parts"


@contextmanager
def translated() -> Iterator[None]:
    """Raise ArtifactsUnavailable for what the store cannot do."""
    try:
        yield
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error
