"""Section 1: which bars a run is given, of what is stored."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.engine.reference.candles import close_moments, resample
from tests.engine.reference.model import DAY_US, Bar, Instrument, Series

CONVERSION_LEAD_US = 8 * DAY_US


@dataclass(frozen=True, slots=True)
class Loaded:
    """bars: warm-up first. first_bar: the first simulated. is_short: the data begin after the warm-up asked for."""

    bars: Sequence[Bar]
    first_bar: int
    is_short: bool


def load_run(series: Series, start_us: int, end_us: int, warm_up_bars: int) -> Loaded:
    """The bars simulated, those that open from start to before end, after the last warm_up_bars before them."""
    before = [bar for bar in series.bars if bar.time_us < start_us]
    warm_up = before[len(before) - warm_up_bars :] if warm_up_bars <= len(before) else before
    simulated = [bar for bar in series.bars if start_us <= bar.time_us < end_us]
    return Loaded((*warm_up, *simulated), len(warm_up), is_short=len(warm_up) < warm_up_bars)


def load_conversion(series: Series, run: Loaded, start_us: int, end_us: int) -> Series:
    """What a pair may tell the run: from 8 days before the warm-up on."""
    begin_us = min(start_us, run.bars[0].time_us) - CONVERSION_LEAD_US
    return Series(series.timeframe_us, [bar for bar in series.bars if begin_us <= bar.time_us < end_us])


def load_context(series: Series, timeframe_us: int, instrument: Instrument, start_us: int, warm_up_bars: int) -> Series:
    """A context from stored bars of its own timeframe, or from finer ones: the last warm_up_bars before start, and all
    later ones.
    """
    own = series if series.timeframe_us == timeframe_us else resample(series, timeframe_us, instrument)
    loaded = load_run(own, start_us, own.bars[-1].time_us + 1, warm_up_bars)
    return Series(timeframe_us, loaded.bars)


def closed_at(context: Series, moment_us: int) -> int:
    """How many bars of a context a decision at this moment sees: those that closed at or before it."""
    return bisect_right(close_moments(context.bars, context.timeframe_us), moment_us)


@dataclass(frozen=True, slots=True)
class Choice:
    """is_whole False: no source spans the range, and a warning says so."""

    timeframe_us: int
    is_whole: bool


def choose_source(stored: Mapping[int, Series], wanted_us: int, start_us: int, end_us: int) -> Choice | None:
    """The stored timeframe that a wanted one is made of: itself, else the finest that divides it and spans the range.

    It opens no later and closes no earlier, within the range, than the others; where none does, the longest there.
    None: there is none that divides it.
    """
    if wanted_us in stored:
        return Choice(wanted_us, is_whole=True)
    spans = {
        each_us: _within(series, start_us, end_us)
        for each_us, series in sorted(stored.items())
        if each_us < wanted_us and wanted_us % each_us == 0 and series.bars
    }
    if not spans:
        return None
    earliest, latest = min(begin for begin, _ in spans.values()), max(end for _, end in spans.values())
    for each_us, (begin, end) in spans.items():
        if begin <= earliest and end >= latest:
            return Choice(each_us, is_whole=True)
    longest = max(spans, key=lambda each_us: (spans[each_us][1] - spans[each_us][0], -each_us))
    return Choice(longest, is_whole=False)


def _within(series: Series, start_us: int, end_us: int) -> tuple[int, int]:
    closes_us = close_moments(series.bars, series.timeframe_us)
    return max(start_us, series.bars[0].time_us), min(end_us, closes_us[-1])
