"""Trying again while a server is away: for as long as it takes, with growing pauses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from consumer.errors import Unavailable

Result = TypeVar("Result")


async def retry_while_unavailable(
    attempt: Callable[[], Awaitable[Result]], unavailable: type[Unavailable] = Unavailable
) -> Result:
    """Await `attempt()` until it does not raise `unavailable`; anything else passes through at once.

    Never gives up by itself: cancel the task to stop. stamina logs each retry it schedules.
    """
    try:
        return await attempt()  # mostly all there is to it; the loop below takes as long as a statement
    except unavailable as error:
        failure: Unavailable | None = error
    async for trial in stamina.retry_context(
        on=unavailable, attempts=None, timeout=None, wait_initial=0.05, wait_max=2.0, wait_jitter=0.1
    ):
        with trial:
            if failure is not None:
                first, failure = failure, None
                raise first
            return await attempt()
    raise AssertionError("unreachable: the attempts are unbounded")
