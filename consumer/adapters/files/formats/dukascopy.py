"""Dukascopy's exports: `Gmt time` or `Local time`, the latter with its offset behind each time in newer ones."""

import re

from consumer.adapters.files.layout import Format, Head, Layout, layout_by_name

_UTC_NAMES = ("gmt time", "time (utc)", "time (gmt)")
_DOTTED = re.compile(r"\d{2}\.\d{2}\.\d{4}\b")
_OFFSET = re.compile(r"(?:GMT|UTC|[+-]\d{2}:?\d{2}|Z)", re.IGNORECASE)


def _layout(head: Head) -> Layout | None:
    name = next((each for each in (*_UTC_NAMES, "local time") if each in head.names), None)
    if name is None:
        return None
    first = head.first(name, head.names)
    notes: tuple[str, ...] = ()
    if name == "local time" and not _OFFSET.search(first):
        notes = ("the times are local ones of an unnamed zone, without an offset; --bars-timezone says which",)
    return layout_by_name(
        head,
        (name,),
        timezone="UTC" if name in _UTC_NAMES else None,
        # With slashes or dashes it was saved anew by another program, in that program's order.
        date_order="dmy" if _DOTTED.match(first) else None,
        notes=notes,
    )


DUKASCOPY = Format(
    name="dukascopy",
    title="a Dukascopy export",
    example="Gmt time,Open,High,Low,Close,Volume / 02.01.2024 00:00:00.000,1.10427,1.10429,1.10398,1.10414,450.5",
    layout_of=_layout,
)
