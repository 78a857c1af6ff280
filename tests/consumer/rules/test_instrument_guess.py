"""The table that is shown for an unknown symbol can be taken as it is, and says what can be known."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from consumer.rules.instrument_guess import guessed_instrument, instruments_table
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Instrument, packaged_instruments, parse_instruments, share
from engine.market.timeframes import timeframe

REGISTRY = packaged_instruments()


def hourly(price: float, *, hours: range = range(24), weekends: bool = False) -> Bars:
    """Two weeks from a Monday on."""
    monday = datetime(2024, 1, 8, tzinfo=UTC)
    days = [day for day in range(14) if weekends or day % 7 < 5]
    times = [monday + timedelta(days=day, hours=hour) for day in days for hour in hours]
    columns = {name: [price] * len(times) for name in ("open", "high", "low", "close")}
    return bars_from_frame(pl.DataFrame({"time": times, **columns}), timeframe("H1"), "made")


@pytest.mark.parametrize(
    ("symbol", "bars", "guess"),
    [
        ("EURUSD.m", None, Instrument("EURUSD.m", "EUR", "USD", 0.0001, 100_000.0, 5, "fx")),
        ("xauusd-ecn", None, Instrument("xauusd-ecn", "XAU", "USD", 0.1, 100.0, 2, "fx")),
        ("EURHUF", hourly(385.125), Instrument("EURHUF", "EUR", "HUF", 0.0001, 100_000.0, 4, "fx")),
        ("HUFJPY", None, Instrument("HUFJPY", "HUF", "JPY", 0.01, 100_000.0, 3, "fx")),
        ("BTCUSDC", hourly(60_000.12), Instrument("BTCUSDC", "BTC", "USDC", 0.1, 1.0, 2, "always")),
        ("PEPEUSD", hourly(0.00000123, weekends=True), Instrument("PEPEUSD", "PEPE", "USD", 1e-7, 1.0, 8, "always")),
        ("AAPL", hourly(190.55, hours=range(14, 21)), Instrument("AAPL", "AAPL", "USD", 0.1, 1.0, 2, "weekdays")),
        ("F", None, Instrument("F", "F", "USD", 0.1, 1.0, 2, "fx")),
        ("DE40", hourly(17_000.0), Instrument("DE40", "DE40", "USD", 1.0, 1.0, 0, "fx")),
    ],
)
def test_a_symbol_is_guessed_from_its_name_and_prices(symbol: str, bars: Bars | None, guess: Instrument) -> None:
    assert guessed_instrument(symbol, bars, REGISTRY) == guess


@pytest.mark.parametrize("symbol", ["EURUSD.m", "SHIBUSDT", "USDJPY", "XAUUSD", "#X", "F"])
def test_the_table_is_read_back_as_what_was_guessed(symbol: str) -> None:
    name = symbol.strip("#")
    guess = REGISTRY.get(name) or guessed_instrument(name, None, REGISTRY)
    assert parse_instruments(instruments_table(guess), "my.toml", onto={}) == {name: guess}


def test_the_table_of_a_share_has_its_lot_step() -> None:
    text = instruments_table(share("BRK.B", "EUR"))
    assert text.splitlines()[0] == '["BRK.B"]'
    assert parse_instruments(text, "my.toml", onto={}) == {"BRK.B": share("BRK.B", "EUR")}
