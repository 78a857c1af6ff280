"""What runs left in the artefact store, and tables that a person asks for; apart from bars, which load the engine."""

from consumer.adapters.files.artifacts import ArtifactFiles
from consumer.adapters.files.store import FileStoreError, LocalFiles, open_file_store
from consumer.adapters.files.table_output import check_table_path, write_table

__all__ = ["FileStoreError", "check_table_path", "open_artifacts", "probe_artifacts", "write_table"]

_PROBE_NAME = "backtest-probe.txt"


def open_artifacts(url: str) -> ArtifactFiles:
    """What runs left at a place. Raises ArtifactsUnavailable."""
    return ArtifactFiles(url)


def probe_artifacts(url: str) -> None:
    """Write a small file there; a local one is removed again. Raises FileStoreError."""
    files = open_file_store(url)
    files.write(_PROBE_NAME, b"backtest wrote this to see whether it can; it may be removed\n", durable=False)
    if isinstance(files, LocalFiles):  # from an object store this user may not be allowed to remove anything
        files.remove(_PROBE_NAME)
