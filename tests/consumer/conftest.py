"""Plain logs, and retries without pauses for tests whose servers come back when the test says so."""

from collections.abc import Iterator

import pytest
import stamina
import structlog


@pytest.fixture
def no_retry_pauses() -> Iterator[None]:
    stamina.set_testing(True, attempts=1_000_000)
    yield
    stamina.set_testing(False)


@pytest.fixture(autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """structlog's own default draws every local of every frame: seconds for one exception of a deep test."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    yield
    structlog.reset_defaults()
