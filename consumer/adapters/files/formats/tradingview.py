"""TradingView's export of a chart: time first, in seconds since 1970 or ISO with an offset; indicators behind."""

import re

from consumer.adapters.files.layout import EPOCH, PRICES, Format, Head, Layout, layout_by_name

_ISO_WITH_OFFSET = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})")


_OURS = {"time", *PRICES, "volume", "spread"}


def _layout(head: Head) -> Layout | None:
    if head.names[:5] != ("time", *PRICES):
        return None
    first = head.first("time", head.names)
    if not (_is_seconds(first) or _ISO_WITH_OFFSET.fullmatch(first)):
        return None
    return layout_by_name(head, ("time",))


def _is_certain(head: Head) -> bool:
    """ISO times above columns like ours are ours."""
    is_ours = not head.cells or set(head.cells[0]) <= _OURS
    return not is_ours or ("time" in head.names and _is_seconds(head.first("time", head.names)))


def _is_seconds(text: str) -> bool:
    return EPOCH.fullmatch(text) is not None and len(text.partition(".")[0]) <= 10


TRADINGVIEW = Format(
    name="tradingview",
    title="a TradingView export",
    example="time,open,high,low,close / 1704153600,1.10427,1.10429,1.10398,1.10414",
    layout_of=_layout,
    is_certain=_is_certain,
)
