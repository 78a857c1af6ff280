"""Files and object stores, for commands: bars, signals, instruments, artefacts, and tables that a person asks for."""

from collections.abc import Mapping
from pathlib import Path

from consumer.adapters.files.artifacts import ArtifactFiles
from consumer.adapters.files.bars import BarFile, read_bar_file, read_bars
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data import ParquetMarketData, microseconds
from consumer.adapters.files.market_data_import import ImportedYear, IncomingBars, import_bars, incoming_bars
from consumer.adapters.files.market_data_removal import remove_bars
from consumer.adapters.files.named_bars import ConversionFile, NamedBarFiles
from consumer.adapters.files.signals import read_signals
from consumer.adapters.files.store import FileStoreError, LocalFiles, open_file_store
from consumer.adapters.files.table_output import check_table_path, write_table
from consumer.adapters.files.times import one_utc_time
from consumer.adapters.files.unreadable_time import UnreadableTimeError
from consumer.adapters.files.written_times import DateOrder
from engine.market.instruments import Instrument

__all__ = [
    "BarFile",
    "ConversionFile",
    "DateOrder",
    "FileStoreError",
    "ImportedYear",
    "IncomingBars",
    "NamedBarFiles",
    "UnreadableTimeError",
    "bar_formats",
    "check_table_path",
    "import_bars",
    "incoming_bars",
    "instruments_of",
    "market_data_at",
    "microseconds",
    "one_utc_time",
    "open_artifacts",
    "probe_artifacts",
    "read_bar_file",
    "read_bars",
    "read_signals",
    "remove_bars",
    "write_table",
]

_PROBE_NAME = "backtest-probe.txt"


def instruments_of(file: Path | None) -> Mapping[str, Instrument]:
    """The packaged instruments, and those of the file over them. Raises what a file that cannot be used raises."""
    return read_instruments(file)


def bar_formats() -> Mapping[str, str]:
    """The formats that files of bars are read in: what each is, by the name that `--format` takes."""
    from consumer.adapters.files.formats import FORMATS  # only for who asks: a file in our own columns needs none

    return {name: each.title for name, each in FORMATS.items()}


def market_data_at(url: str, *, cache_bytes: int | None = None) -> ParquetMarketData:
    """Market data at rest. cache_bytes: how much of them to keep in memory; None: as much as an engine child does."""
    return ParquetMarketData(url) if cache_bytes is None else ParquetMarketData(url, cache_bytes=cache_bytes)


def open_artifacts(url: str) -> ArtifactFiles:
    """What runs left at a place. Raises ArtifactsUnavailable."""
    return ArtifactFiles(url)


def probe_artifacts(url: str) -> None:
    """Write a small file there; a local one is removed again. Raises FileStoreError."""
    files = open_file_store(url)
    files.write(_PROBE_NAME, b"backtest wrote this to see whether it can; it may be removed\n", durable=False)
    if isinstance(files, LocalFiles):  # from an object store this user may not be allowed to remove anything
        files.remove(_PROBE_NAME)
