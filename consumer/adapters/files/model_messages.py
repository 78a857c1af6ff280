"""What was asked of language models, once a question: <root>/llm/<key>.json. Apart from a run's files, whose tables a
worker leaves to its children.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.errors import ArtifactsUnavailable


class MessageFiles:
    """Questions below the root of the artefacts: a path, a file:// URL or an object store's. Implements `MessageStore`
    and `KeptMessages`.
    """

    def __init__(self, url: str) -> None:
        with _translated():
            self._files = open_file_store(url)

    def save_messages(self, key: str, document: bytes) -> str:
        """See MessageStore. A whole file or none."""
        name = messages_name(key)
        with _translated():
            if not self._files.exists(name):
                self._files.write(name, document, durable=False)
        return self._files.location(name)

    def read_messages(self, key: str) -> bytes:
        """See KeptMessages."""
        with _translated():
            return self._files.read(messages_name(key))


def messages_name(key: str) -> str:
    """Where what was asked under a key lies below the root."""
    return f"llm/{key}.json"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error
