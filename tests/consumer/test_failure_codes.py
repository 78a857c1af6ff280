"""Every code that a failed run can have is told to subscribers in docs/events.md."""

import re
from collections.abc import Iterator
from pathlib import Path

from engine.errors import EngineError

ROOT = Path(__file__).parents[2]
OF_FILES_ON_A_COMMAND_LINE = {"bad_signals", "bad_instruments"}


def test_every_code_of_a_failure_is_named() -> None:
    named = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "events.md").read_text()))
    of_the_engine = {each.code for each in below(EngineError)} - OF_FILES_ON_A_COMMAND_LINE
    sources = [path.read_text() for path in (ROOT / "consumer").rglob("*.py")]
    of_the_service = {code for text in sources for code in re.findall(r"\bFailed\(\s*\"([a-z_]+)\"", text)}
    assert "crash_loop" in of_the_service
    assert (of_the_engine | of_the_service) - named == set()


def below(kind: type[EngineError]) -> Iterator[type[EngineError]]:
    """Its subclasses, and theirs."""
    for each in kind.__subclasses__():
        yield each
        yield from below(each)
