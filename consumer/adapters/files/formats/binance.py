"""Binance's klines: twelve columns, in newer files under a header; milliseconds, since 2025 microseconds."""

from consumer.adapters.files.layout import EPOCH, Format, Head, Layout, is_number, layout_by_name

_NAMES = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
_LEAST_DIGITS = 12
"""Of milliseconds since 2001."""


def _layout(head: Head) -> Layout | None:
    times = next((name for name in ("open_time", "open time", "opentime") if name in head.names), None)
    if times is not None and {"close_time", "close time", "closetime"} & set(head.names):
        return layout_by_name(head, (times,))
    first = [each.strip() for each in head.cells[0]] if head.cells and head.has_lines else []
    if len(first) != len(_NAMES) or not all(is_number(each) for each in first):
        return None
    if not (EPOCH.fullmatch(first[0]) and len(first[0]) >= _LEAST_DIGITS):
        return None
    return Layout(names=_NAMES, time=("open_time",), volume="volume", skipped_lines=0)


BINANCE = Format(
    name="binance",
    title="Binance's klines",
    example="1704153600000,44179.55,44189.00,44170.13,44175.01,12.31,1704153659999,543872.1,431,6.2,273921.4,0",
    layout_of=_layout,
)
