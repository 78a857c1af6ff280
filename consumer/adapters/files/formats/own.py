"""Any table whose header names time, open, high, low and close: what most programs write, and ours."""

from consumer.adapters.files.layout import Format, Head, Layout, layout_by_name


def _layout(head: Head) -> Layout | None:
    if head.has_lines and any(each.strip().startswith("<") for each in head.cells[0]):
        return None  # MetaTrader's
    return layout_by_name(head)


OWN = Format(
    name="own",
    title="a table with a header",
    example="time,open,high,low,close,volume",
    layout_of=_layout,
)
