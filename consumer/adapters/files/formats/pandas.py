"""A pandas frame with the time as its index: a first column without a name, or what Parquet calls it."""

from consumer.adapters.files.formats.yfinance import ADJUSTED
from consumer.adapters.files.layout import TIME_NAMES, Format, Head, Layout, layout_by_name

_INDEX_NAMES = ("__index_level_0__", "unnamed 1", "unnamed: 0", "index", "level_0")


def _layout(head: Head) -> Layout | None:
    notes = (ADJUSTED,) if "adj close" in head.names else ()
    if head.has_lines and any(each.strip().startswith("<") for each in head.cells[0]):
        return None
    # A plain count as index, beside a column of times, is none.
    return layout_by_name(head, TIME_NAMES, notes=notes) or layout_by_name(head, _INDEX_NAMES, notes=notes)


def _is_certain(head: Head) -> bool:
    return bool(set(_INDEX_NAMES) & set(head.names))


PANDAS = Format(
    name="pandas",
    title="a pandas frame with its index",
    example=",open,high,low,close,volume / 2024-01-02 00:00:00,1.10427,1.10429,1.10398,1.10414,450",
    layout_of=_layout,
    is_certain=_is_certain,
)
