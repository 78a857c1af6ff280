"""What an unknown symbol may be, told by its name and its prices, as a table for the instruments file."""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from engine.market.bars import Bars
from engine.market.instruments import Instrument, Session
from engine.market.passport import data_passport

_FIAT = (
    "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "MXN", "ZAR",
    "TRY", "SGD", "HKD", "CNH", "CNY", "INR", "BRL", "KRW", "THB", "ILS",
)  # fmt: skip
_STABLE = ("USDT", "USDC", "BUSD")
_LONGEST_BASE = 12
_MOST_DIGITS = 9
_PRICES_LOOKED_AT = 2000
_AT_WEEKENDS = 0.1
"""Of all bars: 48 of 168 hours are a weekend's; a server's clock taken for UTC puts a few bars there."""
_OPEN_ALL_DAY = 0.6
"""Of the weekdays' hours: exchanges are open for less, indices and metals for more."""


def guessed_instrument(symbol: str, bars: Bars | None, registry: Mapping[str, Instrument]) -> Instrument:
    """Return the likeliest instrument of that symbol; bars: some of it, for digits and trading week, if there are any.

    A broker's EURUSD.m is taken for EURUSD; six letters of two currencies for a pair; a name that ends with a currency
    for something priced in it; else it is priced in dollars.
    """
    known = max((each for each in registry if _is_with_suffix(symbol, each)), key=len, default=None)
    if known is not None:
        return replace(registry[known], symbol=symbol)
    letters = re.sub("[^A-Z0-9]", "", symbol.upper())
    digits = _digits(bars)
    at_weekends = bars is not None and data_passport(bars, "fx").bars_while_closed > _AT_WEEKENDS * bars.height
    quote = next((each for each in (*_STABLE, *_FIAT) if letters.endswith(each) and letters != each), None)
    base = (letters.removesuffix(quote or "") or letters)[:_LONGEST_BASE]
    if base in _FIAT and quote in _FIAT:
        pip, usual = (0.01, 3) if quote == "JPY" else (0.0001, 5)
        return Instrument(symbol, base, quote, pip, 100_000.0, max(digits or usual, usual - 1), "fx")
    digits = 2 if digits is None else digits
    session: Session = "always" if at_weekends or quote in _STABLE else "fx"
    if session == "fx" and bars is not None and _open_share(bars) < _OPEN_ALL_DAY:
        session = "weekdays"
    return Instrument(symbol, base, quote or "USD", float(f"1e-{max(digits - 1, 0)}"), 1.0, digits, session)


def instruments_table(instrument: Instrument) -> str:
    """The instrument as a table of an instruments file, without a line end behind it."""
    key = instrument.symbol if re.fullmatch(r"[A-Za-z0-9_-]+", instrument.symbol) else f'"{instrument.symbol}"'
    lines = [
        f"[{key}]",
        f'base = "{instrument.base}"',
        f'quote = "{instrument.quote}"',
        f"pip = {_plain(instrument.pip)}",
        f"contract = {_plain(instrument.contract)}",
        f"digits = {instrument.digits}",
        f'session = "{instrument.session}"',
    ]
    return "\n".join(lines if instrument.lot_step == 0.01 else [*lines, f"lot_step = {_plain(instrument.lot_step)}"])


def _is_with_suffix(symbol: str, known: str) -> bool:
    """Whether it is that symbol and then what brokers put behind: EURUSD.pro, EURUSDm; not BTCUSDC for BTCUSD."""
    behind = symbol[len(known) :]
    return symbol.upper().startswith(known.upper()) and (behind[:1] in set("._#-") or behind[:1].islower())


def _plain(number: float) -> str:
    return f"{number:.{_MOST_DIGITS}f}".rstrip("0").rstrip(".")


def _open_share(bars: Bars) -> float:
    """The share of five days of the week that bars cover."""
    span_us = int(bars.close_time_us[-1] - bars.time_us[0])
    return bars.height * bars.timeframe.duration_us / (span_us * 5 / 7)


def _digits(bars: Bars | None) -> int | None:
    """The decimals that the last prices are written with."""
    if bars is None:
        return None
    closes = bars.close[-_PRICES_LOOKED_AT:]
    for digits in range(_MOST_DIGITS):
        if np.array_equal(np.round(closes, digits), closes):
            return digits
    return _MOST_DIGITS
