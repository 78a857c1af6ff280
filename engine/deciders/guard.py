"""Running a strategy's own code: whatever comes of it, the program goes on."""

from collections.abc import Callable
from typing import Any

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
    """Type and message; a strategy's exception may fail at saying what it is."""
    try:
        message = str(error)
    except Exception as unspeakable:
        message = f"(no message: {type(unspeakable).__name__})"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
