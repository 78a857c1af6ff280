"""What is traded: currencies, sizes and trading hours of each symbol, and the file in which a user adds to them.

    [EURUSD]                # FILE: line N: [SYMBOL] key: what is wrong
    base = "EUR"            # bought and sold
    quote = "USD"           # prices and profit are in it
    pip = 0.0001
    contract = 100000       # units of base in one lot
    digits = 5
    session = "fx"          # or "always": open at weekends; or "weekdays": a part of each, as exchanges are
    day_start = "17:00 America/New_York"    # optional, from here on; where candles above H1 are counted from
    lot_step = 0.01         # these are the defaults
    swap_long = 0.0         # points a night
    swap_short = 0.0

A table replaces the packaged one of the same symbol whole: nothing is merged, so what the file says is what holds.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import BadInstruments, UnknownSymbol
from engine.market.timeframes import HOUR_US, MINUTE_US

_SYMBOL = r"[A-Za-z0-9][A-Za-z0-9._#-]{0,19}"
_SYMBOL_IS = "1 to 20 letters, digits and ._-#, the first a letter or a digit"

_LARGEST_WHOLE, _LONGEST_SHOWN = 10**15, 40

Session = Literal["fx", "always", "weekdays"]


@dataclass(frozen=True)
class TradingDay:
    """Where candles above H1 are counted from: a time of day in a zone.

    folds_weekends: Saturday's and Sunday's day are none of their own, what is in them belongs to Monday's.
    """

    start_us: int
    zone: str
    folds_weekends: bool

    @property
    def bears_next_date(self) -> bool:
        """Whether a day bears the date on which it ends: one that starts at noon or later, as FX days at 17:00."""
        return self.start_us >= 12 * HOUR_US


_FX_DAY = TradingDay(17 * HOUR_US, "America/New_York", True)
_UTC_DAY = TradingDay(0, "UTC", False)


@dataclass(frozen=True)
class Instrument:
    """A symbol and what its prices and lots mean."""

    symbol: str
    base: str
    """What is bought and sold: a currency, a metal, a coin, or the index itself."""
    quote: str
    """Currency of prices and of profit."""
    pip: float
    """Price units."""
    contract: float
    """Units of base in one lot."""
    digits: int
    """Decimals of a price."""
    session: Session
    """fx: closed from Friday to Sunday 17:00 New York, and days end at 17:00 there; always: days are UTC days;
    weekdays: as fx, but open for an unknown part of the day, so that only a day without any bar is a gap."""
    lot_step: float = 0.01
    """Lots."""
    swap_long: float = 0.0
    """Points a night; negative is paid."""
    swap_short: float = 0.0
    day_start: str | None = None
    """HH:MM ZONE; None: the session's. Moves candles above H1, never Sharpe's days nor swap's 17:00."""

    @cached_property
    def point(self) -> float:
        """10^-digits, price units; the double nearest to it."""
        return float(f"1e-{self.digits}")

    @cached_property
    def trading_day(self) -> TradingDay:
        """Where candles above H1 are counted from: the session's 17:00 New York or 00:00 UTC, or day_start."""
        if self.day_start is not None:
            time, zone = self.day_start.split()
            return TradingDay(_minutes(time) * MINUTE_US, zone, False)
        return _FX_DAY if self.session == "fx" else _UTC_DAY

    @cached_property
    def price_scale(self) -> float:
        """Sums of prices are rounded to one over it: 1e-9, or a tenth of a point where that is less."""
        return 10.0 ** (self.digits + 1 if self.digits >= 9 else 9)

    @cached_property
    def points_per_pip(self) -> float:
        """How many points make a pip, free of binary noise: 10 for EURUSD."""
        return round(self.pip * 10.0**self.digits, 9)


def packaged_instruments() -> Mapping[str, Instrument]:
    """Return the registry that comes with the engine, by symbol; read-only by agreement, the same object each time."""
    return _PACKAGED


def instrument_for(symbol: str, registry: Mapping[str, Instrument]) -> Instrument:
    """Return the instrument of that symbol, in any case; its own `symbol` is the spelling that counts.

    Raises UnknownSymbol, with the symbols that may have been meant.
    """
    known = symbol_in(registry, symbol)
    if known is None:
        meant = closest_symbols(symbol, registry)
        raise UnknownSymbol(f"unknown symbol {symbol!r}{meant}: add it to an instruments file")
    return registry[known]


def symbol_in(symbols: Collection[str], wanted: str) -> str | None:
    """Return the symbol as it is spelled there: the same, else the one that differs in case alone; None without one."""
    if wanted in symbols:
        return wanted
    alike = [symbol for symbol in symbols if symbol.upper() == wanted.upper()]
    return alike[0] if len(alike) == 1 else None


def closest_symbols(wanted: str, symbols: Iterable[str]) -> str:
    """Return ` (did you mean EURUSD?)`, or "" where nothing is like it; to be put behind the name in a message."""
    by_upper = {symbol.upper(): symbol for symbol in symbols}
    close = difflib.get_close_matches(wanted.upper(), by_upper, n=3, cutoff=0.7)
    return f" (did you mean {' or '.join(by_upper[each] for each in close)}?)" if close else ""


def refuse_impossible(symbol: str) -> None:
    """Raise UnknownSymbol for a name that no symbol has: it could be no folder's, or would be one elsewhere."""
    if re.fullmatch(_SYMBOL, symbol) is None:
        raise UnknownSymbol(f"{symbol!r} cannot be a symbol: {_SYMBOL_IS}")


def share(symbol: str, quote: str) -> Instrument:
    """Return a share in a currency: a lot is one share, prices are in hundredths, trade on weekdays.

    Raises UnknownSymbol for what cannot be a symbol, BadInstruments for what cannot be a currency.
    """
    refuse_impossible(symbol)
    if not _is_code(quote):
        raise BadInstruments(f"quote: must be {_RULES['quote'][0]}, not {quote!r}")
    base = re.sub("[^A-Z0-9]", "", symbol.upper())[:12]
    return Instrument(symbol, base, quote, pip=0.01, contract=1.0, digits=2, session="weekdays", lot_step=1.0)


def parse_instruments(
    toml_text: str, source: str, onto: Mapping[str, Instrument] | None = None
) -> Mapping[str, Instrument]:
    """Return `onto` (the packaged registry if None) extended and overridden by the tables of a TOML text.

    Raises BadInstruments for the first mistake in the order of the text: broken TOML, a symbol that cannot be one, a
    key unknown or missing, a value of the wrong type or out of range. source: the file, as messages should name it.
    """
    try:
        document = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise BadInstruments(_syntax_message(str(error), toml_text, source)) from error
    lines = _Lines(toml_text, source)
    added = {symbol: _instrument(symbol, table, lines) for symbol, table in document.items()}
    return {**(_PACKAGED if onto is None else onto), **added}


def instrument_of(symbol: str, table: Mapping[str, object]) -> Instrument:
    """Return the instrument of one table that came some other way than in a file.

    Raises BadTable with every key at fault, also those that are missing or unknown.
    """
    problems = []
    if re.fullmatch(_SYMBOL, symbol) is None:
        problems.append(("symbol", f"must be {_SYMBOL_IS}"))
    for key, value in table.items():
        if key not in _RULES:
            problems.append((key, f"unknown key; known are {', '.join(_RULES)}"))
        elif isinstance(value, bool) or _is_beyond_floats(value) or not _RULES[key][1](value):
            problems.append((key, f"must be {_RULES[key][0]}, not {str(value)[:_LONGEST_SHOWN]!r}"))
    needed = [field.name for field in fields(Instrument) if field.default is MISSING and field.name != "symbol"]
    problems += [(key, "is missing") for key in needed if key not in table]
    if not problems:
        values = {key: _as_kept(key, value) for key, value in table.items()}
        instrument = Instrument(symbol=symbol, **values)
        if instrument.points_per_pip >= 1.0:
            return instrument
        problems.append(("pip", f"is smaller than a point, which {instrument.digits} digits make"))
    raise BadTable(symbol, tuple(problems))


class BadTable(BadInstruments):
    """problems: each key at fault, and what is wrong with it."""

    def __init__(self, symbol: str, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"[{symbol}] {key}: {what}" for key, what in problems))
        self.problems = problems


class _Lines:
    """Where tables and keys stand in the text, which tomllib does not tell."""

    def __init__(self, toml_text: str, source: str) -> None:
        self.source = source
        self._lines = toml_text.splitlines()

    def refused(self, symbol: str, key: str | None, what: str) -> BadInstruments:
        header = self._find(rf"\[\s*{_quoted(symbol)}\s*\]|{_quoted(symbol)}\s*[=.]", 0)
        line = header
        if key is not None:
            dotted = self._find(rf"{_quoted(symbol)}\s*\.\s*{_quoted(key)}\s*[=.]", 0, default=-1)
            line = dotted if dotted >= 0 else self._find(rf"{_quoted(key)}\s*[=.]", header, default=header)
        where = f"[{symbol}]" if key is None else f"[{symbol}] {key}"
        return BadInstruments(f"{self.source}: line {line + 1}: {where}: {what}")

    def _find(self, pattern: str, start: int, default: int = 0) -> int:
        matcher = re.compile(r"\s*(?:" + pattern + ")")
        return next((i for i in range(start, len(self._lines)) if matcher.match(self._lines[i])), default)


def _quoted(name: str) -> str:
    return rf"""["']?{re.escape(name)}["']?"""


def _syntax_message(message: str, toml_text: str, source: str) -> str:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    if found is None:
        return f"{source}: {message}"
    return f"{source}: line {found[2] or len(toml_text.splitlines())}: {found[1]}"


def _instrument(symbol: str, table: object, lines: _Lines) -> Instrument:
    if not re.fullmatch(_SYMBOL, symbol):
        raise lines.refused(symbol, None, f"a symbol is {_SYMBOL_IS}")
    if not isinstance(table, dict):
        raise lines.refused(symbol, None, "must be a table of that symbol's keys")
    values = {key: _checked(symbol, key, value, lines) for key, value in table.items()}
    for field in fields(Instrument):
        if field.name not in ("symbol", *values) and field.default is MISSING:
            raise lines.refused(symbol, field.name, "is missing")
    instrument = Instrument(symbol=symbol, **values)
    if instrument.points_per_pip < 1.0:
        raise lines.refused(symbol, "pip", f"is smaller than a point, which {instrument.digits} digits make")
    return instrument


def _checked(symbol: str, key: str, value: object, lines: _Lines) -> Any:
    if key not in _RULES:
        raise lines.refused(symbol, key, f"unknown key; known are {', '.join(_RULES)}")
    requirement, accepts = _RULES[key]
    if isinstance(value, bool) or not accepts(value):
        raise lines.refused(symbol, key, f"must be {requirement}, not {value!r}")
    return _as_kept(key, value)


def _as_kept(key: str, value: object) -> Any:
    return float(value) if isinstance(value, int) and key != "digits" else value


def _is_beyond_floats(value: object) -> bool:
    """JSON's whole numbers have no end."""
    return isinstance(value, int) and abs(value) > _LARGEST_WHOLE


def _is_code(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Z0-9]{2,12}", value) is not None


def _is_base(value: object) -> bool:
    """Shares have names of one letter too."""
    return isinstance(value, str) and re.fullmatch(r"[A-Z0-9]{1,12}", value) is not None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def _is_day_start(value: object) -> bool:
    found = re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9] ([A-Za-z0-9_+/-]+)", value) if isinstance(value, str) else None
    try:
        return found is not None and ZoneInfo(found[2]) is not None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


_RULES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "base": ("1 to 12 upper-case letters or digits", _is_base),
    "quote": ("2 to 12 upper-case letters or digits", _is_code),
    "pip": ("a number above 0", _is_positive),
    "contract": ("a number above 0", _is_positive),
    "digits": ("a whole number from 0 to 12", lambda value: isinstance(value, int) and 0 <= value <= 12),
    "session": ('"fx", "always" or "weekdays"', lambda value: value in ("fx", "always", "weekdays")),
    "lot_step": ("a number above 0", _is_positive),
    "swap_long": ("a number", _is_finite),
    "swap_short": ("a number", _is_finite),
    "day_start": ("HH:MM and a time zone, as 17:00 America/New_York", _is_day_start),
}


def _currency_pair(symbol: str) -> Instrument:
    base, quote = symbol[:3], symbol[3:]
    pip, digits = (0.01, 3) if quote == "JPY" else (0.0001, 5)
    return Instrument(symbol, base, quote, pip=pip, contract=100_000.0, digits=digits, session="fx")


def _index(symbol: str, quote: str) -> Instrument:
    return Instrument(symbol, symbol, quote, pip=1.0, contract=1.0, digits=2, session="fx")


def _coin(symbol: str) -> Instrument:
    return Instrument(symbol, symbol[:-3], symbol[-3:], pip=1.0, contract=1.0, digits=2, session="always")


def _coin_pair(coin: str, quote: str, digits: int) -> Instrument:
    pip = float(f"1e-{digits - 1}")
    return Instrument(coin + quote, coin, quote, pip=pip, contract=1.0, digits=digits, session="always")


_CURRENCY_PAIRS = """
    EURUSD GBPUSD AUDUSD NZDUSD USDCAD USDCHF USDJPY
    EURGBP EURAUD EURNZD EURCAD EURCHF EURJPY
    GBPAUD GBPNZD GBPCAD GBPCHF GBPJPY
    AUDNZD AUDCAD AUDCHF AUDJPY
    NZDCAD NZDCHF NZDJPY
    CADCHF CADJPY CHFJPY
    USDSEK USDNOK USDDKK USDPLN USDMXN USDZAR USDTRY USDSGD USDHKD USDCNH
    EURSEK EURNOK EURDKK EURPLN EURTRY GBPSEK GBPNOK NOKSEK SGDJPY ZARJPY NOKJPY SEKJPY MXNJPY
"""
_INDEX_QUOTES = {
    "US500": "USD",
    "US30": "USD",
    "US100": "USD",
    "NAS100": "USD",
    "US2000": "USD",
    "GER40": "EUR",
    "EU50": "EUR",
    "FRA40": "EUR",
    "ESP35": "EUR",
    "UK100": "GBP",
    "SUI20": "CHF",
    "JP225": "JPY",
    "AUS200": "AUD",
    "HK50": "HKD",
}
# Coins worth many dollars, whose pip is 1.0.
_COINS = "BTCUSD ETHUSD BCHUSD LTCUSD BNBUSD SOLUSD BTCEUR ETHEUR"

_COIN_DIGITS = {
    "BTC": 2, "ETH": 2, "XRP": 4, "BNB": 2, "SOL": 2, "DOGE": 5, "TRX": 4, "ADA": 4, "LINK": 2, "SUI": 4,
    "XLM": 4, "BCH": 2, "AVAX": 2, "HBAR": 5, "LTC": 2, "TON": 3, "SHIB": 8, "DOT": 3, "UNI": 3, "ETC": 2,
}  # fmt: skip
"""Decimals in which exchanges quote the 20 largest coins in dollars; a pip is one unit of the last but one."""

_PACKAGED: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        *(_currency_pair(symbol) for symbol in _CURRENCY_PAIRS.split()),
        Instrument("XAUUSD", "XAU", "USD", pip=0.1, contract=100.0, digits=2, session="fx"),
        Instrument("XAGUSD", "XAG", "USD", pip=0.01, contract=5_000.0, digits=3, session="fx"),
        *(_index(symbol, quote) for symbol, quote in _INDEX_QUOTES.items()),
        *(_coin_pair(coin, quote, digits) for coin, digits in _COIN_DIGITS.items() for quote in ("USD", "USDT", "EUR")),
        *(_coin(symbol) for symbol in _COINS.split()),  # last: these keep the pip they had before the others came
    )
}
