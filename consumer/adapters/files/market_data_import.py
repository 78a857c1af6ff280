"""Puts bars into market data at rest: merged with what is stored, checked as a whole, a year's file at a time.

A stored bar is never changed in silence: a bar that differs from the stored one of the same time is refused unless
replacing was asked for. Importing the same file again changes nothing. One importer at a time for a symbol and
timeframe; a failure between two years leaves the earlier years imported, and importing again goes on.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import polars as pl

from consumer.adapters.files.bars import bar_frame
from consumer.adapters.files.market_data import MarketDataUnavailable
from consumer.adapters.files.store import FileStore, FileStoreError, open_file_store
from consumer.adapters.files.tables import parse_table
from engine.errors import BadBars, UnknownSymbol
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import Timeframe
from engine.numeric.times import iso_time

_SYMBOL = re.compile(r"(?!\.+$)[A-Za-z0-9._#-]{1,20}")


@dataclass(frozen=True, slots=True)
class ImportedYear:
    """One year's file after an import. Counts are bars: stored in it now, new among them, and replaced."""

    location: str
    stored: int
    added: int
    replaced: int


def import_bars(
    url: str, symbol: str, timeframe: Timeframe, sources: Iterable[tuple[str, Bars]], *, replace: bool
) -> list[ImportedYear]:
    """Merge bars (name, bars) into `<url>/<symbol>/<timeframe>/<year>.parquet`; return the years touched, in order.

    Raises BadBars where a bar differs from a stored one (without replace) or the merged bars break a rule, before
    anything is written; UnknownSymbol for a name that cannot be a symbol; MarketDataUnavailable.
    """
    if _SYMBOL.fullmatch(symbol) is None:
        raise UnknownSymbol(f"{symbol!r} cannot be a symbol: 1 to 20 letters, digits and ._-#")
    try:
        files = open_file_store(url)
        merge = _Merge(files, f"{symbol}/{timeframe.name}", replace)
        for name, bars in sources:
            merge.add(name, bars)
        merge.check(timeframe)
        return merge.write()
    except FileStoreError as error:
        raise MarketDataUnavailable(str(error)) from error


def usual_spacing_us(bars: Bars) -> int | None:
    """The commonest distance of two neighbouring bars, microseconds; None below two bars. Tells a wrong timeframe."""
    gaps = Counter((bars.time_us[1:] - bars.time_us[:-1]).tolist())
    return gaps.most_common(1)[0][0] if gaps else None


class _Merge:
    """Years as they will be stored, read when first needed."""

    def __init__(self, files: FileStore, folder: str, replace: bool) -> None:
        self._files = files
        self._folder = folder
        self._replace = replace
        self._frames: dict[int, pl.DataFrame | None] = {}
        self._added: Counter[int] = Counter()
        self._replaced: Counter[int] = Counter()
        self._touched: set[int] = set()

    def add(self, name: str, bars: Bars) -> None:
        years = bars.frame["time"].dt.year()
        for year in years.unique().sort().to_list():
            self._add_year(name, bars.frame.filter(years == year), year, int(years.index_of(year) or 0))

    def check(self, timeframe: Timeframe) -> None:
        """Validate touched years together with their neighbours: a year's first bar has one before it."""
        for year in sorted(self._touched):
            neighbours = [self._frame(each) for each in (year - 1, year, year + 1)]
            known = [frame.select("time", "open", "high", "low", "close") for frame in neighbours if frame is not None]
            bars_from_frame(pl.concat(known), timeframe, self._location(year))

    def write(self) -> list[ImportedYear]:
        report = []
        for year in sorted(self._touched):
            frame = self._frame(year)
            assert frame is not None
            if self._added[year] or self._replaced[year]:
                self._files.write(self._name(year), _parquet(frame), durable=True)
            report.append(ImportedYear(self._location(year), frame.height, self._added[year], self._replaced[year]))
        return report

    def _add_year(self, name: str, new: pl.DataFrame, year: int, rows_before: int) -> None:
        self._touched.add(year)
        old = self._frame(year)
        if old is None:
            self._frames[year] = new
            self._added[year] += new.height
            return
        if set(old.columns) != set(new.columns):
            raise BadBars(f"{name}: {self._location(year)} has the columns {', '.join(old.columns)}; they must agree")
        new = new.select(old.columns)
        row = pl.int_range(pl.len()).alias("row")
        both = new.with_columns(row).join(old, on="time", suffix="_stored")
        values = [column for column in old.columns if column != "time"]
        differing = both.filter(pl.any_horizontal(pl.col(each) != pl.col(f"{each}_stored") for each in values))
        if differing.height and not self._replace:
            first = differing.sort("row").row(0, named=True)
            which = next(each for each in values if first[each] != first[f"{each}_stored"])
            time = iso_time(int(new["time"].to_physical()[first["row"]]))
            raise BadBars(
                f"{name}: row {rows_before + first['row'] + 1} (time {time}): {which} {first[which]} differs from"
                f" {first[f'{which}_stored']} stored in {self._location(year)}; --replace takes the new bar"
            )
        kept = old.join(new, on="time", how="anti")
        self._frames[year] = pl.concat([kept, new]).sort("time")
        self._added[year] += new.height - both.height
        self._replaced[year] += differing.height

    def _frame(self, year: int) -> pl.DataFrame | None:
        if year not in self._frames:
            self._frames[year] = self._stored(year)
        return self._frames[year]

    def _stored(self, year: int) -> pl.DataFrame | None:
        if not self._files.exists(self._name(year)):
            return None
        content, source = self._files.read(self._name(year)), self._location(year)
        return bar_frame(parse_table(content, source, BadBars), source)

    def _name(self, year: int) -> str:
        return f"{self._folder}/{year:04d}.parquet"

    def _location(self, year: int) -> str:
        return self._files.location(self._name(year))


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()
