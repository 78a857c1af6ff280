"""Rows of one symbol's stored years, read where they are wanted and kept in memory between runs.

A year of M1 bars is 370 000 rows, and a small run wants three thousand of them. So of a large file only these rows are
read, each time another run wants others; a small file is read and checked whole, and kept. What a run was given is kept
too, with the digest and the arrays that were made of it. Whole years are never put together, unless a run wants all of
them.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray

from consumer.adapters.files.artifacts import BAR_COLUMNS
from consumer.adapters.files.store import FileStore, FileStoreError, StoredFile
from consumer.adapters.files.stored_years import place_of, read_year
from engine.errors import BadBars
from engine.market.bars import PRICES, TIME, Bars, bars_from_frame
from engine.market.timeframes import DAY_US, Timeframe
from engine.numeric.csv_rows import csv_rows

STEP = 256
"""Rows between two known times of a large file."""
ROW_GROUP = 4_096
"""Rows that are decoded together; files with longer groups are read all the same, more slowly."""
_SMALL_FILE_BYTES = 1 << 20
"""A file so small is read whole: opening it takes longer than decoding it."""
_WITH_TEXT = 2.3
"""Times its values' bytes, a year that is kept whole takes with its rows as text."""
_RUNS_KEPT = 32

Value = TypeVar("Value")

_NUMBERS = (*PRICES, "volume", "spread")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Year:
    """What is known of one year's file. content: all its bars, where they are read whole; else where rows are read.

    index_us: open time of each STEP-th row, and of the last; of every row, where they are read whole. size_bytes: in
    memory. is_sound: all its bars were checked, and are as `Bars` has them.
    """

    file: StoredFile
    height: int
    index_us: NDArray[np.int64]
    content: pl.DataFrame | pl.LazyFrame
    size_bytes: int
    is_sound: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.content, pl.DataFrame)

    def around(self, moment_us: int) -> tuple[int, int]:
        """Two rows, of which the first is no later and the second no earlier than the first that opens at or after."""
        known = int(np.searchsorted(self.index_us, moment_us))
        if self.is_whole:
            return known, known
        earliest = max(0, known - 1) * STEP
        return min(earliest, self.height), min(known * STEP, self.height)

    def rows(self, first: int, end: int) -> pl.DataFrame:
        if isinstance(self.content, pl.DataFrame):
            return self.content.slice(first, end - first)
        try:
            return self.content.slice(first, end - first).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise FileStoreError(f"{self.file.name}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of one year, from its row `first` on."""

    year: _Year
    first: int
    frame: pl.DataFrame


class StoredRows:
    """Reads rows of stored years; keeps whole years and what runs were given as long as the bytes last."""

    def __init__(self, files: FileStore, limit_bytes: int) -> None:
        self._files = files
        self._years: _Kept[_Year] = _Kept(limit_bytes // 2)
        self._given: _Kept[Bars] = _Kept(limit_bytes // 2, most=_RUNS_KEPT)
        self._made_of: WeakKeyDictionary[Bars, list[_Part]] = WeakKeyDictionary()
        self._texts: WeakKeyDictionary[_Year, tuple[bytes, NDArray[np.int64]]] = WeakKeyDictionary()
        """Of years that are kept whole, as `as_csv` has them, and where each row begins and the last one ends."""
        self.has_read = False
        """Set where a file was read: what was listed before may have changed meanwhile."""

    def load(
        self,
        folder: str,
        of: Timeframe,
        files: Mapping[int, StoredFile],
        within: tuple[int, int],
        since_us: int | None,
        until_us: int,
        before: int,
    ) -> Bars | None:
        """Bars with since_us <= open time < until_us and the last `before` earlier ones; None without any.

        files: all years there are, ascending. within: the years in which since_us and until_us lie. The same object as
        before, while it is kept. Raises BadBars naming file and row, and FileStoreError.
        """
        key = (folder, *files.values(), since_us, until_us, before)
        found = self._given.get(key)
        if found is None:
            found = self._load(folder, of, files, within, since_us, until_us, before)
            if found is not None:
                self._given.put(key, found, int(found.frame.estimated_size()))
        return found

    def extent_us(self, of: Timeframe, files: Mapping[int, StoredFile]) -> tuple[int, int] | None:
        """First open and last close of all years."""
        years = [year for file in files.values() if (year := self._year(of, file)).height]
        if not years:
            return None
        last = pl.DataFrame({"time": years[-1].index_us[-1:]}).select(pl.col("time").cast(TIME))
        return int(years[0].index_us[0]), int(Bars(of, last).close_time_us[0])

    def _load(
        self,
        folder: str,
        of: Timeframe,
        files: Mapping[int, StoredFile],
        within: tuple[int, int],
        since_us: int | None,
        until_us: int,
        before: int,
    ) -> Bars | None:
        # From a day on the bar that follows tells when the last one closes: see given_closes_us.
        following = 1 if of.duration_us >= DAY_US else 0
        years = self._wanted_years(of, files, within, since_us is None, before, following)
        starts = np.cumsum([0, *(year.height for year in years)])
        earliest = 0 if since_us is None else _rows_before(years, since_us)[0] - before
        latest = min(_rows_before(years, until_us)[1] + following, int(starts[-1]))
        parts = []
        for year, start in zip(years, starts.tolist(), strict=False):
            first, end = max(0, earliest - start), min(year.height, latest - start)
            if end > first:
                self.has_read |= not year.is_whole
                parts.append(_Part(year, first, _canonical(year.rows(first, end))))
        if not parts:
            return None
        times = np.concatenate([_times(part.frame) for part in parts])
        first = 0 if since_us is None else max(0, int(times.searchsorted(since_us)) - before)
        end = int(times.searchsorted(until_us))
        if end <= first:
            return None
        behind = min(end + following, times.size)
        made = self._bars(of, _cut(parts, first, behind), times[first:behind], folder).rows(0, end - first)
        if all(part.year.is_whole and part.year.is_sound for part in parts):
            self._made_of[made] = _cut(parts, first, end)
        return made

    def as_csv(self, bars: Bars, first: int, end: int) -> bytes | None:
        """Rows of bars that `load` returned, BAR_COLUMNS, without a header. A year is rendered once, and most runs are
        over years that others were over. None: they are not kept whole, or not from here.
        """
        parts = self._made_of.get(bars)
        return None if parts is None else b"".join(self._text(part) for part in _cut(parts, first, end))

    def _text(self, part: _Part) -> bytes:
        known = self._texts.get(part.year)
        if known is None:
            year = part.year.rows(0, part.year.height)
            text = csv_rows(pl.DataFrame([year[name] for name in BAR_COLUMNS]), "iso")
            ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
            known = self._texts[part.year] = text, np.append(0, ends)
        text, begins = known
        return text[begins[part.first] : begins[part.first + part.frame.height]]

    def _wanted_years(
        self,
        of: Timeframe,
        files: Mapping[int, StoredFile],
        within: tuple[int, int],
        from_the_first: bool,
        before: int,
        following: int,
    ) -> list[_Year]:
        """Years of the range, the one after it where a following bar is wanted, and earlier ones that hold `before`."""
        ordered = list(files.items())
        inside = [file for year, file in ordered if (from_the_first or year >= within[0]) and year <= within[1]]
        earlier = [] if from_the_first else [file for year, file in ordered if year < within[0]]
        later = [file for year, file in ordered if year > within[1]][:following]
        years = [self._year(of, file) for file in (*inside, *later)]
        while earlier and before > 0:
            years.insert(0, self._year(of, earlier.pop()))
            before -= years[0].height
        return years

    def _bars(self, of: Timeframe, parts: list[_Part], times: NDArray[np.int64], folder: str) -> Bars:
        """Put rows together, checked: where years are sound, it is for the bars on both sides of a new year only."""
        seams = np.cumsum([part.frame.height for part in parts[:-1]], dtype=np.int64)
        if all(part.year.is_sound for part in parts) and (times[seams] - times[seams - 1] >= of.shortest_us).all():
            return Bars(of, _joined([part.frame for part in parts], np.nan))
        return self._checked(of, parts, folder)

    def _checked(self, of: Timeframe, parts: list[_Part], folder: str) -> Bars:
        """Validate rows as one; when that fails, name the one file and row at fault."""
        frames = [_unchecked(part) for part in parts]
        try:
            joined = _joined(frames, None)
            return bars_from_frame(joined, of, self._files.location(folder), spread_may_lack=True)
        except BadBars:
            for part, frame in zip(parts, frames, strict=True):
                source = place_of(self._files, part.year.file)
                bars_from_frame(frame, of, source, spread_may_lack=True, rows_before=part.first)
            raise

    def _year(self, of: Timeframe, file: StoredFile) -> _Year:
        known = self._years.get(file)
        if known is None:
            self.has_read = True
            known = self._open(of, file)
            self._years.put(file, known, known.size_bytes)
        return known

    def _open(self, of: Timeframe, file: StoredFile) -> _Year:
        if file.size > _SMALL_FILE_BYTES:
            content = self._files.path_of(file.name) or self._files.read(file.name)
            # Kept as it is: what it knows of the file by now need not be read again.
            source = BytesIO(content) if isinstance(content, bytes) else content
            rows = pl.scan_parquet(source, glob=False, hive_partitioning=False)
            times = _times_of_plain(rows)
            if times is not None:
                index_us = np.append(times[::STEP], times[-1:])
                size = index_us.nbytes + (len(content) if isinstance(content, bytes) else 0)
                return _Year(file, times.size, index_us, rows, size)
        frame = read_year(self._files, file)
        sound = _sound(frame, of, place_of(self._files, file))
        if sound is None and (frame["time"].null_count() or not _rises(_times(frame))):
            # Where in the year a row lies is not known then.
            bars_from_frame(frame, of, place_of(self._files, file), spread_may_lack=True)
        kept = frame if sound is None else sound
        size = int(kept.estimated_size() * _WITH_TEXT)
        return _Year(file, kept.height, _times(kept), kept, size, is_sound=sound is not None)


def _sound(frame: pl.DataFrame, of: Timeframe, source: str) -> pl.DataFrame | None:
    """The bars as `Bars` has them; None: one of them is bad, and a run that does not want it is not to hear of it."""
    if frame.height == 0:
        return frame
    try:
        return bars_from_frame(frame, of, source, spread_may_lack=True).frame
    except BadBars:
        return None


def _times_of_plain(rows: pl.LazyFrame) -> NDArray[np.int64] | None:
    """The open times in a file whose rows can be taken as they are; None: it is to be read whole, and parsed."""
    try:
        schema = rows.collect_schema()
        names = list(schema)
        plain = names[:1] == ["time"] and {*PRICES} <= {*names} and {*names[1:]} <= {*_NUMBERS}
        if not plain or schema["time"] != TIME or any(schema[name] != pl.Float64 for name in names[1:]):
            return None
        column = rows.select("time").collect()["time"]
    except (OSError, pl.exceptions.PolarsError):
        return None
    times = column.to_numpy().view(np.int64)
    return times if not column.null_count() and times.size and _rises(times) else None


def _rises(times: NDArray[np.int64]) -> bool:
    return bool((np.diff(times) > 0).all())


def _rows_before(years: list[_Year], moment_us: int) -> tuple[int, int]:
    """Rows of all years, one no later and one no earlier than the first that opens at or after the moment."""
    earliest, latest = zip(*(year.around(moment_us) for year in years), strict=True) if years else ((), ())
    return sum(earliest), sum(latest)


def _canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of bars in one order, absent volume 0."""
    wanted = ["time", *_NUMBERS]
    if "spread" not in frame.columns:
        wanted.pop()
    if frame.columns == wanted:
        return frame
    volume = [] if "volume" in frame.columns else [pl.lit(0.0).alias("volume")]
    return frame.with_columns(volume).select(wanted)


def _joined(frames: list[pl.DataFrame], no_spread: float | None) -> pl.DataFrame:
    """The rows of all frames, with a spread where one of them has it."""
    if len(frames) == 1:
        return frames[0]
    if len({frame.width for frame in frames}) > 1:
        spread = pl.lit(no_spread, pl.Float64).alias("spread")
        frames = [frame if "spread" in frame.columns else frame.with_columns(spread) for frame in frames]
    # `concat` would wait for polars' threads, longer than copying a small run's rows takes.
    joined = frames[0].clone()
    for frame in frames[1:]:
        joined.extend(frame)
    return joined


def _unchecked(part: _Part) -> pl.DataFrame:
    """The rows as they were read: an absent spread is null."""
    if not part.year.is_sound or "spread" not in part.frame.columns:
        return part.frame
    return part.frame.with_columns(pl.col("spread").fill_nan(None))


def _times(frame: pl.DataFrame) -> NDArray[np.int64]:
    return frame["time"].to_numpy().view(np.int64)


def _cut(parts: list[_Part], first: int, end: int) -> list[_Part]:
    """Rows first to end of all parts."""
    kept, start = [], 0
    for part in parts:
        begin, stop = max(0, first - start), min(part.frame.height, end - start)
        if stop > begin:
            kept.append(_Part(part.year, part.first + begin, part.frame.slice(begin, stop - begin)))
        start += part.frame.height
    return kept


class _Kept(Generic[Value]):
    """Things by key, with their sizes; the ones unused the longest leave when there are too many or too large ones."""

    def __init__(self, limit_bytes: int, most: int | None = None) -> None:
        self._limit_bytes, self._most = limit_bytes, most
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        self._kept[key] = value, size
        self._bytes += size
        while len(self._kept) > 1 and (self._bytes > self._limit_bytes or len(self._kept) > (self._most or 1 << 30)):
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped
