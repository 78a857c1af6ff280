"""Market data at rest, `<root>/<SYMBOL>/<TIMEFRAME>/<year>.parquet`, read and kept in memory between runs.

A warm engine child runs many small backtests over the same bars, so bars are read and validated once and kept until
their files change or memory runs out. Files are those of `backtest data import`, or anybody's with the same columns;
a bar lies in the file of the UTC year it opens in.
"""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from consumer.adapters.files.import_notes import notes_from_json
from consumer.adapters.files.store import FileStoreError, StoredFile, open_file_store
from consumer.adapters.files.stored_years import read_notes, read_steadily, read_year, year_files
from consumer.errors import Unavailable
from engine.errors import BadBars
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import TIMEFRAMES, timeframe

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANGES_KEPT = 64
_DEFAULT_CACHE_BYTES = 512 * 1024 * 1024


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
        self._cache = _BarCache(cache_bytes)

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

    def load(self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None) -> Bars | None:
        """Return the bars with since <= open time < until; since None: from the first one stored. None: none.

        until and since are aware. Raises BadBars naming the file and row, and MarketDataUnavailable.
        """
        if not _is_folder_name(symbol):
            return None
        folder = f"{symbol}/{timeframe_name}"
        try:
            listed = year_files(self._files, folder)
            key = (timeframe_name, *_within(listed, until, since))
            bars = self._cache.get(key)
            if bars is None:
                # As listed when all was read: an import may have replaced years meanwhile.
                listed, frames = read_steadily(self._files, folder, lambda files: self._frames(files, until, since))
                if not frames:
                    return None
                key = (timeframe_name, *_within(listed, until, since))
                bars = self._checked(timeframe_name, folder, frames)
                self._cache.put(key, bars)
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error
        first, end = bars.between(-(2**62) if since is None else microseconds(since), microseconds(until))
        return self._cache.rows(key, first, end) if end > first else None

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        """Never: what is stored is there for whoever finds it fit."""
        return False

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime) -> Bars | None:
        """The same, for a pair that converts profit: its bars of the run's timeframe, from the first one stored."""
        return self.load(pair, timeframe_name, until)

    def _folders(self, folder: str) -> list[str]:
        try:
            return self._files.folders(folder)
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error

    def _frames(
        self, files: Mapping[int, StoredFile], until: datetime, since: datetime | None
    ) -> list[tuple[str, pl.DataFrame]]:
        return [
            (self._files.location(file.name), read_year(self._files, file)) for file in _within(files, until, since)
        ]

    def _checked(self, timeframe_name: str, folder: str, frames: list[tuple[str, pl.DataFrame]]) -> Bars:
        """Validate years as one; when that fails, name the one file and row at fault."""
        of, place = timeframe(timeframe_name), self._files.location(folder)
        try:
            return bars_from_frame(_joined([frame for _, frame in frames]), of, place, spread_may_lack=True)
        except BadBars:
            for source, frame in frames:
                bars_from_frame(frame, of, source, spread_may_lack=True)
            raise


def _within(files: Mapping[int, StoredFile], until: datetime, since: datetime | None) -> list[StoredFile]:
    earliest = since.astimezone(UTC).year if since else 0
    latest = (until.astimezone(UTC) - _MICROSECOND).year
    return [file for year, file in files.items() if earliest <= year <= latest]


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Put years together; absent volume is 0, absent spread null."""
    zero = pl.lit(0.0).alias("volume")
    filled = [frame if "volume" in frame.columns else frame.with_columns(zero) for frame in frames]
    return pl.concat(filled, how="diagonal")


class _BarCache:
    """Bars by the files they came from; the ones unused the longest leave when the bytes are spent.

    Row ranges of them are kept too: they share the memory, and remember arrays and digest that a next run asks for.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._kept: OrderedDict[object, Bars] = OrderedDict()
        self._ranges: dict[object, OrderedDict[tuple[int, int], Bars]] = {}

    def get(self, key: object) -> Bars | None:
        bars = self._kept.get(key)
        if bars is not None:
            self._kept.move_to_end(key)
        return bars

    def put(self, key: object, bars: Bars) -> None:
        self._kept[key] = bars
        self._ranges[key] = OrderedDict()
        self._bytes += _size_bytes(bars)
        while self._bytes > self._limit_bytes and len(self._kept) > 1:
            oldest, dropped = self._kept.popitem(last=False)
            del self._ranges[oldest]
            self._bytes -= _size_bytes(dropped)

    def rows(self, key: object, first: int, end: int) -> Bars:
        ranges = self._ranges[key]
        found = ranges.pop((first, end), None) or self._kept[key].rows(first, end)
        ranges[first, end] = found
        if len(ranges) > _RANGES_KEPT:
            ranges.popitem(last=False)
        return found


def _size_bytes(bars: Bars) -> int:
    return int(bars.frame.estimated_size())


def _is_folder_name(symbol: str) -> bool:
    """A symbol may hold dots; one that is only dots would climb out of the root."""
    return symbol.strip(".") != "" and "/" not in symbol and "\\" not in symbol


def microseconds(moment: datetime) -> int:
    """An aware moment as microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND
