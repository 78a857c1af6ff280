"""TradingView's export of a chart: time first, in seconds since 1970 or ISO with an offset; indicators behind."""

import re

from consumer.adapters.files.layout import EPOCH, PRICES, Format, Head, Layout, layout_by_name

_ISO_WITH_OFFSET = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})")


def _layout(head: Head) -> Layout | None:
    if head.names[:5] != ("time", *PRICES):
        return None
    first = head.first("time", head.names)
    is_seconds = EPOCH.fullmatch(first) is not None and len(first.partition(".")[0]) <= 10
    if not (is_seconds or _ISO_WITH_OFFSET.fullmatch(first)):
        return None
    return layout_by_name(head, ("time",))


TRADINGVIEW = Format(
    name="tradingview",
    title="a TradingView export",
    example="time,open,high,low,close / 1704153600,1.10427,1.10429,1.10398,1.10414",
    layout_of=_layout,
)
