"""The candles of a run's chart: its own bars, or longer ones made of them, in parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from consumer.errors import ConsumerError
from consumer.ports.run_tables import BarsFile
from consumer.reports.tables import Table
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.resampling import candle_opens, resample_with_cut
from engine.market.timeframes import DAY_US, HOUR_US, TIMEFRAMES, Timeframe, can_resample

COLUMNS: Final = ("time", "open", "high", "low", "close", "volume", "complete")
STORED, RESAMPLED = "stored", "resampled"


class ChartRefused(ConsumerError):
    """A range, a timeframe or a number of points that no candles answer. field: of the query."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class CandlesAsked:
    """since_us <= open < until_us, None for no bound. timeframe None: the run's own. max_points: then of a longer one,
    where there are more.
    """

    since_us: int | None = None
    until_us: int | None = None
    timeframe: Timeframe | None = None
    max_points: int | None = None


def candle_table(bars: BarsFile, own: Timeframe, instrument: Instrument | None, asked: CandlesAsked) -> Table:
    """Candles with since <= open < until, columns COLUMNS; each is whole, made of all its bars, also those behind
    `until`. complete: False for one that the begin or the end of the run's bars cuts.

    instrument: tells where candles above H1 begin; None where it is not known. Raises ChartRefused.
    """
    of = own if asked.timeframe is None else asked.timeframe
    refuse_finer(own, of)
    if asked.max_points is not None:
        of = finest_that_fits(bars, own, of, instrument, asked)
    parts = stored_parts(bars, asked) if of == own else resampled_parts(bars, own, of, instrument, asked)
    source = STORED if of == own else RESAMPLED
    return Table(COLUMNS, parts, {"timeframe": of.name, "source": source})


def refuse_finer(own: Timeframe, of: Timeframe) -> None:
    if of != own and (of.duration_us < own.duration_us or not can_resample(own, of)):
        raise ChartRefused("timeframe", f"must be {own.name}, or one that whole bars of {own.name} fill, not {of.name}")


def finest_that_fits(
    bars: BarsFile, own: Timeframe, least: Timeframe, instrument: Instrument | None, asked: CandlesAsked
) -> Timeframe:
    """The shortest timeframe, from `least` on, in which the range has max_points candles at most. Raises ChartRefused
    where none has.
    """
    assert asked.max_points is not None
    longer = [each for each in TIMEFRAMES.values() if each.duration_us >= least.duration_us and can_resample(own, each)]
    counted = [_Count(each, own, instrument) for each in sorted(longer, key=lambda each: each.duration_us)]
    for part in bars.parts(*_margins(asked, counted[-1].of), columns=("time",)):
        time_us = part["time"].to_physical().to_numpy()
        for each in counted:
            each.add(time_us, asked)
        while len(counted) > 1 and counted[0].candles > asked.max_points:
            del counted[0]
    if counted[0].candles > asked.max_points:
        raise ChartRefused("max_points", f"is less than the {counted[0].candles} candles of {counted[0].of.name}")
    return counted[0].of


class _Count:
    def __init__(self, of: Timeframe, own: Timeframe, instrument: Instrument | None) -> None:
        self.of, self._own, self._instrument = of, own, instrument
        self.candles = 0
        self._last_us = -1

    def add(self, time_us: NDArray[np.int64], asked: CandlesAsked) -> None:
        opens_us = (
            time_us if self.of == self._own else candle_opens(time_us, self.of, anchor_of(self._instrument, self.of))
        )
        news = np.diff(opens_us, prepend=self._last_us) != 0
        wanted = (opens_us >= _bound(asked.since_us, -(2**62))) & (opens_us < _bound(asked.until_us, 2**62))
        self.candles += int((news & wanted).sum())
        self._last_us = int(opens_us[-1])


def stored_parts(bars: BarsFile, asked: CandlesAsked) -> Iterator[pl.DataFrame]:
    for part in bars.parts(asked.since_us, asked.until_us):
        yield part.with_columns(complete=pl.lit(value=True))


def resampled_parts(
    bars: BarsFile, own: Timeframe, of: Timeframe, instrument: Instrument | None, asked: CandlesAsked
) -> Iterator[pl.DataFrame]:
    """Each part's last candle waits for the next part, which may hold more of it, with the bar before it: whether a
    candle is cut is seen at the first and the last of all, and so no other may ever stand there.
    """
    anchored = anchor_of(instrument, of)
    waiting: pl.DataFrame | None = None
    is_told = False
    """Whether the first bar that waits is of a candle that was told already, or that nobody asked for."""
    for part, place in _with_what_lies_outside(bars, of, asked):
        if waiting is None:
            waiting, is_told = part, place is _Place.BEFORE
            continue
        joined = pl.concat([waiting, part])
        opens_us = candle_opens(joined["time"].to_physical().to_numpy(), of, anchored)
        begin = int(np.searchsorted(opens_us, opens_us[-1]))
        if begin:
            yield from _within(asked, _candles(joined, own, of, anchored)[int(is_told) : -1])
            waiting, is_told = joined.slice(begin - 1), True
        else:
            waiting = joined
        if place is _Place.AFTER:
            return
    if waiting is not None:
        yield from _within(asked, _candles(waiting, own, of, anchored)[int(is_told) :])


class _Place(Enum):
    BEFORE = auto()
    WITHIN = auto()
    AFTER = auto()


def _with_what_lies_outside(
    bars: BarsFile, of: Timeframe, asked: CandlesAsked
) -> Iterator[tuple[pl.DataFrame, _Place]]:
    """The parts that candles of the range are made of, and a bar far before and after them where there are more bars:
    then nothing is cut there. What such a bar holds does not matter.
    """
    extent = bars.extent_us()
    if extent is None:
        return
    far_us = of.duration_us + 60 * DAY_US
    last: pl.DataFrame | None = None
    for part in bars.parts(*_margins(asked, of)):
        if last is None and part["time"].to_physical()[0] > extent[0]:
            yield _moved(part.head(1), -far_us), _Place.BEFORE
        yield part, _Place.WITHIN
        last = part.tail(1)
    if last is not None and last["time"].to_physical()[0] < extent[1]:
        yield _moved(last, far_us), _Place.AFTER


def _moved(bar: pl.DataFrame, by_us: int) -> pl.DataFrame:
    return bar.with_columns((bar["time"].to_physical() + by_us).cast(bar["time"].dtype).alias("time"))


def _candles(rows: pl.DataFrame, own: Timeframe, of: Timeframe, instrument: Instrument) -> pl.DataFrame:
    made, complete = resample_with_cut(Bars(own, rows.rechunk()), of, instrument)
    return made.frame.with_columns(complete=pl.Series(complete)).select(COLUMNS)


def _within(asked: CandlesAsked, candles: pl.DataFrame) -> Iterator[pl.DataFrame]:
    opens_us = candles["time"].to_physical()
    kept = candles.filter((opens_us >= _bound(asked.since_us, -(2**62))) & (opens_us < _bound(asked.until_us, 2**62)))
    if kept.height:
        yield kept


def _margins(asked: CandlesAsked, of: Timeframe) -> tuple[int | None, int | None]:
    """The bars that whole candles of the range may be made of: a candle, and a weekend that folds into one."""
    longest = of.duration_us + 5 * DAY_US
    return (
        None if asked.since_us is None else asked.since_us - longest,
        None if asked.until_us is None else asked.until_us + longest,
    )


def anchor_of(instrument: Instrument | None, of: Timeframe) -> Instrument:
    """Raises ChartRefused where candles of that length begin with a trading day that is not known."""
    if instrument is not None:
        return instrument
    if of.duration_us > HOUR_US:
        raise ChartRefused("timeframe", f"{of.name} begins with the trading day of an instrument not known here")
    return _ANY


def _bound(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


_ANY: Final = Instrument("ANY", "ANY", "USD", pip=0.0001, contract=1.0, digits=5, session="always")
