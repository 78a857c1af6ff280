"""Which data a run sees: one place for the command line and the worker's engine children, so that both see the same.

The rules: all bars that the data hold before the start are warm-up, nothing that opens at or after the end is loaded.
A context timeframe is taken from its own bars where these span the run's bars, else resampled from those; bars that
were named for this run are used whatever they span, with a warning. Finer bars are the finest that have a bar in the
range; in close_price nothing is ambiguous and none are loaded. Conversion pairs are those of the first route that is
complete.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import numpy as np

from engine.errors import NoData, UnknownTimeframe
from engine.market.bars import Bars
from engine.market.conversion import pairs_wanted
from engine.market.instruments import Instrument, instrument_for
from engine.market.timeframes import TIMEFRAMES, Timeframe, can_resample, timeframe
from engine.numeric.times import iso_time
from engine.prepared import RunData
from engine.specification import ExecutionMode, Specification


class MarketData(Protocol):
    """Bars by symbol and timeframe. `str()` of it names the place, for messages."""

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        """Timeframes that have bars of their own for this symbol."""
        ...

    def load(self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None) -> Bars | None:
        """Bars with since <= open time < until (since None: from the first one there is); None when there are none."""
        ...

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        """Whether somebody named these bars for this run, so that none made of others may stand in for them."""
        ...

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime) -> Bars | None:
        """Bars of a pair that converts profit, for a run of this timeframe, opening before until; None without any."""
        ...


def spelled_as_known(specification: Specification, registry: Mapping[str, Instrument]) -> Specification:
    """The same with its symbol as the registry spells it, which data and digest go by. Raises UnknownSymbol."""
    return replace(specification, symbol=instrument_for(specification.symbol, registry).symbol)


def assemble(specification: Specification, source: MarketData, registry: Mapping[str, Instrument]) -> RunData:
    """Load everything a run needs. Deterministic; its only effects are the source's reads.

    Raises NoData without a bar in [start, end), BadBars, UnknownSymbol, UnknownTimeframe, and what the source raises.
    """
    bars = _run_bars(specification, source)
    context = _own_context(specification, bars, source)
    return RunData(
        bars=bars,
        context=context,
        finer=_finer(specification, source),
        conversion=_conversion(specification, source, registry),
        registry=registry,
        warnings=tuple(_short_context(context, bars)),
    )


def _run_bars(specification: Specification, source: MarketData) -> Bars:
    bars = source.load(specification.symbol, timeframe(specification.timeframe).name, specification.end)
    if bars is None or bars.frame["time"][-1] < specification.start:
        raise NoData(
            f"no {specification.symbol} {specification.timeframe} bars from {_iso(specification.start)}"
            f" to {_iso(specification.end)} in {source}"
        )
    return bars


def _own_context(specification: Specification, bars: Bars, source: MarketData) -> dict[str, Bars]:
    """Context that has bars of its own; what is left out here the engine resamples from the run's bars."""
    context: dict[str, Bars] = {}
    for name in specification.context_timeframes:
        wanted = timeframe(name)
        own = source.load(specification.symbol, name, specification.end) if wanted != bars.timeframe else bars
        named = source.were_named(specification.symbol, name)
        can_be_made = can_resample(bars.timeframe, wanted)
        if own is None and named:
            raise NoData(f"no {specification.symbol} {name} bars before {_iso(specification.end)} in {source}")
        if own is None and not can_be_made:
            raise UnknownTimeframe(
                f"context {name}: there are no such bars of {specification.symbol} in {source}, and they cannot be made"
                f" of {specification.timeframe} bars"
            )
        if own is not None and (named or not can_be_made or not (_begins_late(own, bars) or _ends_early(own, bars))):
            context[name] = own
    return context


def _short_context(context: Mapping[str, Bars], bars: Bars) -> Iterator[str]:
    """Say where a strategy looks at context that is not there yet, or no longer moves."""
    for name, own in context.items():
        if _begins_late(own, bars):
            yield f"context {name}: its bars begin at {iso_time(int(own.time_us[0]))}, a strategy sees none before"
        if _ends_early(own, bars):
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


def _conversion(
    specification: Specification, source: MarketData, registry: Mapping[str, Instrument]
) -> dict[str, Bars]:
    """Bars of the first complete route; none when there is no complete one, which the engine refuses by name."""
    instrument = instrument_for(specification.symbol, registry)
    loaded: dict[str, Bars | None] = {}
    for route in pairs_wanted(instrument, specification.account_currency, registry):
        pairs = [leg.symbol for leg in route if leg.symbol != specification.symbol]
        for pair in pairs:
            if pair not in loaded:
                loaded[pair] = source.load_conversion(pair, specification.timeframe, specification.end)
        chosen = {pair: bars for pair in pairs if (bars := loaded[pair]) is not None}
        if len(chosen) == len(pairs):
            return chosen
    return {}


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
