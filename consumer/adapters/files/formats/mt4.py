"""MetaTrader 4's history: no header, day and time of day in two columns."""

import re

from consumer.adapters.files.layout import Format, Head, Layout, is_number

_DATE, _CLOCK = re.compile(r"\d{4}\.\d{2}\.\d{2}"), re.compile(r"\d{2}:\d{2}")
_NAMES = ("date", "time", "open", "high", "low", "close", "volume")


def _layout(head: Head) -> Layout | None:
    first = [each.strip() for each in head.cells[0]] if head.cells and head.has_lines else []
    if len(first) not in {6, 7} or not (_DATE.fullmatch(first[0]) and _CLOCK.fullmatch(first[1])):
        return None
    if not all(is_number(each) for each in first[2:]):
        return None
    names = _NAMES[: len(first)]
    volume = "volume" if len(first) == len(_NAMES) else None
    return Layout(names=names, time=("date", "time"), volume=volume, skipped_lines=0)


MT4 = Format(
    name="mt4",
    title="MetaTrader 4's history",
    example="2020.01.02,00:00,1.12140,1.12156,1.12103,1.12131,812",
    layout_of=_layout,
)
