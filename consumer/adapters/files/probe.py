"""Whether the store of artefacts takes files; apart from what runs write there, which a worker need not load."""

from consumer.adapters.files.store import LocalFiles, open_file_store

_PROBE_NAME = "backtest-probe.txt"


def probe_artifacts(url: str) -> None:
    """Write a small file there; a local one is removed again. Raises FileStoreError."""
    files = open_file_store(url)
    files.write(_PROBE_NAME, b"backtest wrote this to see whether it can; it may be removed\n", durable=False)
    if isinstance(files, LocalFiles):  # from an object store this user may not be allowed to remove anything
        files.remove(_PROBE_NAME)
