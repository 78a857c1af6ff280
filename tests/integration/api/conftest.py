"""Real servers, one API process and one strategy's row, which all tests of this folder share."""

from collections.abc import AsyncIterator

import pytest

from consumer.devstack import StackKind
from tests.support.api_process import Api, api_process
from tests.support.front_door import FrontDoor, Worker, open_front_door


@pytest.fixture(scope="session")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("api-door"), stack_kind) as opened:
        yield opened


@pytest.fixture(scope="session")
async def api(door: FrontDoor) -> AsyncIterator[Api]:
    async with api_process(door) as started:
        yield started


@pytest.fixture(scope="session")
async def worker(door: FrontDoor) -> AsyncIterator[Worker]:
    """A worker beside the API, from the first test on that asks for it."""
    async with door.worker() as started:
        yield started


@pytest.fixture(scope="session")
async def strategy(door: FrontDoor) -> int:
    return await door.add_strategy()
