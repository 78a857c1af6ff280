"""HistData's generic ASCII: no header, EST all the year round, without daylight saving."""

import re

from consumer.adapters.files.layout import Format, Head, Layout, is_number

_TIME = re.compile(r"\d{8} \d{6}")
_NAMES = ("time", "open", "high", "low", "close", "volume")


def _layout(head: Head) -> Layout | None:
    first = [each.strip() for each in head.cells[0]] if head.cells and head.has_lines else []
    if len(first) not in {5, 6} or not _TIME.fullmatch(first[0]) or not all(is_number(each) for each in first[1:]):
        return None
    return Layout(
        names=_NAMES[: len(first)],
        time=("time",),
        volume="volume" if len(first) == len(_NAMES) else None,
        skipped_lines=0,
        timezone="Etc/GMT+5",
    )


HISTDATA = Format(
    name="histdata",
    title="HistData's generic ASCII",
    example="20120201 000000;1.306600;1.306600;1.306560;1.306560;0",
    layout_of=_layout,
)
