"""Retries without pauses, for tests whose servers come back when the test says so."""

from collections.abc import Iterator

import pytest
import stamina


@pytest.fixture
def no_retry_pauses() -> Iterator[None]:
    stamina.set_testing(True, attempts=1_000_000)
    yield
    stamina.set_testing(False)
