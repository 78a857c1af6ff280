"""Bars, signals and instruments, of files and of market data at rest, for commands."""

from collections.abc import Mapping
from pathlib import Path

from consumer.adapters.files.bar_import import import_bar_files, replaced_note
from consumer.adapters.files.bars import BarFile, read_bar_file, read_bars
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.market_data_import import ImportedYear, IncomingBars, import_bars, incoming_bars
from consumer.adapters.files.market_data_removal import remove_bars
from consumer.adapters.files.named_bars import ConversionFile, NamedBarFiles
from consumer.adapters.files.rules import read_rules
from consumer.adapters.files.signals import read_signals
from consumer.adapters.files.stored_list import described, spelled
from engine.market.instruments import Instrument

__all__ = [
    "BarFile",
    "ConversionFile",
    "ImportedYear",
    "IncomingBars",
    "NamedBarFiles",
    "described",
    "import_bar_files",
    "import_bars",
    "incoming_bars",
    "instruments_of",
    "market_data_at",
    "read_bar_file",
    "read_bars",
    "read_rules",
    "read_signals",
    "remove_bars",
    "replaced_note",
    "spelled",
]


def instruments_of(file: Path | None) -> Mapping[str, Instrument]:
    """The packaged instruments, and those of the file over them. Raises what a file that cannot be used raises."""
    return read_instruments(file)


def market_data_at(url: str, *, cache_bytes: int | None = None) -> ParquetMarketData:
    """Market data at rest. cache_bytes: how much of them to keep in memory; None: as much as an engine child does."""
    return ParquetMarketData(url) if cache_bytes is None else ParquetMarketData(url, cache_bytes=cache_bytes)
