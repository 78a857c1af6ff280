"""What one unit of profit is worth in the account currency, by the rates known at a moment."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoConversion
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.market.resampling import last_closed
from engine.market.timeframes import WEEK_US
from engine.numeric.arrays import read_only
from engine.numeric.times import iso_time

BRIDGE = "USD"
"""The currency through which two others are joined when no pair joins them."""
OLDEST_US = WEEK_US
"""A file that ended years ago must not price a trade: a bar that closed longer ago than this gives no rate."""


PEGGED = {"USDT": "USD"}
"""Currencies that count as another, one for one, though they are not quite it; a run says so (`pegged_warning`)."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One pair's closes, as they are or as one over them."""

    symbol: str
    inverted: bool


Route = tuple[Leg, ...]
"""Legs whose product is account currency per quote currency; empty when the two are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Account currency per unit of quote currency, by what was known at a moment."""

    quote: str
    account: str
    route: Route
    pairs: Mapping[str, Bars]
    """By symbol, those of the route."""

    def known_at(self, moments_us: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the rate at each moment, ascending: of each pair the last bar that closed at or before it.

        NaN where none had, or only one that is too old to price anything (OLDEST_US). Using a NaN is the caller's
        failure to report, as NoRateYet, in the words of `missing_at`.
        """
        rates = np.ones(moments_us.size)
        for leg in self.route:
            rates *= _known_closes(self.pairs[leg.symbol], moments_us, leg.inverted)
        return read_only(rates)

    def missing_at(self, moment_us: int) -> str:
        """Say why no rate is known at that moment."""
        wanted = f"no rate from {self.quote} to {self.account} is known"
        for leg in self.route:
            closes_us = self.pairs[leg.symbol].close_time_us
            row = int(np.searchsorted(closes_us, moment_us, side="right")) - 1
            if row < 0:
                break
            if moment_us - int(closes_us[row]) > _oldest_us(self.pairs[leg.symbol]):
                closed = iso_time(int(closes_us[row]))
                return (
                    f"{wanted} at {iso_time(moment_us)}: the last {leg.symbol} bar closed at {closed}, too long before"
                )
        return f"{wanted} yet at {iso_time(moment_us)}"


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
            pairs = {leg.symbol: available[leg.symbol] for leg in route}
            return Rates(instrument.quote, account_currency, route, pairs)
    quote = PEGGED.get(instrument.quote, instrument.quote)
    wanted = _legs(quote, account_currency, instrument, registry)
    bridges = _bridged(quote, account_currency, instrument, registry)
    names = [leg.symbol for leg in wanted] or [account_currency + quote]
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
    quote = PEGGED.get(instrument.quote, instrument.quote)
    if account_currency in (quote, instrument.quote):
        return ((),)
    single = tuple((leg,) for leg in _legs(quote, account_currency, instrument, registry))
    return single + _bridged(quote, account_currency, instrument, registry)


def pegged_warning(instrument: Instrument, account_currency: str) -> str | None:
    """Return what a run must say where profit counts as another currency than it is in; None where it does not."""
    as_currency = PEGGED.get(instrument.quote)
    if as_currency is None or account_currency == instrument.quote:
        return None
    return f"profit in {instrument.quote} counts as {as_currency}, one for one"


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


def _known_closes(pair: Bars, moments_us: NDArray[np.int64], inverted: bool) -> NDArray[np.float64]:
    """Return the last close known at each moment, NaN for none; a bar closing at that very moment counts."""
    if pair.height == 0:
        return np.full(moments_us.size, np.nan)
    known = np.append(1.0 / pair.close if inverted else pair.close, np.nan)
    rows = last_closed(moments_us, pair.close_time_us)
    age_us = moments_us - pair.close_time_us[rows]
    rows[age_us > _oldest_us(pair)] = -1
    closes: NDArray[np.float64] = known[rows]
    return closes


def _oldest_us(pair: Bars) -> int:
    """How long after its close a bar may still give a rate: a week, or two bars if that is longer."""
    return max(OLDEST_US, 2 * pair.timeframe.duration_us)
