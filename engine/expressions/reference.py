"""The language as a table for readers, made of what the grammar itself goes by (docs/strategies.md has it)."""

from collections.abc import Iterable

from engine.expressions.functions import COLUMNS, FUNCTIONS


def names_table() -> str:
    """What the bars have by name, as Markdown."""
    return _table(("name", "is"), ((f"`{name}`", meaning) for name, meaning in COLUMNS.items()))


def functions_table() -> str:
    """Every function: as it is written, what it gives, in which unit, as Markdown."""
    rows = (
        (f"`{each.signature}`", "condition" if each.gives == "condition" else each.unit or "number", each.meaning)
        for each in FUNCTIONS.values()
    )
    return _table(("function", "gives", "is"), rows)


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (heading, ("---",) * len(heading), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
