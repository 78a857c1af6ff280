"""Market data made of files named one by one, as on the command line, in front of data at rest where there are any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from consumer.adapters.files.bars import BarFile, read_bar_file
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.written_times import DateOrder
from engine.errors import BadBars
from engine.market.bar_length import other_length
from engine.market.bars import Bars
from engine.market.instruments import Session
from engine.market.timeframes import Timeframe, can_resample, timeframe


@dataclass(frozen=True, slots=True)
class ConversionFile:
    """A file of a pair that converts profit. timeframe: None for the run's."""

    path: Path
    timeframe: Timeframe | None


@dataclass(frozen=True, kw_only=True)
class NamedBarFiles:
    """Bars of one symbol from files by timeframe, and conversion pairs from files by symbol. A file wins over what
    `stored` has of the same symbol and timeframe. Each file is read and validated once. timezone, format_name and
    date_order: how to read files, see `read_bar_file`."""

    symbol: str
    by_timeframe: Mapping[str, Path]
    conversion: Mapping[str, ConversionFile]
    timezone: str
    stored: ParquetMarketData | None
    format_name: str | None = None
    date_order: DateOrder | None = None
    _read: dict[tuple[Path, Timeframe], Bars] = field(default_factory=dict, init=False, repr=False)
    _files: dict[Path, BarFile] = field(default_factory=dict, init=False, repr=False)

    def __str__(self) -> str:
        named = ", ".join(str(path) for path in self.by_timeframe.values())
        return " and ".join(each for each in (named, str(self.stored) if self.stored else "") if each)

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        """Timeframes of this symbol that have a file or are stored."""
        named = tuple(self.by_timeframe) if symbol == self.symbol else ()
        return named + (self.stored.timeframes(symbol) if self.stored else ())

    def load(
        self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None, before: int = 0
    ) -> Bars | None:
        """Bars with since <= open time < until, and the last `before` of those that open earlier; None: there are none.

        Raises BadBars, MarketDataUnavailable.
        """
        path = self.by_timeframe.get(timeframe_name) if symbol == self.symbol else None
        if path is not None:
            return _within(self._bars(path, timeframe(timeframe_name)), until, since, before)
        return self.stored.load(symbol, timeframe_name, until, since, before) if self.stored else None

    def extent_us(self, symbol: str, timeframe_name: str) -> tuple[int, int] | None:
        """First open and last close of all bars there are; None: there are none. Raises as `load` does."""
        path = self.by_timeframe.get(timeframe_name) if symbol == self.symbol else None
        if path is not None:
            bars = self._bars(path, timeframe(timeframe_name))
            return int(bars.time_us[0]), int(bars.close_time_us[-1])
        return self.stored.extent_us(symbol, timeframe_name) if self.stored else None

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        """Whether there is a file of them: who named it wants these bars and no others."""
        return symbol == self.symbol and timeframe_name in self.by_timeframe

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime, since: datetime) -> Bars | None:
        """Bars of a pair, of the file's own timeframe where it names one, else of the run's."""
        file = self.conversion.get(pair)
        if file is not None:
            bars = self._bars(file.path, file.timeframe or timeframe(timeframe_name))
            return _within(bars, until, since)
        return self.stored.load_conversion(pair, timeframe_name, until, since) if self.stored else None

    def warnings(self, session: Session) -> list[str]:
        """What the files read so far make a careful reader ask: zones that fit them better, columns left out.

        session: of the instrument whose bars they are; conversion pairs are taken to trade in the FX week.
        """
        said = []
        of_symbol = set(self.by_timeframe.values())
        for (path, _), bars in self._read.items():
            file = self._files[path]
            said += [f"{path}: {note}" for note in file.notes]
            advice = file.zone_advice(bars.time_us, session if path in of_symbol else "fx")
            said += [f"{path}: {advice}"] if advice else []
        return list(dict.fromkeys(said))

    def _bars(self, path: Path, of: Timeframe) -> Bars:
        if (path, of) not in self._read:
            if path not in self._files:
                self._files[path] = read_bar_file(
                    path, self.timezone, format_name=self.format_name, date_order=self.date_order
                )
            other = other_length(self._files[path].frame["time"].to_physical().to_numpy(), of)
            if other is not None:
                _refuse_other_length(path, other, of)
            bars = self._files[path].bars(of)
            self._read[path, of] = bars
        return self._read[path, of]


def _refuse_other_length(path: Path, other: Timeframe, of: Timeframe) -> NoReturn:
    """Read as shorter ones, bars would be known before they close; of longer ones some would be lost."""
    way = f"run them with --timeframe {other.name}"
    if other.duration_us < of.duration_us and can_resample(other, of):
        way += f", or import them as {other.name}: run --market-data ... --timeframe {of.name} then makes {of.name}"
    raise BadBars(f"{path}: these are {other.name} bars, not {of.name}: {way}")


def _within(bars: Bars, until: datetime, since: datetime | None, before: int = 0) -> Bars | None:
    times = bars.frame["time"]
    first = max(0, int(times.search_sorted(since, side="left")) - before) if since is not None else 0
    end = int(times.search_sorted(until, side="left"))
    return bars.rows(first, end) if end > first else None
