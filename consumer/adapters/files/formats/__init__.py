"""The formats that bars come in, and which of them a file is."""

from consumer.adapters.files.formats.binance import BINANCE
from consumer.adapters.files.formats.ccxt import CCXT
from consumer.adapters.files.formats.cryptodatadownload import CRYPTODATADOWNLOAD
from consumer.adapters.files.formats.dukascopy import DUKASCOPY
from consumer.adapters.files.formats.histdata import HISTDATA
from consumer.adapters.files.formats.mt4 import MT4
from consumer.adapters.files.formats.mt5 import MT5
from consumer.adapters.files.formats.own import OWN
from consumer.adapters.files.formats.pandas import PANDAS
from consumer.adapters.files.formats.tradingview import TRADINGVIEW
from consumer.adapters.files.formats.yfinance import YFINANCE
from consumer.adapters.files.layout import PRICES, TIME_NAMES, Format, Head, Layout
from consumer.adapters.files.tables import one_line

__all__ = ["FORMATS", "UnknownLayoutError", "recognised"]

_BY_LIKELIHOOD = (
    CRYPTODATADOWNLOAD,
    DUKASCOPY,
    MT5,
    YFINANCE,
    BINANCE,
    CCXT,
    TRADINGVIEW,
    PANDAS,
    HISTDATA,
    MT4,
    OWN,
)
"""Narrow ones first: several fit where any table does."""
FORMATS = {each.name: each for each in _BY_LIKELIHOOD}
_LONGEST_SHOWN = 120


class UnknownLayoutError(Exception):
    """The file fits no format, or not the one asked for. The message lacks the file's name."""


def recognised(head: Head, forced: str | None) -> tuple[Format, Layout]:
    """Return the format a file is in and its layout. forced: the only format it may have. Raises UnknownLayoutError."""
    if forced is not None:
        return _as_forced(head, FORMATS[forced])
    for each in _BY_LIKELIHOOD:
        layout = each.layout_of(head) if each.is_certain(head) else None
        if layout is not None:
            return each, layout
    raise UnknownLayoutError(_nothing_fits(head))


def _as_forced(head: Head, wanted: Format) -> tuple[Format, Layout]:
    layout = wanted.layout_of(head)
    if layout is not None:
        return wanted, layout
    try:
        other, _ = recognised(head, None)
    except UnknownLayoutError:
        looks_like = ""
    else:
        looks_like = f"; it looks like {other.title}: leave --format out, or --format {other.name}"
    raise UnknownLayoutError(
        f"is not {wanted.title}; expected e.g. {wanted.example!r}, found {_shown(head.first_line)}{looks_like}"
    )


def _nothing_fits(head: Head) -> str:
    example = f"expected e.g. {OWN.example!r}"
    if not head.names:
        return (
            f"there is no header line; the file begins with {_shown(head.first_line)}; {example} above it"
            f" (formats without a header: {BINANCE.name}, {CCXT.name}, {HISTDATA.name}, {MT4.name})"
        )
    has_time = bool(set(TIME_NAMES) & set(head.names))
    missing = [*([] if has_time else ["time"]), *(name for name in PRICES if name not in head.names)]
    return (
        f"the header line lacks {', '.join(missing)}; it has: {_cut(', '.join(head.names))}; {example}"
        f" (--format NAME: {', '.join(FORMATS)})"
    )


def _shown(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return one_line(text, _LONGEST_SHOWN)
