"""Puts bars into market data at rest: merged with what is stored, checked as a whole, changed as one.

A stored bar is never changed in silence. Bars of another zone, of another length, or that differ from stored ones of
the same times are refused with both sides shown, unless replacing was asked for: then the months that the new bars
touch hold these alone. Importing the same file again changes nothing. One change at a time for a symbol; one that
was interrupted has not happened, or is completed by the next (`stored_years`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

import polars as pl

from consumer.adapters.files.bar_merging import (
    NO_BARS,
    Month,
    as_if_in,
    besides_prices,
    differing_bars,
    first_difference,
    in_months,
    iso,
    joined_bars,
    months,
    uniform,
)
from consumer.adapters.files.bars import BarFile
from consumer.adapters.files.import_notes import ImportNotes, notes_from_json, notes_to_json
from consumer.adapters.files.market_data import MarketDataUnavailable
from consumer.adapters.files.store import FileStore, FileStoreError, open_file_store
from consumer.adapters.files.stored_rows import ROW_GROUP
from consumer.adapters.files.stored_years import change_years, finish_change, read_notes, read_year, year_files
from engine.errors import BadBars
from engine.market.bar_length import other_length
from engine.market.bars import PRICES, Bars, bars_from_frame
from engine.market.instruments import refuse_impossible
from engine.market.timeframes import Timeframe


class BarsDiffer(BadBars):
    """The bars do not fit to those that are stored; both sides in words."""

    code = "differs"

    def __init__(self, message: str, stored: str, new: str) -> None:
        super().__init__(message)
        self.stored, self.new = stored, new


LOCKS = ".locks"
WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class IncomingBars:
    """Bars to import. name: their file's; zone: in which its times were read, None where there was nothing to choose;
    fault: what is wrong with them as bars of the timeframe they were given as, where `bars` are of another."""

    name: str
    bars: Bars
    zone: str | None = None
    fault: str | None = None


def incoming_bars(file: BarFile, timeframe: Timeframe) -> IncomingBars:
    """A file's bars, to import as this timeframe; of the timeframe that they are, where that is plainly a shorter one.

    Raises BadBars.
    """
    zone = file.timezone if file.has_local_times else None
    shorter = other_length(file.frame["time"].to_physical().to_numpy(), timeframe)
    if shorter is None or shorter.duration_us > timeframe.duration_us:
        return IncomingBars(file.source, file.bars(timeframe), zone)
    bars = file.bars(shorter)
    try:
        return IncomingBars(file.source, file.bars(timeframe), zone)
    except BadBars as error:
        return IncomingBars(file.source, bars, zone, str(error))


@dataclass(frozen=True, slots=True)
class ImportedYear:
    """One year's file after an import. Counts are bars: stored in it now, new among them, and gone from it.

    spreads_lost: with a spread before and without one now; without_spread: new without one, beside some that have one.
    """

    location: str
    stored: int
    added: int
    removed: int
    spreads_lost: int
    without_spread: int


def import_bars(
    url: str, symbol: str, timeframe: Timeframe, sources: Sequence[IncomingBars], *, replace: bool
) -> list[ImportedYear]:
    """Merge bars into `<url>/<symbol>/<timeframe>/<year>.parquet`; return the years touched, in order.

    Where a bar is stored without spread or volume and comes with one, it gets it. Raises BadBars where the bars are of
    another zone, length or price than stored ones (zone and price: not with replace), where sources contradict each
    other, or where the merged bars break a rule, before anything is written; UnknownSymbol for a name that cannot be a
    symbol; MarketDataUnavailable.
    """
    refuse_impossible(symbol)
    try:
        files = open_file_store(url)
        with files.locked(f"{LOCKS}/{symbol}", WAIT_SECONDS) as lock:
            folder = f"{symbol}/{timeframe.name}"
            finish_change(files, folder, lock.confirm)
            stored = StoredBars(files, folder)
            merge = _Merge(stored, timeframe, sources)
            merge.refuse_other_length()
            if replace:
                merge.replace_months()
            else:
                merge.refuse_other_zone()
                merge.add()
            merge.check_fit()
            changed, notes = stored.changed_years(), stored.changed_notes(merge.zones())
            if changed or notes != stored.notes:
                change_years(files, folder, changed, notes_to_json(notes), lock.confirm)
            return merge.report()
    except FileStoreError as error:
        raise MarketDataUnavailable(str(error)) from error


class StoredBars:
    """Years of one symbol and timeframe, read when first needed, and as they are about to be. The lock is held."""

    def __init__(self, files: FileStore, folder: str) -> None:
        self._files = files
        self._folder = folder
        self._listed = year_files(files, folder)
        self._before: dict[int, pl.DataFrame] = {}
        self._after: dict[int, pl.DataFrame] = {}
        self.notes = notes_from_json(read_notes(files, folder))

    @property
    def years(self) -> list[int]:
        """Years that have a file, in order."""
        return list(self._listed)

    def before(self, year: int) -> pl.DataFrame:
        """The year's bars as stored: time, prices, volume (0: none known) and spread (null: none known)."""
        if year not in self._before:
            listed = self._listed.get(year)
            self._before[year] = uniform(read_year(self._files, listed)) if listed is not None else NO_BARS
        return self._before[year]

    def after(self, year: int) -> pl.DataFrame:
        return self._after[year] if year in self._after else self.before(year)

    def put(self, year: int, frame: pl.DataFrame) -> None:
        self._after[year] = frame

    def changed_years(self) -> dict[int, bytes | None]:
        """The files to write, None for one to remove, of the years whose bars are others now."""
        return {
            year: _parquet(frame) if frame.height else None
            for year, frame in self._after.items()
            if not frame.equals(self.before(year))
        }

    def changed_notes(self, zones: dict[Month, str | None]) -> ImportNotes:
        """Notes with these zones (None: without one for the month), and no months that have no bars any more."""
        kept = {month: zone for month, zone in {**self.notes.zones, **zones}.items() if zone is not None}
        for year, frame in self._after.items():
            there = months(frame)
            kept = {month: zone for month, zone in kept.items() if month in there or month[:4] != f"{year:04d}"}
        return ImportNotes(kept)

    def location(self, year: int) -> str:
        return self._files.location(f"{self._folder}/{year:04d}.parquet")

    def described(self) -> str:
        """`18465 bars of EURUSD H1 from T to T, imported in UTC`, for a refusal: reads the first and the last year."""
        zones = " and ".join(self.notes.named)
        count = sum(self.before(year).height for year in self.years)
        first, last = self.before(self.years[0])["time"][0], self.before(self.years[-1])["time"][-1]
        return (
            f"{count} bar{'s' * (count != 1)} of {self._folder.replace('/', ' ')} from {iso(first)} to {iso(last)},"
            f" {f'imported in {zones}' if zones else 'with no zone recorded'}"
        )


class _Merge:
    """New bars on their way into the years they belong to."""

    def __init__(self, stored: StoredBars, timeframe: Timeframe, sources: Sequence[IncomingBars]) -> None:
        self._stored = stored
        self._timeframe = timeframe
        self._sources = sources
        self._new = self._joined_sources()
        self._years = sorted(self._new["time"].dt.year().unique().to_list())
        self._replaces = False
        self._added: Counter[int] = Counter()
        self._removed: Counter[int] = Counter()

    def refuse_other_length(self) -> None:
        wanted = self._timeframe
        for each in self._sources:
            other = each.bars.timeframe if each.bars.timeframe != wanted else other_length(each.bars.time_us, wanted)
            if other is not None:
                beside = f"; stored are {self._stored.described()}" if self._stored.years else ""
                raise BadBars(
                    f"{each.fault or each.name}: these are {other.name} bars, not {wanted.name}: {_described(each)}"
                    f"{beside}; import them with --timeframe {other.name}"
                )

    def refuse_other_zone(self) -> None:
        known = set(self._stored.notes.named)
        for each in self._sources:
            zones = self._stored.notes.zones
            there = {zones[month] for month in months(each.bars.frame) if month in zones}
            if each.zone is not None and known and (each.zone not in known or there - {each.zone}):
                other = " or ".join(sorted((there or known) - {each.zone}))
                raise self._differing(
                    f"{each.name}: its times were read in another zone than those stored: {_described(each)}; stored"
                    f" are {self._stored.described()}; if {other} is its zone, --bars-timezone {other} imports it; if"
                    f" the stored ones are wrong, {self._advice()}"
                )

    def add(self) -> None:
        for year in self._years:
            old, new = self._stored.before(year), self._of(year)
            differing = differing_bars(old, new)
            if differing.height:
                raise self._differing(self._difference(differing))
            merged = joined_bars(old, new)
            self._stored.put(year, merged)
            self._added[year] += merged.height - old.height

    def replace_months(self) -> None:
        self._replaces = True
        for year in self._years:
            old, new = self._stored.before(year), self._of(year)
            kept = old.filter(~in_months(months(new)))
            self._stored.put(year, pl.concat([kept, new]).sort("time"))
            self._added[year] += new.height
            self._removed[year] += old.height - kept.height
        self._remove_misread()

    def check_fit(self) -> None:
        """Validate touched years together with their neighbours: a year's first bar has one before it."""
        for year in self._years:
            around = pl.concat([self._stored.after(each) for each in (year - 1, year, year + 1)])
            try:
                bars_from_frame(around.select("time", *PRICES), self._timeframe, "together")
            except BadBars as error:
                raise self._differing(
                    f"{self._names()}: does not fit to the stored bars: {error}; stored are {self._stored.described()};"
                    f" the new: {self._new_described()}; {self._advice()}"
                ) from None

    def zones(self) -> dict[Month, str | None]:
        """The zone of each month that new bars touch. One that came with an offset says nothing of the others there."""
        zones: dict[Month, str | None] = {}
        for each in self._sources:
            for month in months(each.bars.frame):
                zones[month] = each.zone or zones.get(month)
        if not self._replaces:
            zones = {month: zone or self._stored.notes.zones.get(month) for month, zone in zones.items()}
        return zones

    def report(self) -> list[ImportedYear]:
        years = sorted({*self._years, *self._removed})
        # Not all years are read: who records spreads has them at one end, or where the new bars go.
        around = {*years, *self._stored.years[:1], *self._stored.years[-1:]}
        has_spreads = any(self._stored.before(year)["spread"].count() for year in around)
        return [self._reported(year, has_spreads=has_spreads) for year in years]

    def _reported(self, year: int, *, has_spreads: bool) -> ImportedYear:
        before, after = self._stored.before(year), self._stored.after(year)
        bare = after.filter(pl.col("spread").is_null())
        lost = before.filter(pl.col("spread").is_not_null()).join(bare, on="time", how="semi").height
        lacking = bare.join(before, on="time", how="anti").height if has_spreads else 0
        return ImportedYear(
            self._stored.location(year), after.height, self._added[year], self._removed[year], lost, lacking
        )

    def _joined_sources(self) -> pl.DataFrame:
        joined = NO_BARS
        for each in self._sources:
            frame = uniform(each.bars.frame)
            differing = differing_bars(joined, frame)
            if differing.height:
                first = differing.row(0, named=True)
                raise BadBars(f"{_row_of(each, first['time'])}: {first_difference(first)} in another of the files")
            joined = joined_bars(joined, frame)
        return joined

    def _remove_misread(self) -> None:
        """Remove what an import of the same file in another zone left in months that it does not touch in this one.

        At the ends of the file the wrong zone may have moved a few bars into the month before or after. They are known
        by the times they would have had there, together with their prices.
        """
        zones: set[str] = {each.zone for each in self._sources if each.zone is not None}
        touched = months(self._new)
        for zone in sorted(zones):
            for year in {self._years[0] - 1, *self._years, self._years[-1] + 1} & set(self._stored.years):
                frame = self._stored.after(year)
                for month in months(frame) - touched:
                    other = self._stored.notes.zones.get(month, "UTC")
                    if other not in (None, zone):
                        misread = as_if_in(self._new, zone, other).filter(in_months({month}))
                        frame = frame.join(misread, on=["time", *PRICES], how="anti")
                self._removed[year] += self._stored.after(year).height - frame.height
                self._stored.put(year, frame)

    def _of(self, year: int) -> pl.DataFrame:
        return self._new.filter(pl.col("time").dt.year() == year)

    def _difference(self, differing: pl.DataFrame) -> str:
        first = differing.sort("time").row(0, named=True)
        return (
            f"{self._where(first['time'])}: {first_difference(first)} stored{besides_prices(differing)};"
            f" stored are {self._stored.described()}; the new: {self._new_described()}; {self._advice()}"
        )

    def _differing(self, message: str) -> BarsDiffer:
        return BarsDiffer(message, self._stored.described(), self._new_described())

    def _advice(self) -> str:
        touched = sorted(months(self._new))
        span = touched[0] if len(touched) == 1 else f"its months, {touched[0]} to {touched[-1]},"
        return f"--replace removes what is stored in {span} and puts these bars there"

    def _where(self, time: datetime) -> str:
        return next(_row_of(each, time) for each in self._sources if time in each.bars.frame["time"])

    def _names(self) -> str:
        return ", ".join(each.name for each in self._sources)

    def _new_described(self) -> str:
        return " and ".join(_described(each) for each in self._sources)


def _row_of(incoming: IncomingBars, time: datetime) -> str:
    """`FILE: row N (time T)`; the bar is there."""
    row = int(incoming.bars.frame["time"].search_sorted(time))
    return f"{incoming.name}: row {row + 1} (time {iso(time)})"


def _described(incoming: IncomingBars) -> str:
    times = incoming.bars.frame["time"]
    zone = f"read in {incoming.zone}" if incoming.zone else "whose times need no zone"
    many = "1 bar" if times.len() == 1 else f"{times.len()} bars"
    return f"{many} from {iso(times[0])} to {iso(times[-1])}, {zone}"


def _parquet(frame: pl.DataFrame) -> bytes:
    if frame["spread"].null_count() == frame.height:
        frame = frame.drop("spread")
    buffer = BytesIO()
    # lz4 takes twice the room of zstd and half the time, and a small run mostly waits for its bars.
    frame.write_parquet(buffer, compression="lz4", statistics=False, row_group_size=ROW_GROUP)
    return buffer.getvalue()
