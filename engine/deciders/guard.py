"""Running a strategy's own code: whatever comes of it, the program goes on."""

from collections.abc import Callable
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, Final

from engine.errors import EngineError, StrategyError


def guarded(step: Callable[[], Any], what: str) -> Any:
    """Run a strategy's own code; whatever it raises is the strategy's failure, SystemExit too. Only Ctrl-C passes."""
    try:
        return step()
    except (EngineError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise StrategyError(f"{what} raised {worded(error)}") from error


def worded(error: BaseException) -> str:
    """One line: type, message, and where in the strategy's code; an exception may fail at saying what it is."""
    try:
        paragraph = str(error).strip().partition("\n\n")[0]  # polars goes on with the plan of the query
        message = " ".join(paragraph.split())
    except Exception as unspeakable:
        message = f"(no message: {type(unspeakable).__name__})"
    told = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return told + _place(error)


def _place(error: BaseException) -> str:
    """Return ` (mine.py, line 12)`: the innermost line of the strategy's package, which is the first on the way from
    here that is no code of ours; "" where there is none.
    """
    frames = [(frame.f_globals.get("__name__") or "", frame, line) for frame, line in walk_tb(error.__traceback__)]
    strategy = next((_package(name) for name, _, _ in frames if _package(name) not in _BETWEEN), None)
    own = [(frame, line) for name, frame, line in frames if _package(name) == strategy]
    if strategy is None or not own:
        return ""
    frame, line = own[-1]
    return f" ({PurePath(frame.f_code.co_filename).name}, line {line})"


def _package(module: str) -> str:
    return _OURS if module.startswith(f"{_OURS}.") else module.partition(".")[0]


_OURS: Final = "engine.strategies"
_BETWEEN: Final = frozenset({"engine", "consumer", "pydantic"})
"""What stands between a guard and a strategy's code."""
