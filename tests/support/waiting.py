"""Waiting on a condition with a deadline: what tests do in place of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

PAUSE_SECONDS = 0.02


async def eventually(probe: Callable[[], Awaitable[Found | None]], what: str, *, seconds: float = 30.0) -> Found:
    """Ask `probe` until it returns something true, and return that; fail with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = await probe()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await _pause()


async def _pause() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await asyncio.wait([never], timeout=PAUSE_SECONDS)
