"""Rows of text in columns that line up, for output that people read and programs may split."""

from collections.abc import Sequence


def text_columns(rows: Sequence[Sequence[str]]) -> str:
    """Pad every column to its widest cell, two blanks apart; the first row is the heading. One line a row."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
