"""The bars of what is at work, on a terminal: what, how far, how long, and the news of it."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column


def live_bars() -> Progress:
    """On stderr. Each task has the field `news`."""
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn(
            "{task.fields[news]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
        expand=True,
        console=Console(stderr=True),
        refresh_per_second=15,
    )
