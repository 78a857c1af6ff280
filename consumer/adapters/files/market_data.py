"""Market data at rest, `<root>/<SYMBOL>/<TIMEFRAME>/<year>.parquet`, read and kept in memory between runs.

A warm engine child runs many small backtests over the same years, so what was read is kept until its files change or
memory runs out (`stored_rows`). Files are those of `backtest data import`, or anybody's with the same columns;
a bar lies in the file of the UTC year it opens in.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from consumer.adapters.files.import_notes import notes_from_json
from consumer.adapters.files.store import FileStoreError, StoredFile, open_file_store
from consumer.adapters.files.stored_rows import StoredRows
from consumer.adapters.files.stored_years import read_notes, read_steadily, year_files
from consumer.errors import Unavailable
from engine.market.bars import Bars
from engine.market.timeframes import TIMEFRAMES, timeframe
from engine.numeric.times import as_us

_MICROSECOND = timedelta(microseconds=1)
_DEFAULT_CACHE_BYTES = 96 * 1024 * 1024

Made = TypeVar("Made")


class MarketDataUnavailable(Unavailable):
    """The place of the market data does not answer; nothing is known about what it holds. Retry."""


class ParquetMarketData:
    """Reads bars below one root: a path, a file:// URL or an object store's URL. Not for several threads at once."""

    def __init__(self, url: str, *, cache_bytes: int = _DEFAULT_CACHE_BYTES) -> None:
        self._url = url
        try:
            self._files = open_file_store(url)
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error
        self._rows = StoredRows(self._files, cache_bytes)

    def __str__(self) -> str:
        return f"market data {self._url}"

    def symbols(self) -> tuple[str, ...]:
        """Symbols that have a folder, by name. Raises MarketDataUnavailable."""
        return tuple(self._folders(""))

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        """Timeframes with a folder for this symbol, shortest first. Raises MarketDataUnavailable."""
        if not _is_folder_name(symbol):
            return ()
        stored = set(self._folders(symbol))
        return tuple(name for name in TIMEFRAMES if name in stored)

    def zones(self, symbol: str, timeframe_name: str) -> tuple[str, ...]:
        """The zones in which stored bars were read at their import, by name; none where that is not known."""
        try:
            return notes_from_json(read_notes(self._files, f"{symbol}/{timeframe_name}")).named
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error

    def load(
        self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None, before: int = 0
    ) -> Bars | None:
        """Return the bars with since <= open time < until, and the last `before` of those that open earlier.

        since None: from the first one stored. None: there are none. The last bar closes as with those that follow it.
        until and since are aware. Raises BadBars naming the file and row, and MarketDataUnavailable.
        """
        if not _is_folder_name(symbol):
            return None
        last_year = (until.astimezone(UTC) - _MICROSECOND).year
        within = (since.astimezone(UTC).year if since is not None else 0, last_year)
        since_us = None if since is None else as_us(since)
        folder, of = f"{symbol}/{timeframe_name}", timeframe(timeframe_name)
        return self._steadily(
            folder,
            lambda files: self._rows.load(folder, of, files, within, since_us, as_us(until), before),
        )

    def as_csv(self, bars: Bars, first: int, end: int) -> bytes | None:
        """Rows first to end of bars that `load` returned, as `save_bars` writes them. None: they are to be rendered."""
        return self._rows.as_csv(bars, first, end)

    def extent_us(self, symbol: str, timeframe_name: str) -> tuple[int, int] | None:
        """First open and last close of all bars stored; None: there are none. Raises as `load` does."""
        if not _is_folder_name(symbol):
            return None
        of = timeframe(timeframe_name)
        return self._steadily(f"{symbol}/{timeframe_name}", lambda files: self._rows.extent_us(of, files))

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        """Never: what is stored is there for whoever finds it fit."""
        return False

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime, since: datetime) -> Bars | None:
        """The same, for a pair that converts profit: its bars of the run's timeframe."""
        return self.load(pair, timeframe_name, until, since)

    def _folders(self, folder: str) -> list[str]:
        try:
            return self._files.folders(folder)
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error

    def _steadily(self, folder: str, read: Callable[[dict[int, StoredFile]], Made]) -> Made:
        """What `read` makes of the years there are, all of one moment: an import may replace them meanwhile."""
        try:
            files = year_files(self._files, folder)
            self._rows.has_read = False
            with suppress(FileStoreError):
                made = read(files)
                if not self._rows.has_read or year_files(self._files, folder) == files:
                    return made
            return read_steadily(self._files, folder, read)[1]
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error


def _is_folder_name(symbol: str) -> bool:
    """A symbol may hold dots; one that is only dots would climb out of the root."""
    return symbol.strip(".") != "" and "/" not in symbol and "\\" not in symbol
