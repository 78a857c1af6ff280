"""What yfinance's frames become: Date or Datetime and capitalised prices, under several header lines where a download
of one ticker kept its levels."""

import re
from collections.abc import Sequence

from consumer.adapters.files.layout import PRICES, Format, Head, Layout, is_number, layout_by_name
from consumer.adapters.files.tables import normalised_names

_ITS_OWN = {"adj close", "dividends", "stock splits", "capital gains"}
_TIMES = ("datetime", "date")
_PAIR = re.compile(r"""\(\s*['"](.*?)['"]\s*,\s*['"](.*?)['"]\s*\)""")
_INDEX_NAMES = (*_TIMES, "__index_level_0__", "index", "unnamed 1")
ADJUSTED = "Adj Close is ignored: the prices are Open, High, Low and Close as they stand"


def _layout(head: Head) -> Layout | None:
    levels = _levels_in_lines(head) or _levels_in_names(head)
    if levels is not None:
        return _of_one_ticker(head, *levels)
    written = head.cells[0] if head.cells else ()
    if not ({"Date", "Datetime"} & set(written) and {"Open", "High", "Low", "Close"} <= set(written)):
        return None
    return layout_by_name(head, _TIMES, notes=_notes(head.names))


def _is_certain(head: Head) -> bool:
    return bool(_levels_in_lines(head) or _levels_in_names(head)) or bool(_ITS_OWN & set(head.names))


def _levels_in_lines(head: Head) -> tuple[list[Sequence[str]], int] | None:
    """Return two levels of names and the line before the first row: prices above tickers, or the other way round;
    where the index has a name, it stands in a line of its own."""
    if not head.has_lines or len(head.cells) < 3:
        return None
    first, second, third = head.cells[:3]
    if len(first) != len(second) or len(first) < 5:
        return None
    if not any(set(PRICES) <= set(normalised_names(level)) for level in (first, second)):
        return None
    if set(PRICES) <= set(normalised_names(second)) and set(PRICES) <= set(normalised_names(first)):
        return None
    if any(is_number(each) for each in second):
        return None
    names_index = third[0].strip().lower() in _TIMES and not any(each.strip() for each in third[1:])
    return [first, second], 2 if names_index else 1


def _levels_in_names(head: Head) -> tuple[list[Sequence[str]], int] | None:
    """Return the levels of column names such as `('Close', 'AAPL')`, as Parquet has them."""
    if head.has_lines or not head.cells:
        return None
    pairs = [_PAIR.fullmatch(each) for each in head.cells[0]]
    if sum(each is not None for each in pairs) < len(PRICES):
        return None
    split = [each.groups() if each else (name, "") for each, name in zip(pairs, head.cells[0], strict=True)]
    return [[first for first, _ in split], [second for _, second in split]], 0


def _of_one_ticker(head: Head, levels: list[Sequence[str]], last_header_line: int) -> Layout | None:
    fields, tickers = sorted(levels, key=lambda level: not set(PRICES) <= set(normalised_names(level)))
    named = list(normalised_names(fields))
    index = next((at for at, name in enumerate(named) if name in _INDEX_NAMES), 0)
    named[index] = "time"
    several = sorted({each.strip() for at, each in enumerate(tickers) if at != index} - {""})
    names = tuple(named)
    if len(several) > 1:
        fault = f"holds the bars of {len(several)} tickers ({', '.join(several[:5])}), wanted one"
        return Layout(names=names, time=("time",), fault=fault)
    return layout_by_name(head, ("time",), names=names, header_line=last_header_line, notes=_notes(names))


def _notes(names: Sequence[str]) -> tuple[str, ...]:
    return (ADJUSTED,) if "adj close" in names else ()


YFINANCE = Format(
    name="yfinance",
    title="a frame of yfinance",
    example="Date,Open,High,Low,Close,Adj Close,Volume",
    layout_of=_layout,
    is_certain=_is_certain,
)
