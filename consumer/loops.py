"""Steps that a program repeats for as long as it lives, and how they end."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from consumer.errors import Unavailable

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 1.0
"""After a step that failed."""


async def keep_going(step: Callable[[], Awaitable[None]], pause_seconds: float = LONGEST_PAUSE_SECONDS) -> None:
    """Repeat a step that waits for its own work; a server that is away, or a defect, never ends the worker."""
    while True:
        try:
            await step()
        except Unavailable as error:
            log.warning("server_away", step=step.__qualname__, error=str(error))
            await asyncio.sleep(pause_seconds)
        except Exception:
            log.exception("step_failed", step=step.__qualname__)
            await asyncio.sleep(pause_seconds)


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step at an interval, on the monotonic clock; a step that took too long is followed at once."""

    async def paced() -> None:
        started = time.monotonic()
        await step()
        await asyncio.sleep(max(0.0, seconds - (time.monotonic() - started)))

    paced.__qualname__ = step.__qualname__
    # Half the interval: heartbeats are back well before the next sweep once the store is.
    await keep_going(paced, min(seconds / 2, LONGEST_PAUSE_SECONDS))


async def bounded(awaitable: Awaitable[None], timeout_seconds: float) -> None:
    """Await for so long at most; what fails or takes longer while the worker stops is logged and left."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await awaitable
    except (TimeoutError, Unavailable) as error:
        log.warning("not_finished_in_time", error=str(error) or "timeout")
