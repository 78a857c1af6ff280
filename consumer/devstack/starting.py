"""Waiting for a server that was started: until it is ready, has ended, or has had enough time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from consumer.devstack.errors import ServerStartError
from consumer.devstack.supervised_process import SupervisedProcess

POLL_SECONDS = 0.02
READ_FROM_LOG_BYTES = 20_000


async def wait_until_ready(
    server: str,
    process: SupervisedProcess,
    is_ready: Callable[[], Awaitable[bool]],
    log_path: Path,
    timeout_seconds: float,
) -> None:
    """Return when the server is ready.

    Raises ServerStartError, with the process gone, when it ended before that or the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    while not await is_ready():
        if not process.is_running:
            raise ServerStartError(server, "it ended by itself", log_path, end_of_log(log_path))
        if time.monotonic() > deadline:
            await process.kill()
            reason = f"it was not ready within {timeout_seconds:g} s"
            raise ServerStartError(server, reason, log_path, end_of_log(log_path))
        await asyncio.sleep(POLL_SECONDS)


def end_of_log(log_path: Path) -> str:
    try:
        return log_path.read_bytes()[-READ_FROM_LOG_BYTES:].decode(errors="replace")
    except OSError as error:
        return f"(the log cannot be read: {error})"
