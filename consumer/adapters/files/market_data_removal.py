"""Takes bars out of market data at rest, each timeframe's as one change."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from consumer.adapters.files.import_notes import notes_to_json
from consumer.adapters.files.market_data import MarketDataUnavailable, ParquetMarketData
from consumer.adapters.files.market_data_import import LOCKS, WAIT_SECONDS, StoredBars
from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.adapters.files.stored_years import change_years, finish_change
from engine.market.instruments import refuse_impossible


@dataclass(frozen=True, slots=True)
class RemovedBars:
    """What went of one timeframe. count: bars, at least one; first, last: their open times; left: bars that stay."""

    timeframe: str
    count: int
    first: datetime
    last: datetime
    left: int


def remove_bars(
    url: str, symbol: str, timeframe_name: str | None, since: datetime | None, until: datetime | None
) -> list[RemovedBars]:
    """Remove bars with since <= open time < until (None: no bound) of a timeframe or of all; return what went.

    An interruption between two timeframes leaves the later ones as they were. Raises UnknownSymbol for a name that
    cannot be a symbol, and MarketDataUnavailable.
    """
    refuse_impossible(symbol)
    stored = ParquetMarketData(url, cache_bytes=1)
    try:
        files = open_file_store(url)
        removed = []
        with files.locked(f"{LOCKS}/{symbol}", WAIT_SECONDS) as lock:
            for name in (timeframe_name,) if timeframe_name else stored.timeframes(symbol):
                folder = f"{symbol}/{name}"
                finish_change(files, folder, lock.confirm)
                bars = StoredBars(files, folder)
                gone = _put_without(bars, since, until)
                if gone is not None:
                    notes = bars.changed_notes({})
                    change_years(files, folder, bars.changed_years(), notes_to_json(notes), lock.confirm)
                    left = sum(bars.after(year).height for year in bars.years)
                    removed.append(RemovedBars(name, gone.height, gone["time"][0], gone["time"][-1], left))
            if not files.folders(symbol) and not files.files(symbol):
                files.remove_folder(symbol)
    except FileStoreError as error:
        raise MarketDataUnavailable(str(error)) from error
    return removed


def _put_without(bars: StoredBars, since: datetime | None, until: datetime | None) -> pl.DataFrame | None:
    """Leave the bars of the range out of their years; return them, None when there are none."""
    gone = []
    for year in bars.years:
        if (since is not None and year < since.year) or (until is not None and year > until.year):
            continue
        frame = bars.before(year)
        in_range = pl.lit(True)
        if since is not None:
            in_range &= pl.col("time") >= since
        if until is not None:
            in_range &= pl.col("time") < until
        gone.append(frame.filter(in_range))
        bars.put(year, frame.filter(~in_range))
    removed = pl.concat(gone) if gone else None
    return removed if removed is not None and removed.height else None
