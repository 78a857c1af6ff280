"""What one unit of profit is worth in the account currency, at every bar's open and close, by rates known then."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoConversion
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.resampling import last_closed
from engine.numeric.arrays import read_only

BRIDGE = "USD"
"""The currency through which two others are joined when no pair joins them."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One pair's closes, as they are or as one over them."""

    symbol: str
    inverted: bool


Route = tuple[Leg, ...]
"""Legs whose product is account currency per quote currency; empty when the two are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Account currency per unit of quote currency. Arrays have one value a bar; NaN: no bar of a pair had closed yet.

    at_close: known when the bar closes. at_open: known when it opens, used for all that happens inside the bar too.
    Using a NaN is the caller's failure to report, as NoRateYet, with the currencies and the bar's time.
    """

    quote: str
    account: str
    route: Route
    at_close: NDArray[np.float64]
    at_open: NDArray[np.float64]


def conversion_rates(
    instrument: Instrument,
    account_currency: str,
    bars: Bars,
    conversion: Mapping[str, Bars],
    registry: Mapping[str, Instrument],
) -> Rates:
    """Return the rates by the first route whose bars are all there: direct, inverted, through USD.

    bars: the traded symbol's own, which count without being given again and win over a file for the same symbol.
    conversion: bars by symbol, of any timeframe. A route is chosen by what data there is, never by what has closed.
    Raises NoConversion, naming currencies and the pairs looked for, when no route is complete.
    """
    available = {**conversion, instrument.symbol: bars}
    for route in pairs_wanted(instrument, account_currency, registry):
        if all(leg.symbol in available for leg in route):
            at_close, at_open = _product(route, bars, available)
            return Rates(instrument.quote, account_currency, route, at_close, at_open)
    wanted = _legs(instrument.quote, account_currency, instrument, registry)
    bridges = _bridged(instrument.quote, account_currency, instrument, registry)
    names = [leg.symbol for leg in wanted] or [account_currency + instrument.quote]
    names += [" with ".join(leg.symbol for leg in route) for route in bridges]
    raise NoConversion(
        f"profit of {instrument.symbol} is in {instrument.quote} and cannot be converted to {account_currency}:"
        f" no bars of {' or '.join(names)}"
    )


def pairs_wanted(
    instrument: Instrument, account_currency: str, registry: Mapping[str, Instrument]
) -> tuple[Route, ...]:
    """Return every route from the instrument's quote currency to the account's, the preferred first.

    The route () alone when the currencies are the same; none at all when the registry knows no pair that joins them.
    Legs on the traded symbol itself need no further data.
    """
    if instrument.quote == account_currency:
        return ((),)
    single = tuple((leg,) for leg in _legs(instrument.quote, account_currency, instrument, registry))
    return single + _bridged(instrument.quote, account_currency, instrument, registry)


def _bridged(quote: str, account: str, traded: Instrument, registry: Mapping[str, Instrument]) -> tuple[Route, ...]:
    if BRIDGE in (quote, account):
        return ()
    into, out = _legs(quote, BRIDGE, traded, registry), _legs(BRIDGE, account, traded, registry)
    return tuple((first, second) for first in into for second in out)


def _legs(source: str, to: str, traded: Instrument, registry: Mapping[str, Instrument]) -> tuple[Leg, ...]:
    """Return direct legs, then inverted ones; of several pairs the traded symbol first, then the plainly named one."""
    known = {**registry, traded.symbol: traded}.values()
    direct = [pair.symbol for pair in known if (pair.base, pair.quote) == (source, to)]
    inverse = [pair.symbol for pair in known if (pair.base, pair.quote) == (to, source)]
    direct.sort(key=lambda symbol: (symbol != traded.symbol, symbol != source + to))
    inverse.sort(key=lambda symbol: (symbol != traded.symbol, symbol != to + source))
    return (*(Leg(symbol, False) for symbol in direct), *(Leg(symbol, True) for symbol in inverse))


def _product(
    route: Route, bars: Bars, available: Mapping[str, Bars]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at_close, at_open = np.ones(bars.height), np.ones(bars.height)
    for leg in route:
        pair = available[leg.symbol]
        at_close *= _known_closes(pair, bars.close_time_us, leg.inverted)
        at_open *= _known_closes(pair, bars.time_us, leg.inverted)
    return read_only(at_close), read_only(at_open)


def _known_closes(pair: Bars, moments_us: NDArray[np.int64], inverted: bool) -> NDArray[np.float64]:
    """Return the last close known at each moment, NaN before the first; a bar closing at that very moment counts."""
    known = np.append(1.0 / pair.close if inverted else pair.close, np.nan)
    closes: NDArray[np.float64] = known[last_closed(moments_us, pair.close_time_us)]
    return closes
