"""Which data a run sees: one place for the command line and the worker's engine children, so that both see the same.

The rules: nothing that opens before the warm-up or at or after the end is loaded, but what a bar of a timeframe that is
not there is made of. A timeframe that is there is used whatever it spans, with a warning; one that is not is resampled
from the finest that can make it and spans the range. Finer bars, which order what happens inside the run's, are the
finest that have a bar in the range; in close_price nothing is ambiguous and none are loaded. Conversion pairs are those
of the first route that is complete, from 8 days before the warm-up on (or three of the run's bars, if that is longer).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from engine.errors import BadBars, NoData, UnknownTimeframe
from engine.market.bar_length import other_length
from engine.market.bars import Bars
from engine.market.conversion import pairs_wanted
from engine.market.instruments import Instrument, instrument_for
from engine.market.price_decimals import finer_than_digits
from engine.market.resampling import resample
from engine.market.timeframes import DAY_US, HOUR_US, TIMEFRAMES, WEEK_US, Timeframe, can_resample, timeframe
from engine.market.zone_advice import zone_advice_on
from engine.numeric.times import as_us, iso_time
from engine.prepared import RunData
from engine.specification import ExecutionMode, Specification
from engine.warm_up import WarmUp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONVERSION_LEAD = timedelta(days=8)
_BARS_THAT_TELL = 10_000


class MarketData(Protocol):
    """Bars by symbol and timeframe. `str()` of it names the place, for messages."""

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        """Timeframes that have bars of their own for this symbol."""
        ...

    def load(
        self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None, before: int = 0
    ) -> Bars | None:
        """Bars with since <= open time < until (since None: from the first one there is), and the last `before` of
        those that open earlier; None when there are none at all. The last bar closes as with all that follow it."""
        ...

    def extent_us(self, symbol: str, timeframe_name: str) -> tuple[int, int] | None:
        """The first open and the last close of all bars there are; None without any."""
        ...

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        """Whether somebody named these bars for this run, so that none made of others may stand in for them."""
        ...

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime, since: datetime) -> Bars | None:
        """Bars of a pair that converts profit, for a run of this timeframe, opening from since on and before until;
        None without any."""
        ...


def spelled_as_known(specification: Specification, registry: Mapping[str, Instrument]) -> Specification:
    """The same with its symbol as the registry spells it, which data and digest go by. Raises UnknownSymbol."""
    return replace(specification, symbol=instrument_for(specification.symbol, registry).symbol)


def assemble(
    specification: Specification, source: MarketData, registry: Mapping[str, Instrument], warm_up: WarmUp
) -> RunData:
    """Load everything a run needs. Deterministic; its only effects are the source's reads.

    Raises NoData without a bar in [start, end), BadBars, UnknownSymbol, UnknownTimeframe, and what the source raises.
    """
    wanted = _Wanted(specification, source, instrument_for(specification.symbol, registry), warm_up)
    bars = wanted.run_bars()
    context = {name: wanted.context(name, bars) for name in warm_up.contexts(specification)}
    conversion = dict(_conversion(wanted, bars, registry))
    return RunData(
        bars=bars,
        context=context,
        finer=_finer(specification, source),
        conversion=conversion,
        registry=registry,
        warnings=(
            *wanted.warnings,
            *_looks_otherwise(wanted, bars),
            *_short_context(context, bars, specification),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted of where. warnings: what was noticed on the way."""

    specification: Specification
    source: MarketData
    instrument: Instrument
    warm_up: WarmUp
    warnings: list[str] = field(default_factory=list)

    def run_bars(self) -> Bars:
        asked = self.specification
        bars = self._bars(asked.symbol, timeframe(asked.timeframe), asked.start)
        if bars is None or bars.frame["time"][-1] < asked.start:
            raise NoData(
                f"no {asked.symbol} {asked.timeframe} bars from {_iso(asked.start)} to {_iso(asked.end)}"
                f" in {self.source}: {what_there_is(self.source, asked.symbol, timeframe(asked.timeframe))}"
            )
        return bars

    def context(self, name: str, bars: Bars) -> Bars:
        asked, longer = self.specification, timeframe(name)
        if longer == bars.timeframe:
            return bars
        found = self._bars(asked.symbol, longer, asked.start)
        if found is None and not _is_there(self.source, asked.symbol, name):
            raise UnknownTimeframe(
                f"context {name}: there are no such bars of {asked.symbol} in {self.source}, and none that they can be"
                f" made of"
            )
        if found is None:
            raise NoData(f"no {asked.symbol} {name} bars before {_iso(asked.end)} in {self.source}")
        return found

    def conversion(self, pair: str, since: datetime, pair_instrument: Instrument) -> Bars | None:
        """Bars of a pair, of the run's timeframe where nothing else was said."""
        asked, of = self.specification, timeframe(self.specification.timeframe)
        found = self.source.load_conversion(pair, of.name, asked.end, since)
        if found is not None or of.name in self.source.timeframes(pair):
            return found
        made_of = self._made_of(pair, of)
        if made_of is None:
            return None
        # A day before it, and a weekend: of what lies there the first whole bar is made.
        finer = self.source.load(pair, made_of.name, asked.end, since - _made_from(of))
        made = None if finer is None else resample(finer, of, pair_instrument)
        return None if made is None or made.height == 0 else made

    def _bars(self, symbol: str, of: Timeframe, start: datetime) -> Bars | None:
        """Bars from the warm-up to the end; made of finer ones where there are none of their own."""
        before, end = self.warm_up.bars[of.name], self.specification.end
        if _is_there(self.source, symbol, of.name):
            return self.source.load(symbol, of.name, end, start, before)
        made_of = self._made_of(symbol, of)
        return None if made_of is None else self._made(symbol, of, made_of, start, before)

    def _made_of(self, symbol: str, of: Timeframe) -> Timeframe | None:
        """The finest timeframe that `of` can be made of and that spans the range; where none does, the longest."""
        begin_us, end_us = as_us(self.specification.start), as_us(self.specification.end)
        extents = _extents_us(self.source, symbol, of)
        if not extents:
            return None
        spans = {name: (max(begin_us, first), min(end_us, last)) for name, (first, last) in extents.items()}
        finest_first = sorted(spans, key=lambda name: TIMEFRAMES[name].duration_us)
        earliest, latest = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
        for name in finest_first:
            if spans[name][0] <= earliest and spans[name][1] >= latest:
                return TIMEFRAMES[name]
        longest = max(finest_first, key=lambda name: spans[name][1] - spans[name][0])
        self.warnings.append(
            f"{symbol} {of.name} bars are made of {longest} ones, which do not span the range; no others do"
        )
        return TIMEFRAMES[longest]

    def _made(self, symbol: str, of: Timeframe, made_of: Timeframe, start: datetime, before: int) -> Bars | None:
        """Bars made of finer ones, at least `before` of them before the start where there are.

        A longer bar holds so many finer ones at most; mostly it holds fewer, and then fewer are read.
        """
        most = (before + 1) * _finer_in(of, made_of)
        for wanted in (most * 5 // 7, most):
            finer = self.source.load(symbol, made_of.name, self.specification.end, start, wanted)
            if finer is None:
                return None
            made = resample(finer, of, self.instrument)
            there = int(np.searchsorted(finer.time_us, as_us(start)))
            if there < wanted or int(np.searchsorted(made.time_us, as_us(start))) >= before:
                break
        return made if made.height else None


def extent_us(source: MarketData, symbol: str, of: Timeframe) -> tuple[int, int] | None:
    """First open and last close of all bars of a timeframe, or of those that it can be made of; None without any."""
    if _is_there(source, symbol, of.name):
        return source.extent_us(symbol, of.name)
    extents = _extents_us(source, symbol, of).values()
    return (min(first for first, _ in extents), max(last for _, last in extents)) if extents else None


def what_there_is(source: MarketData, symbol: str, wanted: Timeframe) -> str:
    """Which bars of the symbol there are, for a message about those that are not."""
    there = [TIMEFRAMES[name] for name in dict.fromkeys(source.timeframes(symbol)) if name in TIMEFRAMES]
    if not there:
        return f"there is nothing of {symbol}; `backtest data import` stores bars"
    listed = ", ".join(_with_extent(source, symbol, each.name) for each in sorted(there, key=_duration_us))
    if any(can_resample(each, wanted) for each in there):
        return f"there are {listed}"
    return f"there are {listed}, and {wanted.name} cannot be made of {' or '.join(each.name for each in there)}"


def _with_extent(source: MarketData, symbol: str, name: str) -> str:
    try:
        extent = source.extent_us(symbol, name)
    except BadBars:  # of a timeframe that nobody asked for: no reason to fail in another way
        return f"{name} bars that cannot be read"
    return f"{name} without a bar" if extent is None else f"{name} from {iso_time(extent[0])} to {iso_time(extent[1])}"


def _duration_us(of: Timeframe) -> int:
    return of.duration_us


def _is_there(source: MarketData, symbol: str, name: str) -> bool:
    return source.were_named(symbol, name) or name in source.timeframes(symbol)


def _extents_us(source: MarketData, symbol: str, of: Timeframe) -> dict[str, tuple[int, int]]:
    """Those of the finer timeframes that it can be made of."""
    finer = [TIMEFRAMES[name] for name in source.timeframes(symbol) if name in TIMEFRAMES]
    found = {each.name: source.extent_us(symbol, each.name) for each in finer if each != of and can_resample(each, of)}
    return {name: extent for name, extent in found.items() if extent is not None}


def _finer_in(of: Timeframe, made_of: Timeframe) -> int:
    """How many bars lie in a longer one at most: in a day of 25 hours, a month of 31 such days."""
    longest_us = of.duration_us + (0 if of.duration_us < DAY_US else HOUR_US if of.duration_us <= WEEK_US else DAY_US)
    return -(-longest_us // made_of.duration_us)


def _looks_otherwise(wanted: _Wanted, bars: Bars) -> Iterator[str]:
    """Say where bars seem to be another instrument's, and stored ones of another timeframe or zone than they are stored
    as; of named files their reader says that."""
    asked = wanted.specification
    finer = finer_than_digits(bars, wanted.instrument)
    if finer is not None:
        yield f"{asked.symbol} {asked.timeframe}: {finer}"
    if wanted.source.were_named(asked.symbol, asked.timeframe):
        return
    # What was made of finer bars has the spacing it should.
    longer = other_length(bars.time_us[:_BARS_THAT_TELL], bars.timeframe) if bars.closes_us is None else None
    if longer is not None:
        yield f"{asked.symbol} {asked.timeframe}: the spacing of these bars is that of {longer.name}"
    advice = zone_advice_on(bars, wanted.instrument.session)
    if advice is not None:
        yield f"{asked.symbol} {asked.timeframe}, as stored: {advice}, in data import --replace"


def _short_context(context: Mapping[str, Bars], bars: Bars, asked: Specification) -> Iterator[str]:
    """Say where a strategy looks at context that is not there yet, or no longer moves."""
    run = bars.rows(int(np.searchsorted(bars.time_us, as_us(asked.start))), bars.height)
    for name, own in context.items():
        if _begins_late(own, run):
            yield f"context {name}: its bars begin at {iso_time(int(own.time_us[0]))}, a strategy sees none before"
        if _ends_early(own, run):
            yield f"context {name}: its bars end at {iso_time(int(own.close_time_us[-1]))}, a strategy sees none later"


def _begins_late(own: Bars, bars: Bars) -> bool:
    """Whether the run's bars could have made a whole context bar before the first one there is, wherever bars are
    anchored: MetaTrader's days begin at the server's midnight.
    """
    return bool(bars.time_us[0] + own.timeframe.duration_us <= own.time_us[0])


def _ends_early(own: Bars, bars: Bars) -> bool:
    """Whether they could have made one after the last."""
    first_after = int(np.searchsorted(bars.time_us, own.close_time_us[-1]))
    if first_after == bars.height:
        return False
    return bool(bars.time_us[first_after] + own.timeframe.duration_us <= bars.close_time_us[-1])


def _finer(specification: Specification, source: MarketData) -> Bars | None:
    if specification.execution_mode is ExecutionMode.CLOSE_PRICE:
        return None
    run_timeframe = timeframe(specification.timeframe)
    for name in _shorter(source.timeframes(specification.symbol), run_timeframe):
        found = source.load(specification.symbol, name, specification.end, since=specification.start)
        if found is not None:
            return found
    return None


def _shorter(names: tuple[str, ...], run_timeframe: Timeframe) -> list[str]:
    known = [TIMEFRAMES[name] for name in names if name in TIMEFRAMES]
    finer = [each for each in known if each.duration_us < run_timeframe.duration_us]
    return [each.name for each in sorted(finer, key=lambda each: each.duration_us)]


def _conversion(wanted: _Wanted, bars: Bars, registry: Mapping[str, Instrument]) -> Iterator[tuple[str, Bars]]:
    """Bars of the first complete route; none when there is no complete one, which the engine refuses by name.

    From some days before the warm-up on: so old a rate may still be known then.
    """
    asked, instrument = wanted.specification, wanted.instrument
    unseen = max(0, int(np.searchsorted(bars.time_us, as_us(asked.start))) - wanted.warm_up.bars[asked.timeframe])
    since = _moment(int(bars.time_us[unseen])) - max(_CONVERSION_LEAD, 3 * _length(timeframe(asked.timeframe)))
    loaded: dict[str, Bars | None] = {}
    for route in pairs_wanted(instrument, asked.account_currency, registry):
        pairs = [leg.symbol for leg in route if leg.symbol != asked.symbol]
        for pair in pairs:
            if pair not in loaded:
                loaded[pair] = wanted.conversion(pair, since, registry[pair])
        chosen = {pair: found for pair in pairs if (found := loaded[pair]) is not None}
        if len(chosen) == len(pairs):
            yield from chosen.items()
            return


def _made_from(of: Timeframe) -> timedelta:
    return _length(of) + timedelta(days=4)


def _length(of: Timeframe) -> timedelta:
    return timedelta(microseconds=of.duration_us)


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
