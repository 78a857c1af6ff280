"""A worker's start: it waits for its servers, not for ever, and is told to stop meanwhile like at any other time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from consumer.errors import StartFailed, Unavailable
from consumer.ports import Clock

log = structlog.get_logger(__name__)

START_PAUSE_SECONDS = 2.0
LEAST_TRY_SECONDS = 1.0
"""For one look at a server while starting, also with START_TIMEOUT_SECONDS=0."""


@dataclass(frozen=True, slots=True)
class Server:
    """Something a worker cannot start without. look: raises Unavailable until it is fit, StartFailed if it never is."""

    name: str
    look: Callable[[], Awaitable[None]]


async def wait_for_servers(servers: Sequence[Server], patience_seconds: float, clock: Clock) -> None:
    """Wait until each server is fit, one after the other. Raises StartFailed once the patience with all is over."""
    deadline = clock.monotonic() + patience_seconds
    for server in servers:
        await _until_available(server, deadline, patience_seconds, clock)


async def unless_stopped(stopping: asyncio.Event, step: Coroutine[Any, Any, None]) -> bool:
    """Await the step; False when `stopping` came first, and the step was given up."""
    stop, work = asyncio.create_task(stopping.wait()), asyncio.create_task(step)
    await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stop, work):
        if not task.done():
            task.cancel()
    results = await asyncio.gather(stop, work, return_exceptions=True)
    if isinstance(results[1], Exception):
        raise results[1]
    return not stopping.is_set()


async def _until_available(server: Server, deadline: float, patience_seconds: float, clock: Clock) -> None:
    while True:
        try:
            async with asyncio.timeout(max(LEAST_TRY_SECONDS, deadline - clock.monotonic())):
                return await server.look()
        except (Unavailable, TimeoutError) as error:
            if clock.monotonic() + START_PAUSE_SECONDS >= deadline:
                told = str(error) or f"{server.name} did not answer"
                raise StartFailed(f"{told} (waited {patience_seconds:g} s)") from error
            log.warning("waiting_for_server", server=server.name, error=str(error))
            await asyncio.sleep(START_PAUSE_SECONDS)
