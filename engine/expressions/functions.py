"""Every function of the rules' language, once: the grammar checks by this table, evaluation calls by it, and the
documentation prints it.

Needs no numbers and no compiler, so that checking a request pays for neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

LONGEST: Final = 100_000
"""Bars, of any length."""

ArgumentKind = Literal["number", "length", "multiplier", "condition", "pattern"]
"""A number of each bar, a whole number of bars, a number that is the same for all bars, a condition, a candle's name.
"""


@dataclass(frozen=True, slots=True)
class Argument:
    """least: of a length."""

    name: str
    kind: ArgumentKind
    least: int = 1


@dataclass(frozen=True, slots=True)
class Function:
    """bars: the columns of the bars that it takes before its arguments. repeats: any number of the last argument.

    keeps_price: of prices it makes a price, or an average of prices. unit: of what it gives, for readers. chain: how
    many bars of its lengths, as given, follow on each other; None: their sum.
    """

    name: str
    arguments: tuple[Argument, ...]
    gives: Literal["number", "condition"]
    unit: str
    meaning: str
    bars: tuple[str, ...] = ()
    repeats: bool = False
    keeps_price: bool = False
    chain: Callable[[Sequence[int]], int] | None = None

    @property
    def signature(self) -> str:
        """As it is written: macd(x, fast, slow, signal)."""
        listed = [f'"{each.name}"' if each.kind == "pattern" else each.name for each in self.arguments]
        return f"{self.name}({', '.join([*listed, '...'] if self.repeats else listed)})"

    def longest(self, lengths: Sequence[int]) -> int:
        """How many bars it looks back over, what it is computed on left out."""
        return sum(lengths) if self.chain is None else self.chain(lengths)


def _slow_and_signal(lengths: Sequence[int]) -> int:
    fast, slow, signal = lengths
    return max(fast, slow) + signal


_X, _C = Argument("x", "number"), Argument("c", "condition")
_N, _N2, _M = Argument("n", "length"), Argument("n", "length", 2), Argument("m", "multiplier")
_OF_PRICES: Final = ("high", "low", "close")
_MACD: Final = (_X, Argument("fast", "length"), Argument("slow", "length"), Argument("signal", "length"))
_STOCH: Final = (_N, Argument("smooth", "length"), Argument("signal", "length"))


def _averages() -> tuple[Function, ...]:
    x = "x's"
    return (
        Function("sma", (_X, _N), "number", x, "simple moving average, from exact sums", keeps_price=True),
        Function("ema", (_X, _N), "number", x, "exponential moving average, alpha 2 / (n + 1)", keeps_price=True),
        Function("wma", (_X, _N), "number", x, "linearly weighted moving average", keeps_price=True),
        Function("highest", (_X, _N), "number", x, "the largest of the last n, this bar's included", keeps_price=True),
        Function("lowest", (_X, _N), "number", x, "the smallest of the last n, this bar's included", keeps_price=True),
        Function("stddev", (_X, _N), "number", x, "population standard deviation"),
        Function("bollinger_upper", (_X, _N, _M), "number", x, "sma(x, n) and m standard deviations above it"),
        Function("bollinger_lower", (_X, _N, _M), "number", x, "sma(x, n) and m standard deviations below it"),
        Function("macd", _MACD, "number", x, "Appel's: fast less slow exponential average", chain=_slow_and_signal),
        Function("macd_signal", _MACD, "number", x, "exponential average of the line", chain=_slow_and_signal),
        Function("macd_hist", _MACD, "number", x, "the line less its signal line", chain=_slow_and_signal),
    )


def _oscillators() -> tuple[Function, ...]:
    to_100 = "0 to 100"
    return (
        Function("rsi", (_X, _N2), "number", to_100, "Wilder's relative strength index"),
        Function("roc", (_X, _N), "number", "per cent", "change against n bars ago"),
        Function("adx", (_N2,), "number", to_100, "Wilder's average directional index", _OF_PRICES),
        Function("plus_di", (_N,), "number", to_100, "Wilder's positive directional indicator", _OF_PRICES),
        Function("minus_di", (_N,), "number", to_100, "Wilder's negative directional indicator", _OF_PRICES),
        Function("cci", (_N,), "number", "", "Lambert's commodity channel index", _OF_PRICES),
        Function("stoch_k", _STOCH, "number", to_100, "Lane's slow %K", _OF_PRICES),
        Function("stoch_d", _STOCH, "number", to_100, "Lane's slow %D", _OF_PRICES),
        Function("atr", (_N,), "number", "price", "Wilder's average true range", _OF_PRICES),
        Function("supertrend", (_N, _M), "number", "price", "the line, m times ATR from (high + low) / 2", _OF_PRICES),
        Function("obv", (), "number", "volume", "on-balance volume", ("close", "volume")),
        Function(
            "candle",
            (Argument("name", "pattern"),),
            "number",
            "-200 to 200",
            "TA-Lib's candle pattern: 100 (some 80 or 200) where it is, negative where bearish, else 0",
            ("open", "high", "low", "close"),
        ),
    )


def _conditions() -> tuple[Function, ...]:
    return (
        Function("crosses_above", (_X, _X), "condition", "", "the first comes from below the second to above it"),
        Function("crosses_below", (_X, _X), "condition", "", "the first comes from above the second to below it"),
        Function("rising", (_C,), "condition", "", "true now, not true a bar ago"),
        Function("any", (_C, _N), "condition", "", "true on one of the last n bars, this one included"),
        Function("all", (_C, _N), "condition", "", "true on each of the last n bars, this one included"),
        Function("bars_since", (_C,), "number", "bars", "since it was last true; 0 where it is"),
    )


def _arithmetic() -> tuple[Function, ...]:
    x = "x's"
    return (
        Function("pips", (_X,), "number", "price", "so many pips of the instrument, as a distance in price"),
        Function("abs", (_X,), "number", x, "without its sign"),
        Function("min", (_X, _X), "number", x, "the smallest", repeats=True, keeps_price=True),
        Function("max", (_X, _X), "number", x, "the largest", repeats=True, keeps_price=True),
        Function("sqrt", (_X,), "number", "", "square root; unknown below 0"),
        Function("log", (_X,), "number", "", "natural logarithm; unknown at 0 and below"),
    )


FUNCTIONS: Final[dict[str, Function]] = {
    each.name: each for group in (_averages(), _oscillators(), _conditions(), _arithmetic()) for each in group
}
INDICATORS: Final = frozenset(each.name for group in (_averages(), _oscillators()) for each in group)
"""Those that engine.indicators computes."""

PRICES: Final = ("open", "high", "low", "close")
COLUMNS: Final[dict[str, str]] = {
    "open": "the bar's first bid",
    "high": "its highest",
    "low": "its lowest",
    "close": "its last",
    "volume": "as recorded, 0 where none was",
    "spread": "in pips, as the run reckons with it",
    "hour": "of the bar's close, UTC",
    "minute": "of the bar's close, UTC",
    "weekday": "of the bar's close, UTC; 0 is Monday",
}
"""What a bar has, by name."""
