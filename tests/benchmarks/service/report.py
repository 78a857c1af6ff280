"""Tables of the measurements, for people, and their place in the documentation."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs" / "performance.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if place == 0 else '---:' for place in range(len(head)))}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def write_section(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put a text between the two marks of that name in the document, in the place of the last one."""
    begin, end = f"<!-- service-{name}: written by the bench -->", f"<!-- service-{name}: end -->"
    before, found, rest = document.read_text(encoding="utf-8").partition(f"{begin}\n")
    _, closed, rest = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{document} has no place for service-{name}")
    document.write_text(f"{before}{begin}\n{text}\n\n{_measured_on()}\n{end}{rest}", encoding="utf-8")


def _measured_on() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    load = os.getloadavg()[0]
    today = datetime.now(UTC).date()
    return (
        f"Measured {today} on {os.cpu_count()} cores ({model}), load {load:.1f} at the end, this program included;"
        f" backtest-consumer {version('backtest-consumer')}."
    )
