"""ccxt's candles, as its users save them: timestamp in milliseconds first, with a header or without."""

from consumer.adapters.files.layout import EPOCH, PRICES, Format, Head, Layout, is_number, layout_by_name

_NAMES = ("timestamp", *PRICES, "volume")
_LEAST_DIGITS = 12


def _layout(head: Head) -> Layout | None:
    if head.names[:5] == _NAMES[:5]:
        return layout_by_name(head, ("timestamp",)) if _is_count(head.first("timestamp", head.names)) else None
    first = [each.strip() for each in head.cells[0]] if head.cells and head.has_lines else []
    if len(first) != len(_NAMES) or not all(is_number(each) for each in first) or not _is_count(first[0]):
        return None
    return Layout(names=_NAMES, time=("timestamp",), volume="volume", skipped_lines=0)


def _is_count(text: str) -> bool:
    return EPOCH.fullmatch(text) is not None and len(text.partition(".")[0]) >= _LEAST_DIGITS


CCXT = Format(
    name="ccxt",
    title="ccxt's candles",
    example="timestamp,open,high,low,close,volume / 1704153600000,44179.55,44189.0,44170.13,44175.01,12.31",
    layout_of=_layout,
)
