"""Rates from the quote to the account currency, at what was known at a moment."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.engine.reference.candles import close_moments
from tests.engine.reference.model import DAY_US, Bar, Config, NoConversionError, Series
from tests.engine.reference.numbers import exact


@dataclass(frozen=True, slots=True)
class Closes:
    """Bid closes of a pair by the moment they became known, oldest first. lasts_us: how long one prices anything."""

    known_at_us: list[int]
    closes: list[Fraction]
    lasts_us: int


@dataclass(frozen=True, slots=True)
class Leg:
    closes: Closes
    inverted: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one unit of `currency` becomes account currency: the product of its legs; no leg when they are the same."""

    currency: str
    legs: tuple[Leg, ...]

    def rate(self, moment_us: int) -> Fraction:
        """By the last bars that closed at or before the moment.

        Raises NoConversionError when a leg has none, or none but an old one.
        """
        rate = Fraction(1)
        for leg in self.legs:
            bars_known = bisect_right(leg.closes.known_at_us, moment_us)
            if bars_known == 0 or moment_us - leg.closes.known_at_us[bars_known - 1] > leg.closes.lasts_us:
                raise NoConversionError(self.currency, moment_us)
            close = leg.closes.closes[bars_known - 1]
            rate *= 1 / close if leg.inverted else close
        return rate


def build_conversion(config: Config, bars: Sequence[Bar], conversion_bars: Mapping[str, Series]) -> Conversion:
    """Choose the pairs:

    direct, else inverted, else both legs through USD. The traded symbol's own bars win over a file of its pair.
    """
    instrument = config.instrument
    pairs = {symbol: _closes(series) for symbol, series in conversion_bars.items()}
    pairs[instrument.base + instrument.quote] = _closes(Series(config.timeframe_us, bars))

    def leg(source: str, target: str) -> Leg | None:
        if source + target in pairs:
            return Leg(pairs[source + target], inverted=False)
        if target + source in pairs:
            return Leg(pairs[target + source], inverted=True)
        return None

    source, target = instrument.quote, config.account_currency
    if source == target:
        return Conversion(source, ())
    if (single := leg(source, target)) is not None:
        return Conversion(source, (single,))
    first, second = leg(source, "USD"), leg("USD", target)
    if first is None or second is None:
        raise NoConversionError(source, None)
    return Conversion(source, (first, second))


def _closes(series: Series) -> Closes:
    return Closes(
        close_moments(series.bars, series.timeframe_us),
        [exact(bar.close) for bar in series.bars],
        max(7 * DAY_US, 2 * series.timeframe_us),
    )
