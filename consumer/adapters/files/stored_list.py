"""What market data at rest hold, a symbol and timeframe at a time: `backtest data list` and the API tell the same."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from consumer.adapters.files.market_data import ParquetMarketData
from engine.market.instruments import Instrument, symbol_in
from engine.market.passport import data_passport
from engine.results.digest import values_by_field

FAR_FUTURE: Final = datetime(9999, 12, 31, tzinfo=UTC)


def described(
    stored: ParquetMarketData, symbol: str, timeframe_name: str, registry: Mapping[str, Instrument]
) -> dict[str, Any] | None:
    """symbol, timeframe, first and last open, bars, the zone of their import, and gaps, missing_bars and the whole
    passport where the instrument is known. None: there is no such bar. Raises BadBars, MarketDataUnavailable.
    """
    bars = stored.load(symbol, timeframe_name, FAR_FUTURE)
    if bars is None:
        return None
    known = symbol_in(registry, symbol)
    passport = data_passport(bars, registry[known].session) if known else None
    whole = None if passport is None else {**values_by_field(passport), "warnings": list(passport.warnings)}
    return {
        "symbol": symbol,
        "timeframe": timeframe_name,
        "first": bars.frame["time"][0],
        "last": bars.frame["time"][-1],
        "bars": bars.height,
        "zone": " and ".join(stored.zones(symbol, timeframe_name)) or None,
        "gaps": passport.gaps if passport else None,
        "missing_bars": passport.missing_bars if passport else None,
        "passport": whole,
    }


def spelled(stored: ParquetMarketData, symbol: str, registry: Mapping[str, Instrument]) -> str:
    """The symbol as the store or the registry spells it; as given where neither knows it in any case."""
    return symbol_in(stored.symbols(), symbol) or symbol_in(registry, symbol) or symbol
