"""A strategy in a file of its own, `path/to/file.py:Class`: for commands of whoever may run that file; a worker runs
what is registered, and nothing else.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from consumer.installed.registry import lacks_of_a_strategy
from consumer.installed.strategy_code import version_of_file
from engine.deciders.guard import worded
from engine.errors import UnknownStrategy

_ENDING = ".py"


def names_a_file(strategy: str) -> bool:
    """Whether that is no registered key, but a file, or a class of one."""
    return strategy.partition(":")[0].endswith(_ENDING) or f"{_ENDING}:" in strategy


def class_in_file(strategy: str) -> tuple[type[Any], str]:
    """Run the file and return its class, and the version of the code: of the file and of what it imports beside it.

    Raises UnknownStrategy.
    """
    path_text, _, name = strategy.rpartition(":") if f"{_ENDING}:" in strategy else (strategy, "", "")
    path = Path(path_text)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UnknownStrategy(f"strategy {strategy!r}: {path}: {error.strerror or error}") from error
    module = _run(strategy, path.absolute(), source)
    found = getattr(module, name, None) if name else None
    if not isinstance(found, type):
        own = [each for each, value in vars(module).items() if _is_own_strategy(value, module)]
        there = f"; there are {', '.join(own)}" if own else ", and no class that is a strategy"
        has = f"{path} has no class {name!r}" if name else "name its class after a colon"
        raise UnknownStrategy(f"strategy {strategy!r}: {has}{there}")
    lacks = lacks_of_a_strategy(found)
    if lacks:
        raise UnknownStrategy(f"strategy {strategy!r}: {name} has no {lacks}")
    return found, version_of_file(path.absolute(), source)


def _run(strategy: str, path: Path, source: bytes) -> ModuleType:
    """Run the text that was read, not bytecode of an earlier one; what lies beside it can be imported."""
    module = ModuleType(f"_strategy_file_{path.stem}")
    module.__file__ = str(path)
    # pydantic and dataclasses look annotations up there.
    sys.modules[module.__name__] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # the user's own file, by name  # nosec B102
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # any code may run at a user's import
        raise UnknownStrategy(f"strategy {strategy!r} cannot be loaded: {worded(error)}") from error
    return module


def _is_own_strategy(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__ and lacks_of_a_strategy(value) is None
