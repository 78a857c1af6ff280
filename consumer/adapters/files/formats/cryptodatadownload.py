"""CryptoDataDownload's files: an address above the header, newest first, two volumes."""

from dataclasses import replace

from consumer.adapters.files.layout import EPOCH, Format, Head, Layout, layout_by_name
from consumer.adapters.files.tables import normalised_names

_COUNTS = ("unix", "unix timestamp", "timestamp")
_HEADER_LINE = 1


def _layout(head: Head) -> Layout | None:
    if not head.has_lines or len(head.cells) <= _HEADER_LINE or not _is_address(head.first_line):
        return None
    names = normalised_names(head.cells[_HEADER_LINE])
    # Some of its files have counts that a spreadsheet has rounded; then the date beside them is the time.
    whole = [
        name
        for name in _COUNTS
        if name in names and EPOCH.fullmatch(head.first(name, names, _HEADER_LINE + 1)) is not None
    ]
    layout = layout_by_name(head, (*whole, "date"), names=names, header_line=_HEADER_LINE, timezone="UTC")
    if layout is None:
        return None
    # The first is in the coin, the second in money.
    return replace(layout, volume=next((name for name in names if name.startswith("volume")), None))


def _is_address(line: str) -> bool:
    text = line.strip('"').lower()
    return text.startswith(("http://", "https://", "www.")) or "cryptodatadownload.com" in text


CRYPTODATADOWNLOAD = Format(
    name="cryptodatadownload",
    title="a CryptoDataDownload file",
    example="https://www.CryptoDataDownload.com / unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT",
    layout_of=_layout,
)
