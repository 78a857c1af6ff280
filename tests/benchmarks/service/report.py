"""Tables and plots of the measurements, for people."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if place == 0 else '---:' for place in range(len(head)))}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
