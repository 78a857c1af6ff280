"""Every code that a failed run can have is told to subscribers in docs/events.md."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import consumer
import engine
from engine.errors import EngineError

ROOT = Path(__file__).parents[2]
NEVER_OF_A_RUN = {"bad_signals", "bad_instruments", "differs"}
"""Of files on a command line, and of imports."""


def test_every_code_of_a_failure_is_named() -> None:
    named = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "events.md").read_text()))
    import_all(engine)
    import_all(consumer)
    of_the_engine = {each.code for each in below(EngineError)} - NEVER_OF_A_RUN
    sources = [path.read_text() for path in (ROOT / "consumer").rglob("*.py")]
    of_the_service = {code for text in sources for code in re.findall(r"\bFailed\(\s*\"([a-z_]+)\"", text)}
    assert "crash_loop" in of_the_service
    assert (of_the_engine | of_the_service) - named == set()


def import_all(package: ModuleType) -> None:
    """A class has the subclasses of modules that were imported: what else ran in this process must not matter."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def below(kind: type[EngineError]) -> Iterator[type[EngineError]]:
    """Its subclasses, and theirs."""
    for each in kind.__subclasses__():
        yield each
        yield from below(each)
