"""MetaTrader 5's export of bars: names in angle brackets; days and longer have no time of day."""

from consumer.adapters.files.layout import Format, Head, Layout, layout_by_name


def _layout(head: Head) -> Layout | None:
    named = [each.strip() for each in head.cells[0] if each.strip()] if head.cells and head.has_lines else []
    if not named or not all(each.startswith("<") and each.endswith(">") for each in named):
        return None
    return layout_by_name(head, ("date", "time", "datetime"))


MT5 = Format(
    name="mt5",
    title="a MetaTrader 5 export",
    example="<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>",
    layout_of=_layout,
)
