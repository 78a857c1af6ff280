"""What runs left in the artefact store, and tables that a person asks for; apart from bars, which load the engine."""

from consumer.adapters.files.artifacts import ArtifactFiles
from consumer.adapters.files.probe import probe_artifacts
from consumer.adapters.files.store import FileStoreError
from consumer.adapters.files.table_output import check_picture_path, check_table_path, write_picture, write_table

__all__ = [
    "FileStoreError",
    "check_picture_path",
    "check_table_path",
    "open_artifacts",
    "probe_artifacts",
    "write_picture",
    "write_table",
]


def open_artifacts(url: str) -> ArtifactFiles:
    """What runs left at a place. Raises ArtifactsUnavailable."""
    return ArtifactFiles(url)
